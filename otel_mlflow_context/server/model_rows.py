"""The rows of a LoggedModel in MLflow's database."""

from __future__ import annotations

import time
from typing import Any

from otel_mlflow_context.facts.version import Version


class ModelRows:
    """Writes the rows of LoggedModels, within a session.

    Args:
        models: MLflow's module of database models.
    """

    def __init__(self, models: Any) -> None:
        self._module = models

    def insert(self, session: Any, model_id: str, experiment: Any, version: Version) -> None:
        """Add a model that is ready, as `SqlAlchemyStore.create_logged_model` adds one."""
        from mlflow.entities import LoggedModelStatus
        from mlflow.utils.uri import append_to_uri_path

        now_ms = time.time_ns() // 1_000_000
        ids = {"model_id": model_id, "experiment_id": experiment.experiment_id}
        model = self._module.SqlLoggedModel(
            **ids,
            name=version.name,
            artifact_location=append_to_uri_path(
                experiment.artifact_location, "models", model_id, "artifacts"
            ),
            creation_timestamp_ms=now_ms,
            last_updated_timestamp_ms=now_ms,
            status=LoggedModelStatus.READY.to_int(),
            lifecycle_stage="active",
        )
        session.add(model)
        session.flush()
        session.add_all(
            self._module.SqlLoggedModelParam(**ids, param_key=key, param_value=value)
            for key, value in version.identity
        )
        session.add_all(
            self._module.SqlLoggedModelTag(**ids, tag_key=key, tag_value=value)
            for key, value in version.tags.items()
        )
