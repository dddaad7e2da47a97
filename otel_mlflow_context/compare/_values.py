"""Which keys and values the traces have: for the candidates that nobody named, and for errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_mlflow_context.compare._sample import Selection
from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import PAGE, CannotCompare, Source

MOST: Final = 20
"""Values of a key that are looked for."""
_NEWEST: Final = "timestamp_ms DESC"
_LISTED: Final = 30


def find_key(source: Source, selection: Selection) -> str:
    """The metadata key that is meant: as it is, or a fact by its name.

    Raises:
        CannotCompare: no trace has it.
    """
    for key in (selection.key, filters.FACT_NAMES.get(selection.key)):
        if key is not None and _any(source, selection, filters.has_metadata(key)):
            return key
    page, _ = source.search(selection.experiment, selection.search(), order_by=_NEWEST, limit=PAGE)
    if not page:
        asked = " that match" if selection.where or selection.start_ms is not None else ""
        raise CannotCompare(f"experiment {selection.experiment.name!r} has no traces{asked}")
    keys = {key for trace in page for key in trace.metadata}
    # What people set comes first: MLflow's own keys are many.
    listed = _listed(sorted(keys, key=lambda key: (key.startswith("mlflow."), key)))
    raise CannotCompare(f"no trace has the metadata {selection.key!r}; the newest have {listed}")


def find_values(
    source: Source, selection: Selection, known: Sequence[str]
) -> tuple[list[str], bool]:
    """The values of a key besides those known, the newest first, and whether these are all.

    Each search leaves out what is known already, so that no trace is read for nothing.
    """
    found: list[str] = []
    while True:
        left_out = [value for value in (*known, *found) if filters.can_be_said(value)]
        page, _ = source.search(
            selection.experiment,
            selection.search(
                filters.has_metadata(selection.key),
                *(filters.metadata_is(selection.key, it, operator="!=") for it in left_out),
            ),
            order_by=_NEWEST,
            limit=PAGE,
        )
        values = dict.fromkeys(trace.metadata.get(selection.key) for trace in page)
        new = [it for it in values if it is not None and it not in known and it not in found]
        found += new[: MOST - len(found)]
        if len(page) < PAGE:
            return found, set(new) <= set(found)
        if not new or len(found) == MOST:
            return found, False


def never_seen(source: Source, selection: Selection, missing: Sequence[str]) -> CannotCompare:
    """Values that no trace has, as a problem that lists those that they have."""
    seen, complete = find_values(source, selection, ())
    what = " and ".join(repr(it) for it in missing)
    more = "" if complete else ", and others"
    return CannotCompare(
        f"no trace has {what} as its {selection.key}; they have {_listed(seen)}{more}"
    )


def _any(source: Source, selection: Selection, term: str) -> bool:
    page, _ = source.search(selection.experiment, selection.search(term), order_by=_NEWEST, limit=1)
    return bool(page)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(repr(it) for it in names[:_LISTED]) + more
