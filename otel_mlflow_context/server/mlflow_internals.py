"""MLflow's private API that the plugin uses, and the checks that it is as expected.

As in MLflow 3.6.0, 3.12.0 and 3.17.2.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from otel_mlflow_context.server.entry_spans import EntrySpan
from otel_mlflow_context.server.trace_metadata import (
    ENTRY_SPAN_KEY,
    IN_PROGRESS,
    abandoned,
    trace_update,
)

_logger = logging.getLogger(__name__)

OLDEST: Final = (3, 6)
_NEEDS: Final = "otel-mlflow-context needs MLflow 3.6 or later (3.6.0 to 3.17.2 are tested)"
# Set by `mlflow server`: mlflow/environment_variables.py, _MLFLOW_SGI_NAME.
_SERVER_NAME: Final = "_MLFLOW_SGI_NAME"
_STATIC_PREFIX: Final = "_MLFLOW_STATIC_PREFIX"
_RETRIES: Final = "_LOG_SPANS_MAX_TRACE_CREATE_RETRIES"
_MANY_RETRIES: Final = 1_000

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
        self._infos = models.SqlTraceInfo
        self._metadata = models.SqlTraceMetadata
        missing = [
            name
            for owner, names in (
                (store, ("ManagedSessionMaker", "log_spans")),
                (self._infos, ("request_id", "status", "client_request_id")),
                (self._metadata, ("request_id", "key", "value")),
            )
            for name in names
            if not hasattr(owner, name)
        ]
        if not missing and "spans" not in inspect.signature(store.log_spans).parameters:
            missing.append("log_spans(location, spans)")
        if missing:
            raise UnsupportedMlflowError(f"{_NEEDS}: its store has no {', '.join(missing)}")
        self._make_session = store.ManagedSessionMaker
        self._export: ContextVar[_Export | None] = ContextVar("export", default=None)
        self._logged: set[str] = set()

    def instrument(self, on_trace_without_root: OnTraceWithoutRoot) -> None:
        """Wrap the store's `log_spans` and its sessions, to write the metadata of `metadata_of`."""
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
                    self._write(session, export, on_trace_without_root)
                finally:
                    export.session = None

        def log_spans_with_metadata(location: Any, spans: Any, *args: Any, **kwargs: Any) -> Any:
            export = self._export.get()
            if export is None:
                return log_spans(location, spans, *args, **kwargs)
            export.trace_ids = {span.trace_id for span in spans}
            try:
                result = log_spans(location, spans, *args, **kwargs)
                if export.trace_ids and not export.had_session:
                    self._log_once(f"this MLflow stores spans in another way: {_NEEDS}")
                return result
            finally:
                export.trace_ids = set()

        self._store.ManagedSessionMaker = session_with_metadata
        self._store.log_spans = log_spans_with_metadata

    @contextmanager
    def metadata_of(self, entry_spans: Mapping[str, EntrySpan]) -> Iterator[None]:
        """Write the metadata of these entry spans when MLflow stores spans in this context."""
        token = self._export.set(_Export(entry_spans))
        try:
            yield
        finally:
            self._export.reset(token)

    def _write(
        self, session: Any, export: _Export, on_trace_without_root: OnTraceWithoutRoot
    ) -> None:
        """Write metadata in a transaction that is about to end. A failure never costs the spans."""
        export.had_session = True
        entries = [it for it in export.entry_spans.values() if it.trace_id in export.trace_ids]
        if not entries:
            return
        session.flush()  # invalid spans are MLflow's to report
        try:
            with session.begin_nested():
                without_root = self._update_traces(session, entries)
        except Exception:
            self._log_once(
                "metadata of traces is not written; their spans are stored", exc_info=True
            )
            return
        for trace_id in without_root:
            on_trace_without_root(trace_id)

    def _log_once(self, message: str, *, exc_info: bool = False) -> None:
        if message not in self._logged:
            self._logged.add(message)
            _logger.error(message, exc_info=exc_info)

    def _update_traces(self, session: Any, entries: Sequence[EntrySpan]) -> list[str]:
        """Write what each entry span changes; the ids of those traces that have no root yet."""
        from sqlalchemy import delete, insert, select, update

        infos, rows = self._infos, self._metadata
        ids = [entry.trace_id for entry in entries]
        stored = {
            trace_id: (state, client_request_id)
            for trace_id, state, client_request_id in session.execute(
                select(infos.request_id, infos.status, infos.client_request_id).where(
                    infos.request_id.in_(ids)
                )
            )
        }
        metadata: dict[str, dict[str, str]] = {trace_id: {} for trace_id in ids}
        for trace_id, key, value in session.execute(
            select(rows.request_id, rows.key, rows.value).where(rows.request_id.in_(ids))
        ):
            metadata[trace_id][key] = value or ""
        added: list[dict[str, str]] = []
        without_root = []
        # In the same order in every process, to avoid deadlocks.
        for entry in sorted(entries, key=lambda it: it.trace_id):
            trace_id = entry.trace_id
            if trace_id not in stored:
                continue
            change = trace_update(entry, metadata[trace_id], *stored[trace_id])
            if change is None:
                continue
            if change.removed:
                _execute(
                    session,
                    delete(rows).where(rows.request_id == trace_id, rows.key.in_(change.removed)),
                )
            fields = {"client_request_id": change.client_request_id, "status": change.state}
            if values := {name: value for name, value in fields.items() if value is not None}:
                _execute(session, update(infos).where(infos.request_id == trace_id).values(values))
            added += [
                {"request_id": trace_id, "key": key, "value": value}
                for key, value in sorted(change.added.items())
            ]
            if ENTRY_SPAN_KEY in change.added:
                without_root.append(trace_id)
        if added:
            session.execute(insert(rows), added)
        return without_root

    def traces_without_root(self) -> list[str]:
        """The traces in progress whose metadata is an entry span's."""
        from sqlalchemy import select

        rows, infos = self._metadata, self._infos
        query = (
            select(rows.request_id)
            .join(infos, infos.request_id == rows.request_id)
            .where(rows.key == ENTRY_SPAN_KEY, infos.status == IN_PROGRESS)
        )
        with self._session() as session:
            return list(session.execute(query).scalars())

    def end_abandoned(self, trace_id: str) -> None:
        """Set a trace's state to its entry span's, unless its root came meanwhile."""
        from sqlalchemy import select, update

        rows, infos = self._metadata, self._infos
        is_entry_span = (rows.request_id == trace_id, rows.key == ENTRY_SPAN_KEY)
        with self._session() as session:
            # The trace's row first, which every other writer locks first too.
            state = session.execute(
                select(infos.status).where(infos.request_id == trace_id).with_for_update()
            ).scalar()
            entry_span = session.execute(select(rows.value).where(*is_entry_span)).scalar()
            if state != IN_PROGRESS or entry_span is None:
                return
            state, entry_span = abandoned(entry_span)
            _execute(
                session, update(infos).where(infos.request_id == trace_id).values(status=state)
            )
            _execute(session, update(rows).where(*is_entry_span).values(value=entry_span))

    def _session(self) -> Any:
        """A session that may write. From 3.17 on sessions are read-only by default."""
        has_kinds = "read_only" in inspect.signature(self._make_session).parameters
        return self._make_session(read_only=False) if has_kinds else self._make_session()


def _execute(session: Any, statement: Any) -> None:
    """Execute a statement on rows that the session has no objects of."""
    session.execute(statement.execution_options(synchronize_session=False))


@dataclass
class _Export:
    """A request's entry spans, and the part of the request that MLflow is storing."""

    entry_spans: Mapping[str, EntrySpan]
    trace_ids: set[str] = field(default_factory=set)
    """Of the call of `log_spans` that is under way, which stores them in one session."""
    session: Any = None
    """That session, while it is open."""
    had_session: bool = False
