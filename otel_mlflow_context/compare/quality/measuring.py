"""Adds assessment metrics to groups: from the traces that were read, or a sample of judged ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from otel_mlflow_context.compare.metrics import Metric, Share
from otel_mlflow_context.compare.quality.feedback import GroupFeedback, feedback_of
from otel_mlflow_context.compare.quality.kinds import kind_of, metric_name
from otel_mlflow_context.compare.result import Group, Judged
from otel_mlflow_context.compare.sample import Report, Sample, sample_traces
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources import at_once, filters
from otel_mlflow_context.compare.sources.base import NoAggregation

_NAME: Final = "assessment_name"
_BY_NAME: Final = {"dimensions": [_NAME], "view": "ASSESSMENTS"}


def measure_assessments(
    selection: Selection,
    measured: Sequence[tuple[Group, Sample]],
    better: Mapping[str, str],
    *,
    limit: int,
    report: Report,
) -> tuple[list[Group], tuple[Metric, ...]]:
    """Add the assessments to groups that were measured, and to the metrics.

    Args:
        selection: the traces.
        measured: the groups, with the traces that were read.
        better: which direction or text is better, by the name of the metric.
        limit: how many judged traces of a group are read at most.
        report: progress.
    """
    found = at_once.ask(lambda it: _feedback(selection, *it, limit=limit, report=report), measured)
    groups = [group for group, _ in measured]
    metrics = []
    for name in sorted({name for them in found for name in them}):
        feedback = [them.get(name, GroupFeedback()) for them in found]
        kind = kind_of(name, feedback, better.get(metric_name(name)))
        if kind is not None:
            metrics.append(kind.metric)
        for index, ((_, sample), them) in enumerate(zip(measured, feedback, strict=True)):
            group = groups[index]
            read = sample.judged.get(name, GroupFeedback())
            judged = Judged(
                traces=len(them.values),
                among=Share(len(read.values), len(sample)),
                failed=them.failed,
            )
            observed = dict(group.observed)
            if kind is not None:
                observed[metric_name(name)] = kind.observation(them)
            groups[index] = replace(group, observed=observed, judged={**group.judged, name: judged})
    return groups, tuple(metrics)


def _feedback(
    selection: Selection, group: Group, sample: Sample, *, limit: int, report: Report
) -> dict[str, GroupFeedback]:
    """The feedback by name: where traces were not read, of a sample of the judged ones alone."""
    found = dict(sample.judged)
    if len(sample) >= group.traces and group.all_counted:
        return found
    try:
        points = selection.aggregate(group.value, "assessment_count", ["COUNT"], **_BY_NAME)
    except NoAggregation:
        return found
    for name, count in sorted((it.dimensions[_NAME], int(it.values["COUNT"])) for it in points):
        known = found.get(name, GroupFeedback())
        wanted = min(count, limit)
        if len(known.values) + known.failed >= wanted or not filters.can_be_key(name):
            continue
        # A trace may have several: how many are judged is estimated, where it can be.
        judged_traces = round(len(known.values) / len(sample) * group.traces)
        total = min(count, judged_traces) if judged_traces else count
        more = GroupFeedback()
        read = 0
        term = filters.has_feedback(name)
        for read, trace in enumerate(sample_traces(selection, group.value, total, limit, term), 1):
            if (judged := feedback_of(trace.assessments).get(name)) is not None:
                more.add(judged)
            report(f"{group.value} with {name}", read, wanted)
        if read > len(known.values):
            found[name] = more
    return {name: it for name, it in found.items() if it.values or it.failed or it.unusable}
