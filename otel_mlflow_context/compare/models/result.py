"""The versions that traces are linked to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinkedVersion:
    """A LoggedModel, and the traces that are linked to it."""

    model_id: str
    name: str | None
    """The name of the LoggedModel that this package makes of such a version."""
    service_name: str | None
    app_version: str | None
    commit: str | None
    dirty: bool
    """Whether the work tree had uncommitted changes."""
    environments: tuple[str, ...]
    traces: int
    first_seen_ms: int
    """The start of the first trace in the time range, in ms since 1970."""
    last_seen_ms: int


@dataclass(frozen=True)
class Listing:
    """What was found in an experiment."""

    experiment: str
    versions: tuple[LinkedVersion, ...]
    """In the order in which they were first seen."""
    complete: bool
    """Whether these are all."""
