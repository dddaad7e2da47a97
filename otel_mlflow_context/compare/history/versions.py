"""Which versions the traces have, and when each was first and last seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import PAGE, Trace

_PAGES: Final = 200
"""Searches at most: each finds a version, or goes back in time."""
_MOST_LEFT_OUT: Final = 40
"""Each is a join in MLflow's search, of which SQLite takes 64."""


@dataclass(frozen=True)
class Seen:
    """A version with the first and the last of its traces in the time range."""

    value: str
    first: Trace
    last: Trace


def seen(selection: Selection, most: int) -> tuple[list[Seen], list[str], bool]:
    """The newest versions, in the order in which they were first seen.

    From the newest trace back in time: each search leaves out the versions that are known and
    still had traces at that time, so that none is read for nothing.

    Args:
        selection: the traces.
        most: how many versions are looked for.

    Returns:
        The versions, the values that no filter of MLflow can have in it, and whether these are all.
    """
    found: dict[str, Seen] = {}
    unusable: dict[str, None] = {}
    until_ms: int | None = None
    for _ in range(_PAGES):
        page = _before(selection, until_ms, found)
        for trace in page:
            value = trace.metadata.get(selection.key)
            if value is None or value in found:
                continue
            if not filters.can_be_quoted(value):
                unusable[value] = None
            elif len(found) == most:
                return _in_order(found), list(unusable), False
            else:
                [first] = selection.traces(
                    selection.is_in(value), limit=1, order_by="timestamp_ms ASC"
                )
                found[value] = Seen(value, first, trace)
        if len(page) < PAGE:
            return _in_order(found), list(unusable), True
        reached_ms = page[-1].time_ms
        until_ms = reached_ms - 1 if reached_ms == until_ms else reached_ms
    return _in_order(found), list(unusable), False


def _before(selection: Selection, until_ms: int | None, found: dict[str, Seen]) -> list[Trace]:
    """The newest traces up to a time that are of no version that is known."""
    known = [
        filters.metadata_is(selection.key, it.value, operator="!=")
        for it in found.values()
        if until_ms is None or it.first.time_ms <= until_ms
    ]
    terms = (
        filters.has_metadata(selection.key),
        *known[:_MOST_LEFT_OUT],
        filters.until_time(until_ms),
    )
    return list(selection.traces(*terms, limit=PAGE, order_by="timestamp_ms DESC"))


def _in_order(found: dict[str, Seen]) -> list[Seen]:
    return sorted(found.values(), key=lambda it: (it.first.time_ms, it.value))
