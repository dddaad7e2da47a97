"""Explaining groups of traces: a sample with spans is read, the calls of all are computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from otel_mlflow_context.compare.explain.explaining import explain
from otel_mlflow_context.compare.explain.features import Features, features
from otel_mlflow_context.compare.explain.result import Calls, Explanation
from otel_mlflow_context.compare.sample import Report, sample_traces
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources import at_once
from otel_mlflow_context.compare.sources.base import SPANS_PAGE, NoAggregation, Trace

_SPANS: Final = {"dimensions": ["span_name"], "view": "SPANS"}


def read(
    selection: Selection, value: str, traces: Iterable[Trace], wanted: int, report: Report
) -> list[Features]:
    """The traces of a group, with their spans; `wanted` is how many there will be at most."""
    found: list[Features] = []
    rest = iter(traces)
    while page := list(islice(rest, SPANS_PAGE)):
        spans = selection.source.spans(selection.experiment, [it.trace_id for it in page])
        found += [features(trace, spans.get(trace.trace_id, ())) for trace in page]
        report(f"{value} with their spans", len(found), wanted)
    return found


def calls(selection: Selection, value: str, total: int) -> Mapping[str, Calls]:
    """The calls of each span in all traces of a group, by its name, computed by the source.

    Raises:
        NoAggregation: it cannot; MLflow before 3.10.
    """
    counts = selection.aggregate(value, "span_count", ["COUNT"], **_SPANS)
    means = selection.aggregate(value, "latency", ["AVG"], **_SPANS)
    durations = {it.dimensions.get("span_name"): it.values["AVG"] for it in means}
    return {
        name: Calls(it.values["COUNT"] / total, durations.get(name), of_all_traces=True)
        for it in counts
        if (name := it.dimensions.get("span_name")) is not None
    }


def explain_groups(
    selection: Selection,
    groups: Mapping[str, tuple[int, Sequence[Trace]]],
    *,
    limit: int,
    level: float,
    report: Report,
) -> tuple[tuple[Explanation, ...], tuple[str, ...]]:
    """Explain how groups differ from the first one, with notes on the numbers.

    Args:
        selection: the traces.
        groups: how many traces each group has, by its value, and the random sample that was read
            already, or nothing; the baseline first.
        limit: how many traces of a group are read at most.
        level: of all tests together.
        report: progress.
    """

    def sample(value: str) -> list[Features]:
        total, known = groups[value]
        traces = known or islice(sample_traces(selection, value, total, limit), limit)
        return read(selection, value, traces, min(total, limit), report)

    # The source computes while Python reads.
    with ThreadPoolExecutor(1) as thread:
        computing = thread.submit(
            at_once.ask, lambda it: calls(selection, it, groups[it][0]), groups
        )
        sampled = dict(zip(groups, at_once.ask(sample, groups), strict=True))
    notes = [f"Explained by a random sample of traces with their spans: {_counts(sampled)}."]
    try:
        computed = dict(zip(groups, computing.result(), strict=True))
        notes.append("The calls of each span are those of all traces.")
    except NoAggregation as error:
        computed = {}
        notes.append(
            f"The calls of spans are not computed where the traces are ({error}), so they are "
            "those of the sample."
        )
    without = {value: [it for it in them if not it.calls] for value, them in sampled.items()}
    if any(without.values()):
        notes.append(f"Without spans that can be read: {_counts(without)}.")
    base, *candidates = groups
    explanations = explain(
        {it: sampled[it] for it in candidates},
        sampled[base],
        by=selection.key,
        level=level,
        link=lambda it: selection.source.trace_link(selection.experiment, it),
        computed={it: (computed[base], computed[it]) for it in candidates if computed},
    )
    return explanations, tuple(notes)


def _counts(sampled: Mapping[str, Sequence[Features]]) -> str:
    return ", ".join(f"{len(them):,} of {value}" for value, them in sampled.items())
