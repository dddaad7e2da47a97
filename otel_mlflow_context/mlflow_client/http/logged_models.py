"""LoggedModels by MLflow's REST API."""

from __future__ import annotations

from typing import Final

from otel_mlflow_context.facts.version import Version
from otel_mlflow_context.mlflow_client.http.rest import Client, pairs
from otel_mlflow_context.mlflow_client.logged_models import LoggedModel

LOGGED_MODELS: Final = "/api/2.0/mlflow/logged-models"
_READY: Final = "LOGGED_MODEL_READY"


class RestCalls:
    """Calls for `LoggedModels`, which do without mlflow."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.name = client.server.name

    def search(self, version: Version, experiment_id: str, deadline: float) -> list[LoggedModel]:
        body = {
            "experiment_ids": [experiment_id],
            "filter": version.filter,
            "order_by": [{"field_name": "creation_timestamp", "ascending": True}],
        }
        answer = self._client.call("POST", f"{LOGGED_MODELS}/search", body, deadline)
        infos = [model["info"] for model in answer.get("models", ())]
        return [
            LoggedModel(
                info["model_id"],
                info["status"] == _READY,
                {it["key"]: it.get("value", "") for it in info.get("tags", ())},
            )
            for info in infos
        ]

    def create(self, version: Version, experiment_id: str, deadline: float) -> str:
        body = {
            "experiment_id": experiment_id,
            "name": version.name,
            "tags": pairs(version.tags),
            "params": pairs(dict(version.identity)),
        }
        answer = self._client.call("POST", LOGGED_MODELS, body, deadline)
        return str(answer["model"]["info"]["model_id"])

    def make_ready(self, model_id: str, deadline: float) -> None:
        body = {"model_id": model_id, "status": _READY}
        self._client.call("PATCH", f"{LOGGED_MODELS}/{model_id}", body, deadline)

    def delete(self, model_id: str, deadline: float) -> None:
        self._client.call("DELETE", f"{LOGGED_MODELS}/{model_id}", {}, deadline)
