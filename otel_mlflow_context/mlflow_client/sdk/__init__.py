"""Facts into the traces of MLflow's own SDK, where it is loaded in this process."""
