"""Finds the LoggedModel of a version, and makes it at first sight, once among all processes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

from otel_mlflow_context.facts.version import Version, version_of
from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable

_logger = logging.getLogger(__name__)

_SETTLING: Final = 1.0
"""Seconds until each process that makes the model at the same moment sees those of all others."""
_POLL: Final = 0.25
_PAUSE: Final = 10.0
"""Seconds without a call after one that had no answer: other metadata is written meanwhile."""


_Key = tuple[str, tuple[tuple[str, str], ...]]
"""An experiment and a version's identity."""


class LoggedModel(NamedTuple):
    """What MLflow has of a LoggedModel."""

    model_id: str
    is_ready: bool
    tags: Mapping[str, str]


class LoggedModelCalls(Protocol):
    """Calls to MLflow, by REST or by its own client.

    Each raises `ServerUnavailable` where there was no answer until the deadline (of
    `time.monotonic`, in seconds), and `RequestRejected` for any other failure.
    """

    @property
    def name(self) -> str:
        """Of the server, for people."""

    def search(self, version: Version, experiment_id: str, deadline: float) -> list[LoggedModel]:
        """The models that the version's filter finds, the oldest first."""

    def create(self, version: Version, experiment_id: str, deadline: float) -> str:
        """Make a model that is not ready yet; returns its id."""

    def make_ready(self, model_id: str, deadline: float) -> None: ...

    def delete(self, model_id: str, deadline: float) -> None: ...


class LoggedModels:
    """The LoggedModels of versions. May be used by many threads; each version is looked up once.

    MLflow has nothing that makes a model unique. Processes that find none make one each, wait until
    all see all, and agree on the first that is ready, or else make the oldest ready; each deletes
    its own when it is another.

    Args:
        calls: to MLflow.
        max_versions: traces that name more are not linked.
    """

    def __init__(self, calls: LoggedModelCalls, max_versions: int = 100) -> None:
        self._calls = calls
        self._max_versions = max_versions
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
                if len(self._found) == self._max_versions:
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
                        *(version.name, self._calls.name, rejected),
                    )
                    self._found[key] = None
            return self._found[key]

    def _agreed(self, version: Version, experiment_id: str, deadline: float) -> str:
        key = (experiment_id, version.identity)
        seen_since: float | None = None
        while (now := time.monotonic()) < deadline:
            models = self._models_of(version, experiment_id, deadline)
            agreed = next((it.model_id for it in models if it.is_ready), None)
            if not models:
                self._made[key] = self._calls.create(version, experiment_id, deadline)
            elif agreed is None:
                seen_since = seen_since or now
                if now - seen_since >= _SETTLING:
                    agreed = self._make_ready(models[0].model_id, deadline)
            if agreed is not None:
                made = self._made.pop(key, agreed)
                if made != agreed:
                    with suppress(RequestRejected):  # it is gone, or stays, unused
                        self._calls.delete(made, deadline)
                return agreed
            time.sleep(_POLL)
        raise ServerUnavailable(f"no LoggedModel of {version.name} yet")

    def _make_ready(self, model_id: str, deadline: float) -> str | None:
        """None where its own process has deleted it meanwhile, for another that is ready."""
        try:
            self._calls.make_ready(model_id, deadline)
        except RequestRejected as rejected:
            if rejected.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        return model_id

    def _models_of(
        self, version: Version, experiment_id: str, deadline: float
    ) -> list[LoggedModel]:
        """The models of a version, the oldest first."""
        found = self._calls.search(version, experiment_id, deadline)
        return [
            # MLflow leaves those that it makes itself pending.
            it._replace(is_ready=it.is_ready or version.is_git_model(it.tags))
            for it in found
            if version.is_model(it.tags) or version.is_git_model(it.tags)
        ]
