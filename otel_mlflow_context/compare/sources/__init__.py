"""Where traces are read from: an MLflow server, or any store that mlflow opens."""
