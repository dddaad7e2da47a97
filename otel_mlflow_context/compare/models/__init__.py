"""Versions as MLflow's LoggedModels: what there is of each."""
