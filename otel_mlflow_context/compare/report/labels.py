"""Numbers and verdicts in words, as the table and the report have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_mlflow_context.compare._result import Change, Comparison, Difference, Group, Verdict
from otel_mlflow_context.compare._statistics import Estimate
from otel_mlflow_context.compare.report.data import time_of

UNKNOWN: Final = "not known"
ABSENT: Final = "-"
"""The same in a table."""
_MS_PER_S: Final = 1_000
_TEN_SECONDS: Final = 10_000
_HUNDREDTH: Final = 0.01
_SMALLEST_P: Final = 0.001
_LARGEST_NEED: Final = 10_000_000

HEADINGS: Final = (
    *("", "traces", "errors", "95 % interval", "p50", "p90", "p99"),
    *("tokens", "cost", "sessions", "users", "verdict"),
)
"""Of the table of groups; the first is the key."""


def cells_of(comparison: Comparison) -> list[list[str]]:
    """The table of groups."""
    verdicts = {it.value: it.verdict.value for it in comparison.differences}
    return [[*_cells(group), verdicts.get(group.value, "baseline")] for group in comparison.groups]


def _cells(group: Group) -> list[str]:
    rate, latency = group.error_rate, group.latency
    times = (latency.p50, latency.p90, latency.p99) if latency else (None, None, None)
    return [
        label(group.value),
        _at_least(group.traces, exact=group.all_counted),
        share(rate.value) if rate else ABSENT,
        f"{share(rate.low)} - {share(rate.high)}" if rate else "",
        *(ABSENT if it is None else duration(it) for it in times),
        ABSENT if group.tokens is None else f"{group.tokens:,.0f}",
        ABSENT if group.cost is None else f"${group.cost:.3g}",
        _at_least(group.sessions, exact=group.all_sessions),
        _at_least(group.users, exact=group.all_users),
    ]


def sentences(comparison: Comparison) -> list[tuple[Verdict, str, list[str]]]:
    """For each candidate its verdict, a headline, and a line for each thing that was tested."""
    base = label(comparison.baseline.value)
    found = []
    groups = {group.value: group for group in comparison.groups}
    for it in comparison.differences:
        name = label(it.value)
        headline = (
            f"{name}: no evidence either way, beside {base}"
            if it.verdict is Verdict.NO_EVIDENCE
            else f"{name} is {it.verdict} than {base}"
        )
        lines = [_errors(it, groups[it.value], comparison.baseline), _latency(it)]
        found.append((it.verdict, headline, lines))
    return found


def question(comparison: Comparison) -> str:
    """What was asked, in one line."""
    parts = [f"experiment {comparison.experiment}"]
    if comparison.where:
        parts.append(f"where {comparison.where}")
    if comparison.since_ms is not None:
        parts.append(f"since {time_of(comparison.since_ms)}")
    return ", ".join(parts)


def explanation(comparison: Comparison) -> str:
    """What the verdict promises, in one line."""
    tests = sum((it.errors is not None) + (it.latency is not None) for it in comparison.differences)
    level = f"{comparison.level * 100:g} %"
    return (
        f"A verdict is given at the level of {level} for all {tests} tests together (Fisher for "
        "errors, Mann-Whitney for latency, Holm's correction); intervals are of 95 % each."
    )


def label(value: str) -> str:
    """A value as people read it."""
    return value if value.strip() else '""'


def share(value: float | None) -> str:
    """A share in per cent.

    >>> share(0.0213), share(0.00042), share(0.0), share(1.0)
    ('2.1 %', '0.04 %', '0 %', '100 %')
    """
    if value is None:
        return UNKNOWN
    if value in (0, 1):
        return f"{value * 100:.0f} %"
    return f"{value * 100:.{2 if abs(value) < _HUNDREDTH else 1}f} %"


def duration(milliseconds: float | None, *, sign: str = "") -> str:
    """A time in milliseconds or seconds.

    >>> duration(402.4), duration(1300), duration(61_000), duration(0.25)
    ('402 ms', '1.30 s', '61.0 s', '0.25 ms')
    """
    if milliseconds is None:
        return UNKNOWN
    size = abs(milliseconds)
    if size >= _MS_PER_S:
        return f"{milliseconds / _MS_PER_S:{sign}.{1 if size >= _TEN_SECONDS else 2}f} s"
    # Adding 0 makes 0 of -0.
    return f"{round(milliseconds, 2 if size < 1 else 0) + 0:{sign}.{2 if 0 < size < 1 else 0}f} ms"


def _errors(difference: Difference, group: Group, base: Group) -> str:
    change = difference.errors
    if change is None or group.error_rate is None or base.error_rate is None:
        return "errors: not known, no trace has ended"
    points = _interval(change.difference, lambda it: f"{it * 100:+.1f}", " points")
    said = f"{share(group.error_rate.value)} instead of {share(base.error_rate.value)}, {points}"
    return f"errors: {change.verdict}, {said}, {_p(change)}{_needed(change)}"


def _latency(difference: Difference) -> str:
    change = difference.latency
    if change is None:
        return "latency: not known, no trace says how long it took"
    typical = _interval(change.difference, lambda it: duration(it, sign="+"), "")
    slower = f"slower in {(change.larger or 0) * 100:.0f} % of pairs"
    said = f"typically {typical}, {slower}"
    return f"latency: {change.verdict}, {said}, {_p(change)}{_needed(change)}"


def _interval(estimate: Estimate, text: Callable[[float], str], unit: str) -> str:
    value = f"{text(estimate.value)}{unit}"
    if estimate.low is None or estimate.high is None:
        return f"{value} (too few traces for an interval)"
    return f"{value} ({text(estimate.low)} to {text(estimate.high)})"


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


def _at_least(count: int | None, *, exact: bool) -> str:
    if count is None:
        return ABSENT
    return f"{count:,}" if exact else f">= {count:,}"
