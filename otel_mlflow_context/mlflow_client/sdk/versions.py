"""Links the traces that MLflow's SDK exports to the LoggedModels of their versions."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from otel_mlflow_context.facts.version import Version, version_of
from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
from otel_mlflow_context.mlflow_client.http.server import without_credentials
from otel_mlflow_context.mlflow_client.logged_models import LoggedModel, LoggedModels
from otel_mlflow_context.mlflow_client.sdk import internals
from otel_mlflow_context.semconv import MLFLOW_GIT_COMMIT, MLFLOW_GIT_REPO_URL, MLFLOW_MODEL_ID

_logger = logging.getLogger(__name__)

_TIMEOUT: Final = 30.0
"""Seconds for one lookup of a model."""
_AT_EXIT: Final = 5.0
"""Seconds that the process's end waits for links that are missing."""
_LONGEST_CALL: Final = 5.0
"""Seconds that a fork waits for a call."""
_POLL: Final = 0.5
_MAX_TRACES: Final = 10_000
"""Traces that wait for their link at once."""
_MAX_ATTEMPTS: Final = 120
"""Times that a trace may be not stored yet, of one that perhaps never will be: one minute."""

_Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""A tracking URI, an experiment's id, and a version's identity."""


class VersionLinks:
    """The models of versions, and the traces that ended before theirs was known.

    Models are looked up, and made, in a thread that exists only while something is left to do.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._models: dict[str, LoggedModels] = {}
        self._found: dict[_Key, str | None] = {}
        self._wanted: dict[_Key, Mapping[str, str]] = {}
        self._open: dict[int, tuple[str, str]] = {}
        """By the span id of roots that have not ended: tracking URI and trace id."""
        self._ended: dict[tuple[str, str], int] = {}
        """Traces to be linked, and how often each was not stored yet."""
        self._failed = False

    def link(self, span_id: int, info: Any) -> Mapping[str, str]:
        """Link an in-memory trace to its model, if that is known yet; returns what was added.

        Args:
            span_id: of the trace's root.
            info: MLflow's `TraceInfo`.
        """
        experiment_id = info.experiment_id
        version = version_of(info.trace_metadata)
        if version is None or not experiment_id:  # by OTLP alone, or not to an experiment
            return {}
        if os.getpid() != self._process:  # a fork has the locks, and not the threads
            self._reset()
        uri = sys.modules["mlflow"].get_tracking_uri()
        key = (uri, experiment_id, version.identity)
        if key in self._found:
            model_id = self._found[key]
            link = {} if model_id is None else {MLFLOW_MODEL_ID: model_id}
            info.trace_metadata |= link
            return link
        with self._changed:
            self._wanted.setdefault(key, dict(info.trace_metadata))
            if len(self._open) < _MAX_TRACES:
                self._open[span_id] = (uri, info.trace_id)
            self._start()
        return {}

    def end(self, span_id: int) -> None:
        """Have a trace linked whose root has ended, where `link` knew no model."""
        trace = self._open.pop(span_id, None)
        if trace is not None:
            with self._changed:
                if len(self._ended) < _MAX_TRACES:
                    self._ended[trace] = 0
                self._start()

    def flush(self, timeout: float) -> bool:
        """Wait until all traces that have ended are linked; returns whether they are.

        Args:
            timeout: in seconds.
        """
        if os.getpid() != self._process:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._ended, timeout)

    def _flush_at_exit(self) -> None:
        if os.getpid() == self._process and self._ended:
            sys.modules["mlflow"].flush_trace_async_logging()
            self.flush(_AT_EXIT)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="otel-mlflow-context-versions", daemon=True
            )
            # When Python is ending it starts no thread any more.
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None
                return
            atexit.unregister(self._flush_at_exit)
            atexit.register(self._flush_at_exit)
        self._changed.notify_all()

    def _work(self) -> None:
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        with suppress_instrumentation():
            while True:
                with self._changed:
                    if not self._wanted and not self._ended:
                        self._thread = None
                        return
                    wanted, ended = dict(self._wanted), list(self._ended)
                for key, metadata in wanted.items():
                    self._look_up(key, metadata)
                for trace in ended:
                    self._link_stored(*trace)
                with self._changed:
                    if self._wanted or self._ended:
                        self._changed.wait(_POLL)

    def _look_up(self, key: _Key, metadata: Mapping[str, str]) -> None:
        uri, experiment_id, _ = key
        try:
            self._found[key] = self._model_id(uri, metadata, experiment_id)
        except ServerUnavailable:
            return  # it is asked again
        except Exception as error:
            _logger.warning("traces are not linked to a LoggedModel", exc_info=error)
            self._found[key] = None
        with self._changed:
            self._wanted.pop(key, None)

    def _link_stored(self, uri: str, trace_id: str) -> None:
        attempts = self._ended[uri, trace_id]
        try:
            is_done = self._is_linked(uri, trace_id)
            attempts += 1
        except ServerUnavailable:
            is_done = False
        except Exception as error:
            is_done = True
            if not self._failed:
                self._failed = True
                _logger.warning("traces are not linked to LoggedModels", exc_info=error)
        with self._changed:
            self._ended[uri, trace_id] = attempts
            if is_done or attempts >= _MAX_ATTEMPTS:
                del self._ended[uri, trace_id]
                self._changed.notify_all()

    def _is_linked(self, uri: str, trace_id: str) -> bool:
        """Link a trace by the metadata that it has where it is stored; False before it is."""
        try:
            with _call():
                info = internals.stored_trace_info(uri, trace_id)
            if info is None or not info.trace_metadata:
                return False
            model_id = self._model_id(uri, info.trace_metadata, info.experiment_id)
            if model_id is not None:
                with _call():
                    internals.add_stored_metadata(uri, info, {MLFLOW_MODEL_ID: model_id})
        except RequestRejected as rejected:
            if rejected.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise ServerUnavailable(str(rejected)) from None
        return True

    def _model_id(self, uri: str, metadata: Mapping[str, str], experiment_id: str) -> str | None:
        if uri not in self._models:
            self._models[uri] = LoggedModels(ClientCalls(uri))
        return self._models[uri].link(metadata, experiment_id, time.monotonic() + _TIMEOUT)


class ClientCalls:
    """Calls for `LoggedModels` by MLflow's own client, to wherever that sends."""

    def __init__(self, uri: str) -> None:
        with _call():  # it imports
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=uri)
        self.name = without_credentials(uri)

    def search(self, version: Version, experiment_id: str, _deadline: float) -> list[LoggedModel]:
        with _call():
            found = self._client.search_logged_models(
                [experiment_id],
                filter_string=version.filter,
                order_by=[{"field_name": "creation_timestamp", "ascending": True}],
            )
        return [LoggedModel(it.model_id, str(it.status) == "READY", it.tags) for it in found]

    def create(self, version: Version, experiment_id: str, _deadline: float) -> str:
        with _call():
            created = self._client.create_logged_model(
                experiment_id, version.name, tags=_tags(version), params=dict(version.identity)
            )
        return str(created.model_id)

    def make_ready(self, model_id: str, _deadline: float) -> None:
        with _call():
            self._client.finalize_logged_model(model_id, "READY")

    def delete(self, model_id: str, _deadline: float) -> None:
        with _call():
            self._client.delete_logged_model(model_id)


def _tags(version: Version) -> dict[str, str]:
    """With the URL of the remote as git has it, where that has no credentials.

    ``mlflow.genai.enable_git_model_versioning`` looks for a model by it.
    """
    tags = version.tags
    detected = internals.environment_metadata()
    url = detected.get(MLFLOW_GIT_REPO_URL, "").replace("://git@", "://")
    if (
        detected.get(MLFLOW_GIT_COMMIT) == tags.get(MLFLOW_GIT_COMMIT)
        and MLFLOW_GIT_REPO_URL in tags
        and url
        and url == without_credentials(url)
    ):
        tags[MLFLOW_GIT_REPO_URL] = detected[MLFLOW_GIT_REPO_URL]
    return tags


@contextmanager
def _call() -> Iterator[None]:
    """One call of MLflow's, in which no process forks; its errors as `LoggedModels` has them."""
    from mlflow.exceptions import MlflowException

    try:
        with _FORK:
            yield
    except MlflowException as error:
        status = error.get_http_status_code()
        raise RequestRejected(status, str(error)) from None
    except OSError as error:  # of requests: connections and timeouts
        raise ServerUnavailable(type(error).__name__) from None


class _Fork:
    """Has a fork wait for the call that is made: its child would get MLflow's locks as they are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_waited = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._wait, after_in_parent=self._go_on, after_in_child=self._forget
            )

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _wait(self) -> None:
        self._has_waited = self._lock.acquire(timeout=_LONGEST_CALL)

    def _forget(self) -> None:
        self._lock = threading.Lock()

    def _go_on(self) -> None:
        if self._has_waited:
            self._lock.release()


_FORK: Final = _Fork()
