"""The traces of each stretch of time, for the pictures of the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from otel_mlflow_context.compare._result import Bucket, Group
from otel_mlflow_context.compare._sample import Sample, Selection
from otel_mlflow_context.compare.sources.base import ERROR, FINISHED, Aggregate, Point, Source

_MS_PER_S: Final = 1_000
_FEWEST_BUCKETS: Final = 8
_MOST_BUCKETS: Final = 40
_TRACES_A_BUCKET: Final = 60
"""With fewer, an error rate is mostly chance."""
_WIDTHS_S: Final = (
    *(60, 300, 900, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 86_400),
    *(7 * 86_400, 28 * 86_400, 364 * 86_400),
)
"""Of a stretch of time in the picture: the first that makes no more of them than wanted."""


@dataclass(frozen=True)
class Measured:
    """A group, and the traces of it that were read."""

    group: Group
    sample: Sample


def of_samples(measured: Sequence[Measured]) -> list[Group]:
    """The groups with their traces over time, as far as they were read."""
    width, _, _ = _stretches(measured)
    groups = []
    for it in measured:
        buckets: defaultdict[int, list[tuple[str, float | None]]] = defaultdict(list)
        for time_ms, state, latency in it.sample.rows:
            buckets[time_ms // width * width].append((state, latency))
        groups.append(
            replace(
                it.group,
                over_time=tuple(
                    Bucket(
                        start_ms,
                        finished=sum(state in FINISHED for state, _ in rows),
                        errors=sum(state == ERROR for state, _ in rows),
                        latency_p50=_median([it for _, it in rows if it is not None]),
                    )
                    for start_ms, rows in sorted(buckets.items())
                ),
            )
        )
    return groups


def aggregated(source: Source, selection: Selection, measured: Sequence[Measured]) -> list[Group]:
    """The same of all traces: the source computes it.

    Raises:
        NoAggregation: it cannot.
    """
    width, start_ms, end_ms = _stretches(measured)

    def ask(value: str, metric: str, aggregation: str, *, by_status: bool = False) -> list[Point]:
        question = Aggregate(
            metric,
            [aggregation],
            selection.aggregate(value) or (),
            by_status=by_status,
            interval_s=width // _MS_PER_S,
            start_ms=start_ms,
            end_ms=end_ms,
        )
        return source.aggregate(selection.experiment, question)

    if all(len(it.sample) >= it.group.traces for it in measured):
        return of_samples(measured)  # all of them are here
    groups = []
    for group in (it.group for it in measured):
        states: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for point in ask(group.value, "trace_count", "COUNT", by_status=True):
            status = point.dimensions["trace_status"]
            states[_time_of(point)][status] += int(point.values["COUNT"])
        medians = {
            _time_of(point): point.values["P50"] for point in ask(group.value, "latency", "P50")
        }
        buckets = tuple(
            Bucket(time, sum(counts[it] for it in FINISHED), counts[ERROR], medians.get(time))
            for time, counts in sorted(states.items())
        )
        groups.append(replace(group, over_time=buckets))
    return groups


def _stretches(measured: Sequence[Measured]) -> tuple[int, int, int]:
    """How long a stretch of time is in the picture, its beginning and its end, in milliseconds."""
    times = [time_ms for it in measured for time_ms, _, _ in it.sample.rows] or [0]
    first, last = min(times), max(times)
    wanted = max(it.group.traces for it in measured) // _TRACES_A_BUCKET
    wanted = min(max(wanted, _FEWEST_BUCKETS), _MOST_BUCKETS)
    widths = (width_s * _MS_PER_S for width_s in _WIDTHS_S)
    longest = _WIDTHS_S[-1] * _MS_PER_S
    width = next((it for it in widths if last // it - first // it < wanted), longest)
    # A sample may miss the first and the last ones.
    return width, (first // width - 1) * width, (last // width + 2) * width - 1


def _time_of(point: Point) -> int:
    return int(datetime.fromisoformat(point.dimensions["time_bucket"]).timestamp() * _MS_PER_S)


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
