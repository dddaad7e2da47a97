"""The texts that the table and the page share: cells, headlines, sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_mlflow_context.compare.metrics import METRICS, Metric, Share
from otel_mlflow_context.compare.report.data import time_of
from otel_mlflow_context.compare.result import Change, Difference, Group, Result, Verdict
from otel_mlflow_context.compare.units import COUNT, DOLLARS, duration, share

_ABSENT: Final = "-"
_SMALLEST_P: Final = 0.001
_LARGEST_NEED: Final = 10_000_000


def _percentile(name: str) -> Callable[[Group], str]:
    return lambda it: _known(duration, getattr(it.latency, name, None))


def _interval(group: Group) -> str:
    rate = group.error_rate
    if rate is None or rate.low is None or rate.high is None:
        return ""
    return f"{share(rate.low)} - {share(rate.high)}"


_COLUMNS: Final[tuple[tuple[str, Callable[[Group], str]], ...]] = (
    ("", lambda it: label(it.value)),
    ("traces", lambda it: _at_least(it.traces, exact=it.all_counted)),
    ("errors", lambda it: share(it.error_rate.value) if it.error_rate else _ABSENT),
    ("95 % interval", _interval),
    *((name, _percentile(name)) for name in ("p50", "p90", "p99")),
    ("tokens", lambda it: _known(COUNT.text, it.tokens)),
    ("cost", lambda it: _known(DOLLARS.text, it.cost)),
    ("sessions", lambda it: _at_least(it.sessions, exact=it.all_sessions)),
    ("users", lambda it: _at_least(it.users, exact=it.all_users)),
)
"""Of the table of groups: the heading, and the cell of a group."""


def table_of(comparison: Result) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the table of groups; the key comes first, the verdict last."""
    verdicts = {it.value: it.verdict.value for it in comparison.differences}
    rows = [
        [*(cell(group) for _, cell in _COLUMNS), verdicts.get(group.value, "baseline")]
        for group in comparison.groups
    ]
    return [*(heading or comparison.by for heading, _ in _COLUMNS), "verdict"], rows


def sentences(comparison: Result) -> list[tuple[Verdict, str, list[str]]]:
    """For each candidate its verdict, a headline, and a line for each metric that is tested."""
    base = comparison.baseline
    groups = {group.value: group for group in comparison.groups}
    found = []
    for it in comparison.differences:
        name = label(it.value)
        headline = (
            f"{name}: no evidence either way, beside {label(base.value)}"
            if it.verdict is Verdict.NO_EVIDENCE
            else f"{name} is {it.verdict} than {label(base.value)}"
        )
        tested = (metric for metric in METRICS if metric.tested)
        lines = [_sentence(metric, it, groups[it.value], base) for metric in tested]
        found.append((it.verdict, headline, lines))
    return found


def question(comparison: Result) -> str:
    """What was asked, in one line."""
    parts = [f"experiment {comparison.experiment}"]
    if comparison.where:
        parts.append(f"where {comparison.where}")
    if comparison.start_ms is not None:
        parts.append(f"since {time_of(comparison.start_ms)}")
    return ", ".join(parts)


def explanation(comparison: Result) -> str:
    """What the verdict promises, in one line."""
    tests = sum(len(it.changes) for it in comparison.differences)
    level = f"{comparison.level * 100:g} %"
    return (
        f"A verdict is given at the level of {level} for all {tests} tests together (Fisher for "
        "errors, Mann-Whitney for latency, Holm's correction); intervals are of 95 % each."
    )


def label(value: str) -> str:
    """A value of the key for people."""
    return value if value.strip() else '""'


def _sentence(metric: Metric, difference: Difference, group: Group, base: Group) -> str:
    change = difference.changes.get(metric.name)
    if change is None:
        return f"{metric.name}: not known, {metric.missing}"
    interval = metric.unit.interval(change.difference)
    found, before = group.observed[metric.name], base.observed[metric.name]
    if isinstance(found, Share) and isinstance(before, Share):
        rates = (share(it.count / it.total) for it in (found, before))
        size = f"{' instead of '.join(rates)}, {interval}"
    else:
        often = f"{(change.larger or 0) * 100:.0f} %"
        size = f"typically {interval}, {metric.larger} in {often} of pairs"
    return f"{metric.name}: {change.verdict}, {size}, {_p(change)}{_needed(change)}"


def _p(change: Change) -> str:
    value = change.corrected_p_value
    return "p < 0.001" if value < _SMALLEST_P else f"p = {value:.3f}"


def _needed(change: Change) -> str:
    if change.verdict is not Verdict.NO_EVIDENCE:
        return ""
    if change.traces_needed is None or change.traces_needed > _LARGEST_NEED:
        return "; no difference is to be seen"
    return (
        f"; if the difference is real, about {change.traces_needed:,} traces of each would show it"
    )


def _known(text: Callable[[float], str], value: float | None) -> str:
    return _ABSENT if value is None else text(value)


def _at_least(count: int | None, *, exact: bool) -> str:
    return _known(COUNT.text if exact else ">= {:,}".format, count)
