"""From root spans to MLflow's trace metadata, in the application's process."""
