"""The last step in the application's process: from root spans to MLflow's trace metadata."""
