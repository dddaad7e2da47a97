"""The numbers of one group: computed by the source where it can, of a sample where not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from otel_mlflow_context.compare import _over_time as over_time
from otel_mlflow_context.compare._over_time import Measured
from otel_mlflow_context.compare._result import Group, Latency
from otel_mlflow_context.compare._sample import Sample, Selection, pages, some
from otel_mlflow_context.compare._statistics import wilson
from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import (
    ERROR,
    FINISHED,
    Aggregate,
    NoAggregation,
    Point,
    Source,
)

Report = Callable[[str, int, int], None]
"""Is told what is being read, how much of it, and of how much."""

_PERCENTILES: Final = (50, 90, 99)


def measure(
    source: Source,
    selection: Selection,
    values: Sequence[str],
    *,
    limits: tuple[int, int],
    report: Report,
) -> tuple[list[Group], str | None]:
    """The numbers of each group that there is, and why the source did not compute them, if so.

    Args:
        source: where the traces are.
        selection: which of them.
        values: one for each group. A group without traces has 0, and nothing else.
        limits: how many traces of a group are read at most, with aggregation and without.
        report: is told what is read.
    """
    try:
        groups = [_aggregated(source, selection, it, limits[0], report) for it in values]
    except NoAggregation as error:
        groups = [_read(source, selection, it, limits[1], report) for it in values]
        return over_time.of_samples(groups), str(error)
    try:
        return over_time.aggregated(source, selection, groups), None
    except NoAggregation:  # no stretches of time, in this database
        return over_time.of_samples(groups), None


# --- Computed by the source --------------------------------------------------------------------


def _aggregated(
    source: Source, selection: Selection, value: str, limit: int, report: Report
) -> Measured:
    terms = selection.aggregate(value)
    if terms is None:
        raise NoAggregation("it takes equalities of the status, metadata and tags only")

    def ask(metric: str, *aggregations: str, by_status: bool = False) -> list[Point]:
        question = Aggregate(
            metric, aggregations, terms, by_status=by_status, start_ms=selection.start_ms
        )
        return source.aggregate(selection.experiment, question)

    def one(metric: str, aggregation: str) -> float | None:
        return next((it.values.get(aggregation) for it in ask(metric, aggregation)), None)

    states = {
        point.dimensions["trace_status"]: int(point.values["COUNT"])
        for point in ask("trace_count", "COUNT", by_status=True)
    }
    total = sum(states.values())
    sample = Sample()
    if total:
        for trace in some(source, selection, value, total, limit):
            sample.add(trace)
            report(value, len(sample), min(total, limit))
    group = _of_sample(value, sample, all_read=len(sample) >= total)
    if not total:
        return Measured(group, sample)
    errors, finished = states.get(ERROR, 0), sum(states.get(it, 0) for it in FINISHED)
    times = next((point.values for point in ask("latency", *map("P{}".format, _PERCENTILES))), {})
    group = replace(
        group,
        traces=total,
        all_counted=True,
        finished=finished,
        errors=errors,
        error_rate=wilson(errors, finished) if finished else None,
        latency=_latency([times[f"P{it}"] for it in _PERCENTILES] if times else None),
        tokens=one("total_tokens", "AVG"),
    )
    try:  # a number that came later than the others
        sessions = one("session_count", "COUNT")
        group = replace(group, sessions=int(sessions or 0) or None, all_sessions=True)
    except NoAggregation:
        pass
    return Measured(group, sample)


# --- Of the traces that were read --------------------------------------------------------------


def _read(source: Source, selection: Selection, value: str, limit: int, report: Report) -> Measured:
    where = selection.search(filters.metadata_is(selection.key, value))
    sample = Sample()
    for trace in pages(source, selection, where, limit + 1):  # one more says that there are more
        if len(sample) == limit:
            return Measured(_of_sample(value, sample, all_read=False), sample)
        sample.add(trace)
        report(value, len(sample), limit)
    return Measured(_of_sample(value, sample, all_read=True), sample)


def _of_sample(value: str, sample: Sample, *, all_read: bool) -> Group:
    errors, finished = sample.states[ERROR], sum(sample.states[it] for it in FINISHED)
    latencies = np.sort(np.asarray(sample.latencies, dtype=np.float64))
    return Group(
        value=value,
        traces=len(sample),
        all_counted=all_read,
        finished=finished,
        errors=errors,
        error_rate=wilson(errors, finished) if finished else None,
        latency=_latency(np.percentile(latencies, _PERCENTILES) if len(latencies) else None),
        tokens=_mean(sample.tokens),
        cost=_mean(sample.costs),
        sessions=len(sample.sessions) or None,
        all_sessions=all_read,
        users=len(sample.users) or None,
        all_users=all_read,
        sampled=len(sample),
        latencies=latencies,
    )


def _latency(percentiles: Iterable[float] | None) -> Latency | None:
    return None if percentiles is None else Latency(*map(float, percentiles))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
