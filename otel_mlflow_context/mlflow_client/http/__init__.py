"""Calls to an MLflow server over HTTP, which do without mlflow: OTLP and REST."""
