"""Where traces are read from: an MLflow server, or a store that MLflow's client opens."""
