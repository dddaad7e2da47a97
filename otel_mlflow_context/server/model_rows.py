"""The rows of LoggedModels in MLflow's database."""

from __future__ import annotations

import time
from typing import Any

from otel_mlflow_context.facts.version import Version


class ModelRows:
    """Writes the rows of LoggedModels, within a session.

    Args:
        model: MLflow's class of the rows of models.
        param: the same of their params.
        tag: the same of their tags.
    """

    def __init__(self, model: Any, param: Any, tag: Any) -> None:
        self._model, self._param, self._tag = model, param, tag

    def add(
        self, session: Any, model_id: str, experiment_id: str, artifacts: str, version: Version
    ) -> None:
        """Add a version's model, which is ready.

        Args:
            session: of SQLAlchemy.
            model_id: of the model.
            experiment_id: of its experiment.
            artifacts: the URI of its artifacts.
            version: of the application.
        """
        from mlflow.entities import LoggedModelStatus

        now_ms = time.time_ns() // 1_000_000
        ids = {"model_id": model_id, "experiment_id": experiment_id}
        model = self._model(
            **ids,
            name=version.name,
            artifact_location=artifacts,
            creation_timestamp_ms=now_ms,
            last_updated_timestamp_ms=now_ms,
            status=LoggedModelStatus.READY.to_int(),
            lifecycle_stage="active",
        )
        session.add(model)
        session.flush()
        for key, value in version.identity:
            session.add(self._param(**ids, param_key=key, param_value=value))
        for key, value in version.tags.items():
            session.add(self._tag(**ids, tag_key=key, tag_value=value))
