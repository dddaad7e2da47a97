"""Everything of MLflow's insides that the plugin touches, and a check that it is as expected.

Seen in MLflow 3.6.0, 3.12.0 and 3.17.2.
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

from otel_mlflow_context.server.entry_spans import Speaker
from otel_mlflow_context.server.trace_metadata import IN_PROGRESS, MARKER, change_for, closed

_logger = logging.getLogger(__name__)

OLDEST: Final = (3, 6)
_NEEDS: Final = "otel-mlflow-context needs MLflow 3.6 or later (3.6.0 to 3.17.2 are tested)"
# Set by `mlflow server`: mlflow/environment_variables.py, _MLFLOW_SGI_NAME.
_SERVER_NAME: Final = "_MLFLOW_SGI_NAME"
_STATIC_PREFIX: Final = "_MLFLOW_STATIC_PREFIX"
_RETRIES: Final = "_LOG_SPANS_MAX_TRACE_CREATE_RETRIES"
_MANY_RETRIES: Final = 1_000

OnMarked = Callable[[str], None]


class UnsupportedMlflowError(Exception):
    """This MLflow, or how it was started, is not one that the plugin works with."""


def app() -> Any:
    """MLflow's application, of its own module."""
    _check_start()
    from mlflow.server import fastapi_app

    return _checked(fastapi_app.app)


def basic_auth_app() -> Any:
    """MLflow's application with its basic authentication."""
    _check_start()
    from mlflow.server import auth

    return _checked(auth.create_app())


def static_prefix() -> str:
    """What stands before every path: ``mlflow server --static-prefix``."""
    return os.environ.get(_STATIC_PREFIX, "").rstrip("/")


def store() -> Store:
    """The store that MLflow's routes write to.

    Raises:
        UnsupportedMlflowError: it is no SQL database, or another than expected.
    """
    from mlflow.server.handlers import _get_tracking_store
    from mlflow.store.tracking import sqlalchemy_store
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # Each time that two requests make the same trace, one of them starts again; after some times
    # MLflow leaves that trace's spans out, and answers 200.
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
        raise UnsupportedMlflowError(f"{_NEEDS}: its application is of another kind")
    return application


class Store:
    """MLflow's SQL store, which writes metadata in the transaction that stores the spans."""

    def __init__(self, store: Any) -> None:
        from mlflow.store.tracking.dbmodels import models

        self._store = store
        self._infos = models.SqlTraceInfo
        self._metadata = models.SqlTraceMetadata
        self._speaking: ContextVar[_Batch | None] = ContextVar("speaking", default=None)
        self._logged: set[str] = set()
        missing = [
            name
            for owner, name in (
                (store, "ManagedSessionMaker"),
                (store, "log_spans"),
                *((self._infos, name) for name in ("request_id", "status", "client_request_id")),
                *((self._metadata, name) for name in ("request_id", "key", "value")),
            )
            if not hasattr(owner, name)
        ]
        if not missing and "spans" not in inspect.signature(store.log_spans).parameters:
            missing.append("log_spans(location, spans)")
        if missing:
            raise UnsupportedMlflowError(f"{_NEEDS}: its store has no {', '.join(missing)}")
        self._make_session = store.ManagedSessionMaker
        # Sessions that MLflow opens inside of another one of `log_spans` are not that one.
        self._depth: ContextVar[int] = ContextVar("depth", default=0)

    def watch(self, on_marked: OnMarked) -> None:
        """Write the metadata of what `speaking` says whenever MLflow stores spans."""
        make_session, log_spans = self._make_session, self._store.log_spans

        @contextmanager
        def with_metadata(*args: Any, **kwargs: Any) -> Iterator[Any]:
            depth = self._depth.get()
            token = self._depth.set(depth + 1)
            try:
                with make_session(*args, **kwargs) as session:
                    yield session
                    batch = self._speaking.get()
                    if batch is not None and batch.storing and depth == 0:
                        self._write(session, batch, on_marked)
            finally:
                self._depth.reset(token)

        def watched(location: Any, spans: Any, *args: Any, **kwargs: Any) -> Any:
            batch = self._speaking.get()
            if batch is None:
                return log_spans(location, spans, *args, **kwargs)
            batch.storing = {span.trace_id for span in spans}
            try:
                result = log_spans(location, spans, *args, **kwargs)
                if batch.storing and not batch.is_written:
                    self._log_once("this MLflow stores spans in another way: %s", _NEEDS)
                return result
            finally:
                batch.storing = set()

        self._store.ManagedSessionMaker = with_metadata
        self._store.log_spans = watched

    @contextmanager
    def speaking(self, speakers: Mapping[str, Speaker]) -> Iterator[None]:
        """What is stored meanwhile, in this context, gets the metadata that these spans say."""
        batch = _Batch(speakers)
        token = self._speaking.set(batch)
        try:
            yield
        finally:
            self._speaking.reset(token)

    def _write(self, session: Any, batch: _Batch, on_marked: OnMarked) -> None:
        """Write metadata in a transaction that is about to end. It never costs the spans."""
        batch.is_written = True
        speakers = [it for it in batch.speakers.values() if it.trace_id in batch.storing]
        if not speakers:
            return
        session.flush()  # what is wrong with the spans is MLflow's to say
        try:
            with session.begin_nested():
                marked = self._write_all(session, speakers)
        except Exception:
            self._log_once(
                "the metadata of traces is not written; their spans are stored", exc_info=True
            )
            return
        for trace_id in marked:
            on_marked(trace_id)

    def _log_once(self, message: str, *args: object, exc_info: bool = False) -> None:
        if message not in self._logged:
            self._logged.add(message)
            _logger.error(message, *args, exc_info=exc_info)

    def _write_all(self, session: Any, speakers: Sequence[Speaker]) -> list[str]:
        """Write what each changes; the traces that wait for their root now."""
        from sqlalchemy import delete, insert, select, update

        infos, rows = self._infos, self._metadata
        ids = [speaker.trace_id for speaker in speakers]
        states = {
            trace_id: (state, request_id)
            for trace_id, state, request_id in session.execute(
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
        marked = []
        # In one order in every process, so that no two wait for each other.
        for speaker in sorted(speakers, key=lambda it: it.trace_id):
            trace_id = speaker.trace_id
            if trace_id not in states:
                continue
            change = change_for(speaker, metadata[trace_id], *states[trace_id])
            if change is None:
                continue
            if change.removed:
                session.execute(
                    delete(rows)
                    .where(rows.request_id == trace_id, rows.key.in_(change.removed))
                    .execution_options(synchronize_session=False)
                )
            fields = {"client_request_id": change.client_request_id, "status": change.state}
            if said := {key: value for key, value in fields.items() if value is not None}:
                session.execute(
                    update(infos)
                    .where(infos.request_id == trace_id)
                    .values(**said)
                    .execution_options(synchronize_session=False)
                )
            added += [
                {"request_id": trace_id, "key": key, "value": value}
                for key, value in sorted(change.added.items())
            ]
            if MARKER in change.added:
                marked.append(trace_id)
        if added:
            session.execute(insert(rows), added)
        return marked

    # --- Traces whose root never comes -------------------------------------------------------

    def waiting(self) -> list[str]:
        """The traces of which only an entry span has spoken."""
        from sqlalchemy import select

        rows, infos = self._metadata, self._infos
        question = (
            select(rows.request_id)
            .join(infos, infos.request_id == rows.request_id)
            .where(rows.key == MARKER, infos.status == IN_PROGRESS)
        )
        with self._session() as session:
            return [trace_id for (trace_id,) in session.execute(question)]

    def close(self, trace_id: str) -> None:
        """End a trace by its entry span, unless its root came meanwhile."""
        from sqlalchemy import select, update

        rows, infos = self._metadata, self._infos
        is_marker = (rows.request_id == trace_id, rows.key == MARKER)
        with self._session() as session:
            # First the trace's row, which every other writer locks first too.
            locked = session.execute(
                select(infos.status).where(infos.request_id == trace_id).with_for_update()
            ).scalar()
            marker = session.execute(select(rows.value).where(*is_marker)).scalar()
            if locked != IN_PROGRESS or marker is None:
                return
            state, marker = closed(marker)
            for statement in (
                update(infos).where(infos.request_id == trace_id).values(status=state),
                update(rows).where(*is_marker).values(value=marker),
            ):
                session.execute(statement.execution_options(synchronize_session=False))

    def _session(self) -> Any:
        """A session that may write. From 3.17 on those that may not are the default."""
        has_kinds = "read_only" in inspect.signature(self._make_session).parameters
        return self._make_session(read_only=False) if has_kinds else self._make_session()


@dataclass
class _Batch:
    """What a request says, and which part of it MLflow is storing."""

    speakers: Mapping[str, Speaker]
    storing: set[str] = field(default_factory=set)
    """The traces of the call of `log_spans` that is under way."""
    is_written: bool = False
    """Whether a session of such a call has been seen."""
