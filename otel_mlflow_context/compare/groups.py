"""Measuring groups of traces: computed by the source where it can, else of a sample."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np

from otel_mlflow_context.compare import statistics
from otel_mlflow_context.compare.metrics import (
    ERRORS,
    LATENCY,
    METRICS,
    PERCENTILES,
    Distribution,
    Share,
)
from otel_mlflow_context.compare.result import Bucket, Group
from otel_mlflow_context.compare.sample import Report, Sample, sample_traces
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources import at_once
from otel_mlflow_context.compare.sources.base import (
    ERROR,
    FINISHED,
    NoAggregation,
    Point,
    Trace,
)
from otel_mlflow_context.compare.statistics import Estimate

_STATUS: Final = "trace_status"
_BY_STATUS: Final = {"dimensions": [_STATUS]}
_MS_PER_S: Final = 1_000
_PERCENT: Final = 100
_FEWEST_BUCKETS: Final = 8
_MOST_BUCKETS: Final = 40
_TRACES_A_BUCKET: Final = 60
"""With fewer, an error rate is mostly noise."""
_WIDTHS_S: Final = (
    *(60, 300, 900, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 86_400),
    *(7 * 86_400, 28 * 86_400, 364 * 86_400),
)
"""Of a time interval: the first that makes no more of them than wanted."""

Measured = tuple[Group, Sample]


def measure(
    selection: Selection,
    values: Sequence[str],
    *,
    limits: tuple[int, int],
    report: Report,
    keep: bool = False,
) -> tuple[list[Measured], str | None]:
    """Measure the group of each value, and tell why the source did not compute it, if so.

    Each comes with the sample that was read of it.

    The limits are how many traces of a group are read at most, with aggregation and without.
    A group without traces has 0, and nothing else. `keep` is for the traces themselves in each
    sample, where the source computes the rest.
    """

    def read(value: str, traces: Iterable[Trace], total: int | None, limit: int) -> Measured:
        sample = Sample(METRICS)
        more = False
        for trace in traces:
            if more := len(sample) == limit:
                break
            sample.add(trace)
            if keep and total is not None:
                sample.traces.append(trace)
            report(value, len(sample), limit if total is None else min(total, limit))
        all_read = not more and (total is None or len(sample) >= total)
        return _group(value, sample, all_read=all_read), sample

    def computed(value: str) -> Measured:
        states = _states(selection.aggregate(value, "trace_count", ["COUNT"], **_BY_STATUS))[0]
        total = sum(states.values())
        traces = sample_traces(selection, value, total, limits[0]) if total else ()
        group, sample = read(value, traces, total, limits[0])
        return (_computed(selection, group, states) if total else group), sample

    try:
        return at_once.ask(computed, values), None
    except NoAggregation as error:
        # One more than the limit shows that there are more.
        found = [
            read(it, selection.traces(selection.is_in(it), limit=limits[1] + 1), None, limits[1])
            for it in values
        ]
        return found, str(error)


def _group(value: str, sample: Sample, *, all_read: bool) -> Group:
    return Group(
        value=value,
        traces=len(sample),
        all_counted=all_read,
        sampled=len(sample),
        observed=sample.observed(),
        sessions=len(sample.sessions) or None,
        all_sessions=all_read,
        users=len(sample.users) or None,
        all_users=all_read,
    )


def _computed(selection: Selection, group: Group, states: Counter[str]) -> Group:
    """A group with what the source computes of all its traces."""
    finished = sum(states[it] for it in FINISHED)
    observed = {**group.observed, ERRORS.name: Share(states[ERROR], finished)}
    for metric in METRICS:
        if metric.aggregate is not None:
            for point in selection.aggregate(group.value, *metric.aggregate):
                observed[metric.name] = observed[metric.name].with_computed(point.values)
    group = replace(group, traces=sum(states.values()), all_counted=True, observed=observed)
    try:  # a number that came later than the others
        points = selection.aggregate(group.value, "session_count", ["COUNT"])
    except NoAggregation:
        return group
    sessions = sum(int(it.values.get("COUNT", 0)) for it in points)
    return replace(group, sessions=sessions or None, all_sessions=True)


def with_percentile_intervals(selection: Selection, group: Group) -> Group:
    """A group with the intervals of its percentiles, where those are of more than a sample.

    The ends of the interval of a percentile are percentiles too (order statistics), which the
    source computes.
    """
    latency = group.observed[LATENCY.name]
    if group.sampled >= group.traces or not isinstance(latency, Distribution):
        return group
    if latency.percentiles is None or not group.all_counted:
        return group
    ends = {it: statistics.quantile_ends(group.traces, it / _PERCENT) for it in PERCENTILES}
    names = {
        it: tuple(f"P{round(end * _PERCENT, 3):g}" for end in pair)
        for it, pair in ends.items()
        if pair is not None
    }
    wanted = [name for pair in names.values() for name in pair]
    points = selection.aggregate(group.value, "latency", wanted)
    computed = {name: value for it in points for name, value in it.values.items()}
    intervals = {}
    for it in PERCENTILES:
        low, high = (computed.get(name) for name in names.get(it, ("", "")))
        value = getattr(latency.percentiles, f"p{it}")
        intervals[f"p{it}"] = Estimate(value, low, high)
    observed = {**group.observed, LATENCY.name: replace(latency, intervals=intervals)}
    return replace(group, observed=observed)


# --- Over time ---------------------------------------------------------------------------------


def with_time_intervals(
    selection: Selection, measured: Sequence[Measured], *, computed: bool
) -> list[Measured]:
    """Groups with their traces over time: all of them, where the source has computed the rest."""
    if computed and any(len(sample) < group.traces for group, sample in measured):
        with contextlib.suppress(NoAggregation):  # no time intervals, in this database
            return [(_computed_over_time(selection, it, measured), of) for it, of in measured]
    return [(_over_time(it, measured), it[1]) for it in measured]


def _over_time(measured: Measured, among: Sequence[Measured]) -> Group:
    """A group with the traces of its sample over time."""
    group, sample = measured
    width, _, _ = _intervals(among)
    states: defaultdict[int, Counter[str]] = defaultdict(Counter)
    latencies: defaultdict[int, list[float]] = defaultdict(list)
    for time_ms, state, latency in sample.rows:
        start_ms = time_ms // width * width
        states[start_ms][state] += 1
        latencies[start_ms] += [latency] if latency is not None else []
    medians = {time: float(np.median(them)) for time, them in latencies.items() if them}
    return _with_buckets(group, states, medians)


def _computed_over_time(selection: Selection, group: Group, among: Sequence[Measured]) -> Group:
    """The same of all traces, computed by the source."""
    width, start_ms, end_ms = _intervals(among)
    times = {"interval_s": width // _MS_PER_S, "start_ms": start_ms, "end_ms": end_ms}
    counts = selection.aggregate(group.value, "trace_count", ["COUNT"], **_BY_STATUS, **times)
    medians = selection.aggregate(group.value, "latency", ["P50"], **times)
    return _with_buckets(group, _states(counts), {_time_of(it): it.values["P50"] for it in medians})


def _with_buckets(
    group: Group, states: dict[int, Counter[str]], medians: dict[int, float]
) -> Group:
    buckets = (
        Bucket(time, sum(counts[it] for it in FINISHED), counts[ERROR], medians.get(time))
        for time, counts in sorted(states.items())
    )
    return replace(group, over_time=tuple(buckets))


def _states(points: Sequence[Point]) -> defaultdict[int, Counter[str]]:
    """How many traces of each state, by the start of the time interval; 0 where there are none."""
    states: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for point in points:
        states[_time_of(point)][point.dimensions[_STATUS]] += int(point.values["COUNT"])
    return states


def _intervals(measured: Sequence[Measured]) -> tuple[int, int, int]:
    """The length of a time interval, and the start and end of them all, in milliseconds."""
    times = [time_ms for _, sample in measured for time_ms, _, _ in sample.rows] or [0]
    first, last = min(times), max(times)
    wanted = max(group.traces for group, _ in measured) // _TRACES_A_BUCKET
    wanted = min(max(wanted, _FEWEST_BUCKETS), _MOST_BUCKETS)
    widths = (width_s * _MS_PER_S for width_s in _WIDTHS_S)
    longest = _WIDTHS_S[-1] * _MS_PER_S
    width = next((it for it in widths if last // it - first // it < wanted), longest)
    # A sample may miss the first and the last ones.
    return width, (first // width - 1) * width, (last // width + 2) * width - 1


def _time_of(point: Point) -> int:
    start = point.dimensions.get("time_bucket")
    return int(datetime.fromisoformat(start).timestamp() * _MS_PER_S) if start else 0
