"""A comparison as data: JSON, CSV and a pandas frame."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime, timezone
from typing import Any, Final

import pandas as pd

from otel_mlflow_context.compare.explain import labels
from otel_mlflow_context.compare.metrics import (
    Distribution,
    Latency,
    Metric,
    Observation,
    Share,
)
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.report.spreadsheet import csv_of
from otel_mlflow_context.compare.result import Change, Group, Groups, Result
from otel_mlflow_context.compare.statistics import Estimate

_MS_PER_S: Final = 1_000
QUESTION: Final = ("by", "where", "experiment", "source", "aggregated", "level")
COUNTS: Final = ("traces", "all_counted", "finished", "errors")
VISITORS: Final = ("sessions", "all_sessions", "users", "all_users", "sampled")
_TEST: Final = ("p_value", "corrected_p_value", "larger", "traces_needed")
ESTIMATE: Final = tuple(it.name for it in fields(Estimate))
_KINDS: Final[dict[type, str]] = {Share: "share", Distribution: "mean", Choices: "shares"}
_PERCENTILES: Final = tuple(it.name for it in fields(Latency))


def as_dict(comparison: Result) -> dict[str, Any]:
    """A comparison as JSON has it: what is not known is null."""
    explanations = [asdict(it) for it in comparison.explanations]
    return {
        "verdict": comparison.verdict.value,
        "baseline": comparison.baseline.value,
        **attributes(comparison, QUESTION),
        "since": time_of(comparison.start_ms),
        "tolerance": {it.name: it.tolerance.text for it in comparison.metrics if it.tolerance},
        "groups": [
            {
                **attributes(group, ("value", *COUNTS)),
                **{f"{it.key}{it.suffix}": _summary(it, group) for it in own_metrics(comparison)},
                **attributes(group, VISITORS),
                "assessments": {
                    it.assessment: assessment_of(it, group) for it in assessment_metrics(comparison)
                },
                "over_time": [
                    {
                        "start": time_of(it.start_ms),
                        **attributes(it, ("finished", "errors")),
                        "latency_p50_ms": it.latency_p50,
                    }
                    for it in group.over_time
                ],
            }
            for group in comparison.groups
        ],
        "differences": [
            {
                "value": difference.value,
                "verdict": difference.verdict.value,
                **{
                    f"{it.key}{it.suffix}": _change(difference.changes.get(it.name))
                    for it in own_metrics(comparison)
                    if it.tested
                },
                "assessments": {
                    it.assessment: _change(difference.changes.get(it.name))
                    for it in assessment_metrics(comparison)
                    if it.tested
                },
            }
            for difference in comparison.differences
        ],
        **({"explanations": explanations} if explanations else {}),
        "notes": list(comparison.notes),
    }


def as_frame(comparison: Result) -> pd.DataFrame:
    """A row for each group, with how it differs from the baseline; the values are the index."""
    differences = {it.value: it for it in comparison.differences}
    rows = []
    for group in comparison.groups:
        difference = differences.get(group.value)
        row = {"value": group.value, "verdict": difference and difference.verdict.value}
        row |= attributes(group, COUNTS)
        for metric in own_metrics(comparison):
            row |= _columns(metric, _summary(metric, group))
        row |= attributes(group, VISITORS)
        for metric in assessment_metrics(comparison):
            row |= assessment_columns(comparison, metric, group)
        for metric in (it for it in comparison.metrics if it.tested):
            change = _change(difference.changes.get(metric.name) if difference else None) or {}
            name = f"{stem(metric)}_change{metric.suffix}"
            row |= estimate_columns(name, change.get("difference"))
            row[f"{name}_p"] = change.get("corrected_p_value")
            row |= {f"{name}_{it}": change.get(it) for it in ("verdict", "traces_needed")}
        rows.append(row)
    return pd.DataFrame(rows).set_index("value")


def as_csv(comparison: Result) -> str:
    """The same table as text, or the table of the explanations. What is not known is empty."""
    if comparison.explanations:
        return csv_of(pd.DataFrame(labels.rows(comparison.explanations)))
    return csv_of(as_frame(comparison).reset_index())


def time_of(milliseconds: int | None) -> str | None:
    """A time as ISO 8601, in UTC."""
    if milliseconds is None:
        return None
    time = datetime.fromtimestamp(milliseconds / _MS_PER_S, tz=timezone.utc)
    return time.isoformat().replace("+00:00", "Z")


def _summary(metric: Metric, group: Group) -> Any:
    """An estimate, percentiles, or a mean."""
    found = group.observed[metric.name]
    if isinstance(found, Share):
        return found.estimate and attributes(found.estimate, ESTIMATE)
    assert isinstance(found, Distribution)  # noqa: S101  # the other kind
    if metric.has_percentiles:
        return found.percentiles and attributes(found.percentiles, _PERCENTILES)
    return found.mean


def _columns(metric: Metric, summary: Any) -> dict[str, Any]:
    """The same in columns, which are there also where nothing is known."""
    if metric.kind is Share:
        return estimate_columns(f"{metric.key}{metric.suffix}", summary)
    if metric.has_percentiles:
        known = summary or {}
        return {f"{metric.key}_{it}{metric.suffix}": known.get(it) for it in _PERCENTILES}
    return {f"{metric.key}{metric.suffix}": summary}


def own_metrics(comparison: Groups) -> list[Metric]:
    """The rows of the metric table."""
    return [it for it in comparison.metrics if not it.assessment]


def assessment_metrics(comparison: Groups) -> list[Metric]:
    """The rows of assessments."""
    return [it for it in comparison.metrics if it.assessment]


def stem(metric: Metric) -> str:
    """Of the columns of a metric: an assessment may have the name of another column."""
    return f"assessment_{metric.key}" if metric.assessment else metric.key


def assessment_of(metric: Metric, group: Group) -> dict[str, Any]:
    """How many traces were judged, and how."""
    found = group.observed[metric.name]
    judged = group.judged[metric.assessment]
    return {
        "judged": judged.traces,
        "share_judged": _estimate(judged.among),
        "failed": judged.failed,
        "kind": _KINDS[metric.kind],
        **({"text": metric.text} if metric.text else {}),
        **(
            {"shares": {text: _estimate(it) for text, it in found.shares.items()}}
            if isinstance(found, Choices)
            else {"value": _estimate(found)}
        ),
    }


def _estimate(found: Observation) -> dict[str, Any] | None:
    assert isinstance(found, (Share, Distribution))  # noqa: S101  # the kinds with one number
    estimate = found.estimate
    return attributes(estimate, ESTIMATE) if estimate is not None else None


def assessment_columns(comparison: Groups, metric: Metric, group: Group) -> dict[str, Any]:
    """The same in columns."""
    found = group.observed[metric.name]
    judged = group.judged[metric.assessment]
    columns: dict[str, Any] = {
        f"{stem(metric)}_judged": judged.traces,
        f"{stem(metric)}_failed": judged.failed,
    }
    if isinstance(found, Choices):
        for text in _texts_of(comparison, metric):
            columns |= estimate_columns(f"{stem(metric)}_{text}", _estimate(found.share(text)))
        return columns
    return columns | estimate_columns(stem(metric), _estimate(found))


def _texts_of(comparison: Groups, metric: Metric) -> list[str]:
    """The texts of an assessment in all groups, those of the baseline first."""
    observed = (group.observed[metric.name] for group in comparison.groups)
    return list(
        dict.fromkeys(it for found in observed if isinstance(found, Choices) for it in found.counts)
    )


def estimate_columns(name: str, estimate: dict[str, Any] | None) -> dict[str, Any]:
    """An estimate in columns, which are there also where nothing is known."""
    columns = dict(zip(ESTIMATE, (name, f"{name}_low", f"{name}_high"), strict=True))
    return {column: (estimate or {}).get(it) for it, column in columns.items()}


def _change(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "verdict": change.verdict.value,
        "difference": attributes(change.difference, ESTIMATE),
        **attributes(change, _TEST),
    }


def attributes(of: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Some attributes by their names."""
    return {name: getattr(of, name) for name in names}
