"""Finds the LoggedModel of a version by MLflow's REST API, and makes it at first sight."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from otel_mlflow_context.facts.version import Version, version_of
from otel_mlflow_context.mlflow_client.http.rest import Client, RequestRejected, ServerUnavailable

_logger = logging.getLogger(__name__)

_PATH: Final = "/api/2.0/mlflow/logged-models"
_READY: Final = "LOGGED_MODEL_READY"
_SETTLING: Final = 1.0
"""Seconds until each process that makes the model at the same moment sees those of all others."""
_POLL: Final = 0.25
_PAUSE: Final = 10.0
"""Seconds without a call after one that had no answer: other metadata is written meanwhile."""
_MAX_VERSIONS: Final = 100
"""Of a process: traces that name more are not linked."""


_Key = tuple[str, tuple[tuple[str, str], ...]]
"""An experiment and a version's identity."""


class LoggedModels:
    """The LoggedModels of versions. May be used by many threads; each version is looked up once.

    MLflow has nothing that makes a model unique. Processes that find none make one each, wait until
    all see all, and agree on the first that is ready, or else make the oldest ready; each deletes
    its own when it is another.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._found: dict[_Key, str | None] = {}
        self._made: dict[_Key, str] = {}
        """Not known yet to be the one that is used."""
        self._paused_until = 0.0

    def link(self, metadata: Mapping[str, str], experiment_id: str, deadline: float) -> str | None:
        """The id of the model of the version that a trace's metadata names.

        None where it names no version, has a model already, or the server allows no model.

        Raises:
            ServerUnavailable: there was no answer until the deadline; the traces may wait for it.
        """
        version = version_of(metadata)
        if version is None:
            return None
        key = (experiment_id, version.identity)
        with self._lock:
            if key not in self._found:
                if len(self._found) == _MAX_VERSIONS:
                    return None
                if time.monotonic() < self._paused_until:
                    raise ServerUnavailable("LoggedModels are not available")
                try:
                    self._found[key] = self._agreed(version, experiment_id, deadline)
                except ServerUnavailable:
                    self._paused_until = time.monotonic() + _PAUSE
                    raise
                except RequestRejected as rejected:
                    # A database that is locked is answered so as well.
                    if rejected.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        self._paused_until = time.monotonic() + _PAUSE
                        raise ServerUnavailable(str(rejected)) from None
                    _logger.warning(
                        "traces are not linked to a LoggedModel of %s in %s: %s",
                        *(version.name, self._client.server.name, rejected),
                    )
                    self._found[key] = None
            return self._found[key]

    def _agreed(self, version: Version, experiment_id: str, deadline: float) -> str:
        key = (experiment_id, version.identity)
        seen_since: float | None = None
        while (now := time.monotonic()) < deadline:
            models = self._search(version, experiment_id, deadline)
            agreed = next((it["model_id"] for it in models if it["status"] == _READY), None)
            if not models:
                self._made[key] = self._create(version, experiment_id, deadline)
            elif agreed is None:
                seen_since = seen_since or now
                if now - seen_since >= _SETTLING:
                    agreed = self._make_ready(models[0]["model_id"], deadline)
            if agreed is not None:
                made = self._made.pop(key, agreed)
                if made != agreed:
                    with suppress(RequestRejected):  # it is gone, or stays, unused
                        self._client.call("DELETE", f"{_PATH}/{made}", {}, deadline)
                return str(agreed)
            time.sleep(_POLL)
        raise ServerUnavailable(f"no LoggedModel of {version.name} yet")

    def _make_ready(self, model_id: str, deadline: float) -> str | None:
        """None where its own process has deleted it meanwhile, for another that is ready."""
        try:
            ready = {"model_id": model_id, "status": _READY}
            self._client.call("PATCH", f"{_PATH}/{model_id}", ready, deadline)
        except RequestRejected as rejected:
            if rejected.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        return model_id

    def _search(self, version: Version, experiment_id: str, deadline: float) -> list[Any]:
        """The models of a version, the oldest first; none that others have not made ready."""
        body = {
            "experiment_ids": [experiment_id],
            "filter": version.filter,
            "order_by": [{"field_name": "creation_timestamp", "ascending": True}],
        }
        answer = self._client.call("POST", f"{_PATH}/search", body, deadline)
        models = []
        for model in answer.get("models", ()):
            info = model["info"]
            tags = {it["key"]: it.get("value", "") for it in info.get("tags", ())}
            if version.is_git_model(tags):  # MLflow leaves these pending
                models.append({**info, "status": _READY})
            elif version.is_model(tags):
                models.append(info)
        return models

    def _create(self, version: Version, experiment_id: str, deadline: float) -> str:
        tags = [{"key": key, "value": value} for key, value in version.tags.items()]
        params = [{"key": key, "value": value} for key, value in version.identity]
        body = {"experiment_id": experiment_id, "name": version.name, "tags": tags}
        answer = self._client.call("POST", _PATH, {**body, "params": params}, deadline)
        return str(answer["model"]["info"]["model_id"])
