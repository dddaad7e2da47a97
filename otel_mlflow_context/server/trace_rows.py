"""The rows of traces in MLflow's database: statements on the tables of trace info and metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_mlflow_context.server.trace_metadata import (
    ENTRY_SPAN_KEY,
    IN_PROGRESS,
    TraceUpdate,
    abandoned,
)


@dataclass
class StoredTrace:
    experiment_id: str
    state: str
    client_request_id: str | None
    metadata: dict[str, str] = field(default_factory=dict)


class TraceRows:
    """Reads and changes the rows of traces, within a session.

    Args:
        infos: MLflow's table of trace infos.
        metadata: MLflow's table of trace metadata.
    """

    def __init__(self, infos: Any, metadata: Any) -> None:
        from sqlalchemy import bindparam, select

        self._infos, self._metadata = infos.c, metadata.c
        self._info_table, self._metadata_table = infos, metadata
        self._select = (
            select(
                infos.c.request_id,
                infos.c.experiment_id,
                infos.c.status,
                infos.c.client_request_id,
                metadata.c.key,
                metadata.c.value,
            )
            .outerjoin(metadata, metadata.c.request_id == infos.c.request_id)
            .where(infos.c.request_id.in_(bindparam("trace_ids", expanding=True)))
        )
        self._insert = metadata.insert()

    def read(self, session: Any, trace_ids: Collection[str]) -> dict[str, StoredTrace]:
        traces: dict[str, StoredTrace] = {}
        for trace_id, experiment_id, state, client_request_id, key, value in session.execute(
            self._select, {"trace_ids": list(trace_ids)}
        ):
            trace = traces.get(trace_id)
            if trace is None:
                trace = StoredTrace(str(experiment_id), state, client_request_id)
                traces[trace_id] = trace
            if key is not None:
                trace.metadata[key] = value or ""
        return traces

    def write(self, session: Any, updates: Mapping[str, TraceUpdate]) -> None:
        from sqlalchemy import delete, update

        added = []
        # In the same order in every process, to avoid deadlocks.
        for trace_id, change in sorted(updates.items()):
            if change.removed:
                is_removed = self._metadata.key.in_(sorted(change.removed))
                of_trace = self._metadata.request_id == trace_id
                session.execute(delete(self._metadata_table).where(of_trace, is_removed))
            fields = {"client_request_id": change.client_request_id, "status": change.state}
            if values := {name: value for name, value in fields.items() if value is not None}:
                of_trace = self._infos.request_id == trace_id
                session.execute(update(self._info_table).where(of_trace).values(values))
            added += [
                {"request_id": trace_id, "key": key, "value": value}
                for key, value in sorted(change.added.items())
            ]
        if added:
            session.execute(self._insert, added)

    def without_root(self, session: Any, limit: int) -> list[str]:
        """Traces in progress whose metadata is an entry span's."""
        from sqlalchemy import select

        query = (
            select(self._metadata.request_id)
            .join(self._info_table, self._infos.request_id == self._metadata.request_id)
            .where(self._metadata.key == ENTRY_SPAN_KEY, self._infos.status == IN_PROGRESS)
            .limit(limit)
        )
        return list(session.execute(query).scalars())

    def end_abandoned(self, session: Any, trace_id: str) -> None:
        """Set a trace's state to its entry span's, unless its root came meanwhile."""
        from sqlalchemy import select, update

        infos, metadata = self._infos, self._metadata
        of_trace = infos.request_id == trace_id
        is_entry_span = (metadata.request_id == trace_id, metadata.key == ENTRY_SPAN_KEY)
        # The trace's row first, which every other writer locks first too.
        state = session.execute(select(infos.status).where(of_trace).with_for_update()).scalar()
        entry_span = session.execute(select(metadata.value).where(*is_entry_span)).scalar()
        if state != IN_PROGRESS or entry_span is None:
            return
        state, entry_span = abandoned(entry_span)
        session.execute(update(self._info_table).where(of_trace).values(status=state))
        session.execute(update(self._metadata_table).where(*is_entry_span).values(value=entry_span))
