"""What is to be written of a trace when a span speaks for it, given what is stored of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_mlflow_context.semconv import (
    FEATURE_FLAG_PREFIX,
    MLFLOW_CLIENT_REQUEST_ID,
    MLFLOW_TRACE_SESSION,
    MLFLOW_TRACE_USER,
    PROCESS_FACTS,
    REQUEST_FACTS,
)
from otel_mlflow_context.server.entry_spans import Speaker

MARKER: Final = "mlflow.otel_mlflow_context.entry"
"""Metadata of a trace whose root has not come: who speaks for it meanwhile. Of this prefix MLflow's
pages make no column."""
IN_PROGRESS: Final = "IN_PROGRESS"

# Metadata of traces that MLflow's SDK, or a call of its REST API, has said everything of.
_SAID_ALREADY: Final = ("mlflow.trace.infoFinalized", "mlflow.trace_schema.version")
# What MLflow itself takes from whichever span of a batch comes first.
_TAKEN_FROM_ANY: Final = frozenset({MLFLOW_TRACE_SESSION, MLFLOW_TRACE_USER})
_OF_THE_TABLE: Final = frozenset(fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS))
_MAX_MARKER: Final = 8_000


@dataclass
class Change:
    """Of one trace's rows."""

    removed: set[str] = field(default_factory=set)
    """Metadata keys."""
    added: dict[str, str] = field(default_factory=dict)
    """Metadata that is not there, or among the removed."""
    client_request_id: str | None = None
    state: str | None = None


def change_for(
    speaker: Speaker,
    metadata: Mapping[str, str],
    state: str,
    client_request_id: str | None,
) -> Change | None:
    """What a speaker changes; None for nothing.

    Args:
        speaker: of the batch that was just stored.
        metadata: of the trace, with what MLflow has just written.
        state: of the trace, the same.
        client_request_id: the same.
    """
    if any(key in metadata for key in _SAID_ALREADY):
        return None
    before = _Before.of(metadata)
    # MLflow ends a trace with its root: then nobody else has anything to say.
    is_its_turn = speaker.start_ns < before.start_ns if before else state == IN_PROGRESS
    if not speaker.is_root and not is_its_turn:
        return None
    facts = dict(speaker.facts)
    request_id = facts.pop(MLFLOW_CLIENT_REQUEST_ID, None)
    change = Change()
    if before:
        change.removed = {MARKER} | (before.keys & metadata.keys())
    change.removed |= _TAKEN_FROM_ANY & facts.keys() & metadata.keys()
    change.added = {
        key: value for key, value in facts.items() if key not in metadata or key in change.removed
    }
    # What is the same is left where it is.
    same = {key for key, value in change.added.items() if metadata.get(key) == value}
    change.removed -= same
    change.added = {key: value for key, value in change.added.items() if key not in same}
    if not speaker.is_root:
        change.added[MARKER] = _marker(speaker)
    if request_id and (client_request_id is None or before):
        change.client_request_id = request_id
    if before and speaker.is_root and before.state is not None:
        change.state = speaker.state  # it was closed before its root came
    return change


@dataclass(frozen=True)
class _Before:
    """The entry span that has spoken."""

    start_ns: int
    keys: frozenset[str]
    state: str | None

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> _Before | None:
        if MARKER not in metadata:
            return None
        try:
            said = json.loads(metadata[MARKER])
            return cls(int(said["start_ns"]), frozenset(said["keys"]), said.get("closed"))
        except (ValueError, KeyError, TypeError):
            return cls(0, frozenset(), None)


def _marker(speaker: Speaker) -> str:
    said = {"start_ns": speaker.start_ns, "state": speaker.state, "keys": sorted(speaker.facts)}
    text = json.dumps(said)
    if len(text) > _MAX_MARKER:  # flags by the dozen, with long names
        keys = [key for key in speaker.facts if not key.startswith(FEATURE_FLAG_PREFIX)]
        text = json.dumps({**said, "keys": sorted(_OF_THE_TABLE.intersection(keys))})
    return text


def closed(marker: str) -> tuple[str, str]:
    """The state that a trace is closed with, and the marker that remembers it."""
    said = json.loads(marker)
    state = said["state"] if said.get("state") in ("OK", "ERROR") else "OK"
    return state, json.dumps({**said, "closed": state})
