"""Which metrics are tested, and what of each is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from otel_mlflow_context.compare.metrics import Metric
from otel_mlflow_context.compare.quality.kinds import QUALITY, direction_of
from otel_mlflow_context.compare.result import Group
from otel_mlflow_context.compare.sources.base import CannotCompare


def chosen(
    rows: Sequence[Metric],
    groups: Sequence[Group],
    wanted: Sequence[str] | None,
    better: Mapping[str, str],
) -> tuple[Metric, ...]:
    """The rows with what was asked of them.

    Args:
        rows: all that was measured.
        groups: of which.
        wanted: the names of those that are tested; None for all.
        better: what is better, by name; of assessments their rows know it already.

    Raises:
        CannotCompare: there is no metric of a name.
    """
    there = {it.name for it in rows} | {it for group in groups for it in group.judged}
    for name in (*(it for it in wanted or () if it != QUALITY), *better):
        if name not in there:
            listed = ", ".join([*(it.name for it in rows), QUALITY])
            raise CannotCompare(f"there is no metric or assessment {name!r}; there are {listed}")
    return tuple(
        replace(
            it,
            tested=wanted is None
            or not {it.name, *([it.assessment, QUALITY] if it.assessment else [])}.isdisjoint(
                wanted
            ),
            better=it.better
            if it.assessment or it.name not in better
            else direction_of(it.name, better[it.name]),
        )
        for it in rows
    )
