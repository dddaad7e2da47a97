"""A history as data: JSON, CSV and a pandas frame."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import pandas as pd

from otel_mlflow_context.compare.history.result import ChangePoint, Timeline, Version
from otel_mlflow_context.compare.metrics import Distribution, Metric, Observation, Share
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.report.data import (
    COUNTS,
    ESTIMATE,
    QUESTION,
    VISITORS,
    assessment_columns,
    assessment_metrics,
    assessment_of,
    attributes,
    estimate_columns,
    own_metrics,
    time_of,
)
from otel_mlflow_context.compare.report.spreadsheet import csv_of
from otel_mlflow_context.compare.result import Group

_COMMITS: Final = ("commit", "last_commit", "repository")
_TEST: Final = ("p_value", "corrected_p_value", "larger", "earliest", "latest")


def as_dict(history: Timeline) -> dict[str, Any]:
    """A history as JSON has it: what is not known is null."""
    return {
        "verdict": history.verdict.value,
        **attributes(history, (*QUESTION, "order")),
        "since": time_of(history.start_ms),
        "versions": [
            {
                **_seen(version),
                **attributes(group, COUNTS),
                **{f"{it.key}{it.suffix}": _summary(it, group) for it in own_metrics(history)},
                **attributes(group, VISITORS),
                "assessments": {
                    it.assessment: assessment_of(it, group) for it in assessment_metrics(history)
                },
            }
            for version, group in history.pairs()
        ],
        "changes": [_change(it, history) for it in history.changes],
        "untestable": list(history.untestable),
        "notes": list(history.notes),
    }


def as_frame(history: Timeline) -> pd.DataFrame:
    """A row for each version, with what changed there; the versions are the index."""
    changes = {it.value: it for it in history.changes}
    rows = []
    for version, group in history.pairs():
        row = {**_seen(version), **attributes(group, COUNTS)}
        for metric in own_metrics(history):
            row |= _columns(metric, group)
        row |= attributes(group, VISITORS)
        for metric in assessment_metrics(history):
            row |= assessment_columns(history, metric, group)
        change = changes.get(version.value)
        row["change"] = change and change.verdict.value
        row["changed"] = change and ", ".join(change.shifts)
        rows.append(row)
    return pd.DataFrame(rows).set_index("value")


def as_csv(history: Timeline) -> str:
    """The same table as text."""
    return csv_of(as_frame(history).reset_index())


def _seen(version: Version) -> dict[str, Any]:
    return {
        "value": version.value,
        "first_seen": time_of(version.first_seen_ms),
        "last_seen": time_of(version.last_seen_ms),
        **attributes(version, _COMMITS),
    }


def _summary(metric: Metric, group: Group) -> Any:
    """An estimate, or one for each percentile."""
    found = group.observed[metric.name]
    if isinstance(found, Share):
        return found.estimate and asdict(found.estimate)
    assert isinstance(found, Distribution)  # noqa: S101  # the other kind
    if metric.has_percentiles:
        percentiles = found.percentile_estimates
        return percentiles and {name: asdict(it) for name, it in percentiles.items()}
    return found.mean_estimate and asdict(found.mean_estimate)


def _columns(metric: Metric, group: Group) -> dict[str, Any]:
    summary = _summary(metric, group)
    if not metric.has_percentiles:
        return estimate_columns(f"{metric.key}{metric.suffix}", summary)
    columns: dict[str, Any] = {}
    for name in ("p50", "p90", "p99"):
        columns |= estimate_columns(
            f"{metric.key}_{name}{metric.suffix}", summary and summary[name]
        )
    return columns


def _change(change: ChangePoint, history: Timeline) -> dict[str, Any]:
    rows = {it.name: it for it in history.metrics}
    return {
        "value": change.value,
        "previous": change.previous,
        "verdict": change.verdict.value,
        "metrics": {
            name: {
                "verdict": it.verdict.value,
                "before": _value(rows[name], it.before),
                "after": _value(rows[name], it.after),
                "difference": attributes(it.difference, ESTIMATE),
                **attributes(it, _TEST),
            }
            for name, it in change.shifts.items()
        },
        **({"bisection": asdict(change.bisection)} if change.bisection else {}),
    }


def _value(metric: Metric, found: Observation) -> Any:
    """The share, the median or the mean of several versions together; of texts the shares."""
    if isinstance(found, Choices):
        return {text: it.count / it.total for text, it in found.shares.items()}
    if isinstance(found, Distribution):
        return found.percentiles and found.percentiles.p50 if metric.has_percentiles else found.mean
    assert isinstance(found, Share)  # noqa: S101  # the third kind
    return found.count / found.total
