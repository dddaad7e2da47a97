"""MLflow's private API that the plugin uses, and the checks that it is as expected.

As in MLflow 3.6.0, 3.12.0 and 3.17.2.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from otel_mlflow_context.facts.version import Version
from otel_mlflow_context.server import metrics
from otel_mlflow_context.server.model_rows import ModelRows
from otel_mlflow_context.server.otlp.entry_spans import EntrySpan
from otel_mlflow_context.server.trace_metadata import ENTRY_SPAN_KEY, TraceUpdate, trace_update
from otel_mlflow_context.server.trace_rows import StoredTrace, TraceRows

_logger = logging.getLogger(__name__)

OLDEST: Final = (3, 6)
_NEEDS: Final = "otel-mlflow-context needs MLflow 3.6 or later (3.6.0 to 3.17.2 are tested)"
# Set by `mlflow server`: mlflow/environment_variables.py, _MLFLOW_SGI_NAME.
_SERVER_NAME: Final = "_MLFLOW_SGI_NAME"
_STATIC_PREFIX: Final = "_MLFLOW_STATIC_PREFIX"
_RETRIES: Final = "_LOG_SPANS_MAX_TRACE_CREATE_RETRIES"
_MANY_RETRIES: Final = 100
"""More than any burst of requests needs; without an end where the trace is in another workspace."""

_WRITE_ATTEMPTS: Final = 3
_MODEL_ATTEMPTS: Final = 10
"""One more than a version's LoggedModel was deleted, or made by another process meanwhile."""

OnTraceWithoutRoot = Callable[[str], None]
"""Called with the trace's id."""


class UnsupportedMlflowError(Exception):
    """This MLflow, or how it was started, is not supported."""


def app() -> Any:
    """MLflow's ASGI application."""
    _check_start()
    from mlflow.server import fastapi_app

    return _checked(fastapi_app.app)


def basic_auth_app() -> Any:
    """MLflow's ASGI application with basic authentication."""
    _check_start()
    from mlflow.server import auth

    return _checked(auth.create_app())


def static_prefix() -> str:
    """The prefix of all paths: ``mlflow server --static-prefix``."""
    return os.environ.get(_STATIC_PREFIX, "").rstrip("/")


def store() -> Store:
    """The store that MLflow's routes write to.

    Raises:
        UnsupportedMlflowError: it is no SQL database, or its API has changed.
    """
    from mlflow.server.handlers import _get_tracking_store
    from mlflow.store.tracking import sqlalchemy_store
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # When two requests create the same trace, one of them has to start again. After this many
    # retries MLflow would drop the trace's spans, and still answer 200.
    if hasattr(sqlalchemy_store, _RETRIES):
        setattr(sqlalchemy_store, _RETRIES, max(getattr(sqlalchemy_store, _RETRIES), _MANY_RETRIES))
    found = _get_tracking_store()
    if not isinstance(found, SqlAlchemyStore):
        raise UnsupportedMlflowError(
            "otel-mlflow-context needs an SQL database: give `mlflow server` a "
            f"--backend-store-uri such as sqlite:///mlflow.db (this is a {type(found).__name__})"
        )
    return Store(found)


def _check_start() -> None:
    import mlflow

    numbers = tuple(int(number) for number in mlflow.__version__.split(".")[:2])
    if numbers < OLDEST:
        raise UnsupportedMlflowError(f"{_NEEDS}; this is {mlflow.__version__}")
    if os.environ.get(_SERVER_NAME, "uvicorn") != "uvicorn":
        raise UnsupportedMlflowError(
            "otel-mlflow-context needs uvicorn, MLflow's default: start `mlflow server` without "
            "--gunicorn-opts and --waitress-opts, which have no route for OTLP"
        )


def _checked(application: Any) -> Any:
    if not hasattr(getattr(application, "router", None), "routes"):
        raise UnsupportedMlflowError(f"{_NEEDS}: its application has no routes")
    return application


class Store:
    """MLflow's SQL store, which also writes metadata in the transaction that stores spans."""

    def __init__(self, store: Any) -> None:
        from mlflow.store.tracking.dbmodels import models

        self._store = store
        infos, metadata = models.SqlTraceInfo, models.SqlTraceMetadata
        columns = ("request_id", "experiment_id", "status", "client_request_id")
        missing = [
            name
            for owner, names in (
                (store, ("ManagedSessionMaker", "log_spans", "get_run")),
                (infos, ("__table__", *columns)),
                (metadata, ("__table__", "request_id", "key", "value")),
            )
            for name in names
            if not hasattr(owner, name)
        ]
        if not missing and "spans" not in inspect.signature(store.log_spans).parameters:
            missing.append("log_spans(location, spans)")
        if missing:
            raise UnsupportedMlflowError(f"{_NEEDS}: its store has no {', '.join(missing)}")
        self._rows = TraceRows(infos.__table__, metadata.__table__)
        self._models = ModelRows(
            models.SqlLoggedModel, models.SqlLoggedModelParam, models.SqlLoggedModelTag
        )
        self._make_session = store.ManagedSessionMaker
        self._export: ContextVar[Export | None] = ContextVar("export", default=None)
        self._logged: set[str] = set()

    def instrument(self, on_trace_without_root: OnTraceWithoutRoot) -> None:
        """Wrap the store's `log_spans` and its sessions, to write the metadata of `exporting`."""
        make_session, log_spans = self._make_session, self._store.log_spans

        @contextmanager
        def session_with_metadata(*args: Any, **kwargs: Any) -> Iterator[Any]:
            export = self._export.get()
            with make_session(*args, **kwargs) as session:
                # The one that stores the spans; `log_spans` may open others inside of it.
                is_outermost = export is not None and bool(export.trace_ids) and not export.session
                if export is None or not is_outermost:
                    yield session
                    return
                export.session = session
                try:
                    yield session
                    began = time.perf_counter()
                    self._write(session, export)
                    export.seconds += time.perf_counter() - began
                finally:
                    export.session = None

        def log_spans_with_metadata(location: Any, spans: Any, *args: Any, **kwargs: Any) -> Any:
            export = self._export.get()
            if export is None:
                return log_spans(location, spans, *args, **kwargs)
            export.experiment_id = str(location)
            export.trace_ids = {span.trace_id for span in spans}
            try:
                result = log_spans(location, spans, *args, **kwargs)
            except Exception as error:
                export.is_database_away |= _is_about_connection(error)
                raise
            finally:
                trace_ids, export.trace_ids = export.trace_ids, set()
            if trace_ids and not export.had_session:
                self._log_once(f"this MLflow stores spans in another way: {_NEEDS}")
            for trace_id in export.without_root:
                on_trace_without_root(trace_id)
            metrics.traces.add(len(export.written), {"metadata": True})
            metrics.traces.add(len(trace_ids) - len(export.written), {"metadata": False})
            return result

        self._store.ManagedSessionMaker = session_with_metadata
        self._store.log_spans = log_spans_with_metadata

    @contextmanager
    def exporting(self, export: Export) -> Iterator[None]:
        """Write the metadata of an export's entry spans when MLflow stores spans meanwhile."""
        token = self._export.set(export)
        try:
            yield
        finally:
            self._export.reset(token)

    def _write(self, session: Any, export: Export) -> None:
        """Write metadata in a transaction that is about to be committed.

        What the database may not refuse another time (no connection, a deadlock) ends the
        transaction, as it does in MLflow's own statements, so that senders try again. Everything
        else costs the metadata, never the spans.
        """
        from sqlalchemy import exc

        export.had_session = True
        export.written, export.without_root, export.foreign = set(), [], {}
        if not export.is_strict and export.entry_spans.keys().isdisjoint(export.trace_ids):
            return
        session.flush()  # invalid spans are MLflow's to report
        try:
            for attempt in range(_WRITE_ATTEMPTS):
                try:
                    with session.begin_nested():
                        self._update_traces(session, export)
                    break
                except exc.IntegrityError:  # another request has just written the same metadata
                    if attempt == _WRITE_ATTEMPTS - 1:
                        raise
        except (exc.OperationalError, exc.TimeoutError):
            raise
        except Exception:
            export.written, export.without_root = set(), []
            self._log_once(
                "metadata of traces is not written; their spans are stored", exc_info=True
            )
        if export.is_strict and export.foreign:
            raise _permission_denied("These traces belong to another experiment")

    def _update_traces(self, session: Any, export: Export) -> None:
        """Write what each entry span changes, in traces of the request's experiment only."""
        entries = {
            trace_id: entry
            for trace_id, entry in export.entry_spans.items()
            if trace_id in export.trace_ids
        }
        stored = self._rows.read(session, export.trace_ids if export.is_strict else entries)
        export.foreign = {
            trace_id: trace.experiment_id
            for trace_id, trace in stored.items()
            if trace.experiment_id != export.experiment_id
        }
        if export.foreign and not export.is_strict:
            _logger.warning(
                "no metadata for %s (%d such traces): of another experiment than the request's, %s",
                *(min(export.foreign), len(export.foreign), export.experiment_id),
            )
        updates = {
            trace_id: update
            for trace_id, entry in entries.items()
            if trace_id in stored and trace_id not in export.foreign
            if (update := _update_of(entry, stored[trace_id])) is not None
        }
        self._rows.write(session, updates)
        export.written = set(updates)
        export.without_root = [
            trace_id for trace_id, update in updates.items() if ENTRY_SPAN_KEY in update.added
        ]

    def _log_once(self, message: str, *, exc_info: bool = False) -> None:
        if message not in self._logged:
            self._logged.add(message)
            _logger.error(message, exc_info=exc_info)

    def experiment_of_run(self, run_id: str) -> str:
        return str(self._store.get_run(run_id).info.experiment_id)

    def logged_model(self, experiment_id: str, version: Version) -> str:
        """The id of a version's LoggedModel, which is made where there is none.

        The id is made of the version, so that only one of several processes can make the model;
        another id follows where somebody has deleted it.
        """
        from mlflow.entities import LoggedModelStatus
        from mlflow.utils.uri import append_to_uri_path
        from sqlalchemy.exc import IntegrityError

        experiment = self._store.get_experiment(experiment_id)
        oldest_first = [{"field_name": "creation_timestamp", "ascending": True}]
        for attempt in range(_MODEL_ATTEMPTS):
            for model in self._store.search_logged_models(
                [experiment_id], filter_string=version.filter, order_by=oldest_first
            ):
                is_ready = model.status == LoggedModelStatus.READY
                if version.is_git_model(model.tags) or (is_ready and version.is_model(model.tags)):
                    return str(model.model_id)
            name = repr((experiment_id, version.identity, attempt))
            model_id = f"m-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
            path = ("models", model_id, "artifacts")  # SqlAlchemyStore.create_logged_model's
            artifacts = append_to_uri_path(experiment.artifact_location, *path)
            try:
                with self._session() as session:
                    self._models.add(session, model_id, experiment_id, artifacts, version)
            except Exception as error:  # MLflow's, of the database's
                if not isinstance(error.__cause__, IntegrityError):
                    raise
        raise LookupError(f"no LoggedModel of {version.name} can be made")

    def traces_without_root(self, limit: int) -> list[str]:
        """The traces in progress whose metadata is an entry span's."""
        with self._session() as session:
            return self._rows.without_root(session, limit)

    def end_abandoned(self, trace_id: str) -> None:
        """Set a trace's state to its entry span's, unless its root came meanwhile."""
        with self._session() as session:
            self._rows.end_abandoned(session, trace_id)

    def _session(self) -> Any:
        """A session that may write. From 3.17 on sessions are read-only by default."""
        has_kinds = "read_only" in inspect.signature(self._make_session).parameters
        return self._make_session(read_only=False) if has_kinds else self._make_session()


def _update_of(entry: EntrySpan, stored: StoredTrace) -> TraceUpdate | None:
    return trace_update(entry, stored.metadata, stored.state, stored.client_request_id)


def _is_about_connection(error: Exception) -> bool:
    """Whether the same spans may be stored when the database is there again."""
    from sqlalchemy import exc

    # MLflow's exception has it as its cause; but one of its own rollback is raised as it is.
    cause = error if isinstance(error, exc.SQLAlchemyError) else error.__cause__
    return isinstance(cause, (exc.OperationalError, exc.TimeoutError)) or (  # none free in the pool
        isinstance(cause, exc.DBAPIError) and cause.connection_invalidated
    )


def _permission_denied(message: str) -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    error: Exception = MlflowException(message, error_code=PERMISSION_DENIED)
    return error


@dataclass
class Export:
    """A request's entry spans, and what becomes of the part of the request that MLflow stores."""

    entry_spans: Mapping[str, EntrySpan]
    is_strict: bool = False
    """Refuse traces of another experiment, instead of leaving their metadata alone."""
    experiment_id: str = ""
    trace_ids: set[str] = field(default_factory=set)
    """Of the call of `log_spans` that is under way, which stores them in one session."""
    session: Any = None
    """That session, while it is open."""
    had_session: bool = False
    written: set[str] = field(default_factory=set)
    """The traces whose metadata was written."""
    without_root: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    """Traces of another experiment, with its id."""
    is_database_away: bool = False
    """Spans are not stored, and may be when the request is sent again."""
    seconds: float = 0.0
    """Spent on metadata."""
