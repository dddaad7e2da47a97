"""Which metrics are tested, and what of each is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from otel_mlflow_context.compare.metrics import METRICS, Metric
from otel_mlflow_context.compare.pipeline.tolerance import tolerance_of
from otel_mlflow_context.compare.quality.kinds import QUALITY, direction_of, metric_name
from otel_mlflow_context.compare.result import Group
from otel_mlflow_context.compare.sources.base import CannotCompare


def check(better: Mapping[str, str], tolerance: Mapping[str, str]) -> None:
    """Refuse what can be known to be wrong before any trace is read.

    Raises:
        CannotCompare: there is no such direction.
        ValueError: a tolerance is none.
    """
    for row in METRICS:
        _chosen(row, None, better, tolerance)


def chosen(
    rows: Sequence[Metric],
    groups: Sequence[Group],
    wanted: Sequence[str] | None,
    better: Mapping[str, str],
    tolerance: Mapping[str, str],
) -> tuple[Metric, ...]:
    """The rows with what was asked of them.

    Args:
        rows: all that was measured.
        groups: of which.
        wanted: the names of those that are tested; None for all.
        better: what is better, by name; of assessments their rows know it already.
        tolerance: how much worse each may be, by name.

    Raises:
        CannotCompare: there is no metric of a name.
        ValueError: a tolerance is none.
    """
    there = {it.name for it in rows} | {metric_name(it) for of in groups for it in of.judged}
    for name in (*(it for it in wanted or () if it != QUALITY), *better, *tolerance):
        if name not in there:
            listed = ", ".join([*(it.name for it in rows), QUALITY])
            raise CannotCompare(f"there is no metric or assessment {name!r}; there are {listed}")
    return tuple(_chosen(it, wanted, better, tolerance) for it in rows)


def _chosen(
    row: Metric,
    wanted: Sequence[str] | None,
    better: Mapping[str, str],
    tolerance: Mapping[str, str],
) -> Metric:
    names = {row.name, *([QUALITY] if row.assessment else [])}
    if not row.assessment and row.name in better:
        row = replace(row, better=direction_of(row.name, better[row.name]))
    if row.name in tolerance:
        if row.better is None:
            raise ValueError(
                f"tolerance names {row.name!r}, of which nothing is better: name what is by better"
            )
        found = tolerance_of(row.name, tolerance[row.name], row.unit)
        row = replace(row, tolerance=found)
    return replace(row, tested=wanted is None or not names.isdisjoint(wanted))
