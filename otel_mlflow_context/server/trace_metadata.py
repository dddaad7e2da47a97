"""How an entry span changes the stored metadata, state and client request id of its trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_mlflow_context.semconv import (
    FEATURE_FLAG_PREFIX,
    MLFLOW_TRACE_SCHEMA_VERSION,
    MLFLOW_TRACE_SESSION,
    MLFLOW_TRACE_USER,
    PROCESS_FACTS,
    REQUEST_FACTS,
)
from otel_mlflow_context.server.otlp.entry_spans import EntrySpan

ENTRY_SPAN_KEY: Final = "mlflow.otel_mlflow_context.entry"
"""Metadata key of a trace without its root: which entry span its metadata was taken from. MLflow's
pages show no column for keys of this prefix."""
IN_PROGRESS: Final = "IN_PROGRESS"

# Metadata of traces whose trace info was created by MLflow's SDK or its REST API: it is complete.
_COMPLETE_KEYS: Final = frozenset({"mlflow.trace.infoFinalized", MLFLOW_TRACE_SCHEMA_VERSION})
# What MLflow itself takes from whichever span of a request comes first.
_FROM_ANY_SPAN: Final = frozenset({MLFLOW_TRACE_SESSION, MLFLOW_TRACE_USER})
_TABLE_KEYS: Final = frozenset(fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS))
_MAX_VALUE: Final = 8_000
"""Characters of a metadata value: the column in MLflow's database."""
_MAX_KEYS: Final = 128
"""Of a trace. Entry spans of many requests could otherwise add flags without end."""


@dataclass
class TraceUpdate:
    """Changes of one trace's rows."""

    removed: set[str] = field(default_factory=set)
    """Metadata keys."""
    added: dict[str, str] = field(default_factory=dict)
    """Metadata under keys that are not stored, or removed."""
    client_request_id: str | None = None
    state: str | None = None


def trace_update(
    entry: EntrySpan, metadata: Mapping[str, str], state: str, client_request_id: str | None
) -> TraceUpdate | None:
    """The changes that an entry span makes to its trace; None for none.

    Args:
        entry: of the request whose spans have just been stored.
        metadata: the trace's, including what MLflow has written for this request.
        state: the same.
        client_request_id: the same.
    """
    if not _COMPLETE_KEYS.isdisjoint(metadata):
        return None
    previous = _PreviousEntrySpan.of(metadata)
    # MLflow ends a trace when its root is stored; after that only the root counts.
    is_earliest = entry.start_ns < previous.start_ns if previous else state == IN_PROGRESS
    if not entry.is_root and not is_earliest:
        return None
    update = TraceUpdate()
    replaceable = set(_FROM_ANY_SPAN & entry.metadata.keys())
    if previous:
        replaceable |= {ENTRY_SPAN_KEY, *previous.keys}
    update.removed = {
        key for key in replaceable & metadata.keys() if metadata[key] != entry.metadata.get(key)
    }
    update.added = {
        key: value
        for key, value in entry.metadata.items()
        if key not in metadata or key in update.removed
    }
    free = _MAX_KEYS - len(metadata) + len(update.removed)
    if len(update.added) > free:
        first = sorted(update.added, key=lambda key: (key not in _TABLE_KEYS, key))[: max(free, 0)]
        update.added = {key: update.added[key] for key in first}
    if not entry.is_root:
        update.added[ENTRY_SPAN_KEY] = _as_previous(entry)
    if client_request_id is None or previous:
        update.client_request_id = entry.client_request_id
    if previous and entry.is_root and previous.ended_as is not None:
        update.state = entry.state  # the trace was ended as abandoned
    return update


@dataclass(frozen=True)
class _PreviousEntrySpan:
    """The entry span that a trace without its root has its metadata from."""

    start_ns: int
    keys: frozenset[str]
    ended_as: str | None

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> _PreviousEntrySpan | None:
        if ENTRY_SPAN_KEY not in metadata:
            return None
        stored = _loaded(metadata[ENTRY_SPAN_KEY])
        try:
            return cls(int(stored["start_ns"]), frozenset(stored["keys"]), stored.get("closed"))
        except (ValueError, KeyError, TypeError, OverflowError):
            return cls(0, frozenset(), None)


def _as_previous(entry: EntrySpan) -> str:
    stored = {"start_ns": entry.start_ns, "state": entry.state, "keys": sorted(entry.metadata)}
    text = json.dumps(stored)
    if len(text) > _MAX_VALUE:  # dozens of feature flags with long names
        keys = [key for key in entry.metadata if not key.startswith(FEATURE_FLAG_PREFIX)]
        text = json.dumps({**stored, "keys": sorted(_TABLE_KEYS.intersection(keys))})
    return text


def abandoned(entry_span: str) -> tuple[str, str]:
    """The final state of a trace whose root never came, and the new value of `ENTRY_SPAN_KEY`."""
    stored = _loaded(entry_span)
    state = "ERROR" if stored.get("state") == "ERROR" else "OK"
    return state, json.dumps({**stored, "closed": state})


def _loaded(entry_span: str) -> dict[str, Any]:
    """The value of `ENTRY_SPAN_KEY`, which whoever may edit the trace may have damaged."""
    try:
        stored = json.loads(entry_span)
    except (ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}
