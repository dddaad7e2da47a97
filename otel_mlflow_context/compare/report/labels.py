"""The texts that the table and the page share: cells, headlines, sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from otel_mlflow_context.compare.metrics import Distribution, Metric, Observation, Share
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.report.data import time_of
from otel_mlflow_context.compare.result import Change, Difference, Group, Groups, Result, Verdict
from otel_mlflow_context.compare.statistics import Estimate
from otel_mlflow_context.compare.units import COUNT, DOLLARS, duration, p_value, share

ABSENT: Final = "-"
_HEADLINES: Final = {
    Verdict.WORSE: "{} is worse than {}",
    Verdict.BETTER: "{} is better than {}",
    Verdict.DIFFERENT: "{} is different from {}",
    Verdict.NO_EVIDENCE: "{}: no evidence either way, beside {}",
}
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
    ("errors", lambda it: share(it.error_rate.value) if it.error_rate else ABSENT),
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
        headline = _HEADLINES[it.verdict].format(name, label(base.value))
        tested = (metric for metric in comparison.metrics if metric.tested)
        lines = [_sentence(metric, it, groups[it.value], base) for metric in tested]
        found.append((it.verdict, headline, lines))
    return found


def question(comparison: Groups) -> str:
    """What was asked, in one line."""
    parts = [f"experiment {comparison.experiment}"]
    if comparison.where:
        parts.append(f"where {comparison.where}")
    if comparison.start_ms is not None:
        parts.append(f"since {time_of(comparison.start_ms)}")
    return ", ".join(parts)


def limits(comparison: Result) -> list[str]:
    """What was asked, what the verdict promises, and of which traces the numbers are."""
    return [question(comparison), _promise(comparison), *comparison.notes]


def _promise(comparison: Result) -> str:
    tolerances = [f"{it.name} {it.tolerance.text}" for it in comparison.metrics if it.tolerance]
    beyond = f" Worse is only what is beyond the tolerance: {', '.join(tolerances)}."
    tests = sum(len(it.changes) for it in comparison.differences)
    level = f"{comparison.level * 100:g} %"
    return (
        f"A verdict is given at the level of {level} for all {tests} tests together (Fisher for "
        "shares, Mann-Whitney for numbers, chi-square for texts, Holm's correction); "
        f"intervals are of 95 % each.{beyond if tolerances else ''}"
    )


def label(value: str) -> str:
    """A value of the key for people."""
    return value if value.strip() else '""'


def _sentence(metric: Metric, difference: Difference, group: Group, base: Group) -> str:
    change = difference.changes.get(metric.name)
    if change is None:
        return f"{metric.name}: not known, {metric.missing}"
    size = size_of(metric, change, group.observed[metric.name], base.observed[metric.name])
    p = p_value(change.corrected_p_value)
    return f"{metric.name}: {change.verdict}, {size}, {p}{_needed(metric, change)}"


class Sized(Protocol):
    """A difference, and how often a number is the larger of two."""

    @property
    def difference(self) -> Estimate: ...

    @property
    def larger(self) -> float | None: ...


def size_of(metric: Metric, change: Sized, found: Observation, before: Observation) -> str:
    """How much a metric differs."""
    interval = metric.unit.interval(change.difference)
    if isinstance(found, Share) and isinstance(before, Share):
        rates = (share(it.count / it.total) for it in (found, before))
        return f"{_of_text(metric)}{' instead of '.join(rates)}, {interval}"
    if isinstance(found, Choices) and isinstance(before, Choices):
        return f"{choices(found)} instead of {choices(before)}, at most {interval}"
    often = f"{(change.larger or 0) * 100:.0f} %"
    size = f"typically {interval}, {metric.larger} in {often} of pairs"
    if metric.assessment and isinstance(found, Distribution) and isinstance(before, Distribution):
        means = (_known(metric.unit.text, it.mean) for it in (found, before))
        return f"{' instead of '.join(means)} on average, {size}"
    return size


def _of_text(metric: Metric) -> str:
    return f"{label(metric.text)} " if metric.text else ""


def choices(found: Choices) -> str:
    """The share of each text, the most frequent first."""
    return ", ".join(f"{label(it)} {share(of.count / of.total)}" for it, of in found.shares.items())


def assessments_of(comparison: Groups) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the table of assessments; no rows where there are none."""
    rows = []
    for metric in comparison.metrics:
        for group in comparison.groups if metric.assessment else ():
            found, judged = group.observed[metric.name], group.judged[metric.assessment]
            value, interval = ABSENT, ""
            if isinstance(found, Choices) and found.counts:
                value = choices(found)
            elif isinstance(found, (Share, Distribution)) and (known := found.estimate):
                value = f"{_of_text(metric)}{metric.unit.text(known.value)}"
                if known.low is not None and known.high is not None:
                    interval = " - ".join(map(metric.unit.text, (known.low, known.high)))
            among = share(judged.among.count / judged.among.total) if judged.among.total else ABSENT
            rows.append(
                [metric.name, label(group.value), f"{judged.traces:,}", among, value, interval]
            )
    return ["assessment", comparison.by, "judged", "of traces", "value", "95 % interval"], rows


def _needed(metric: Metric, change: Change) -> str:
    if change.verdict is not Verdict.NO_EVIDENCE:
        return ""
    if change.traces_needed is None and metric.tolerance is not None:
        return f"; not beyond the tolerance of {metric.tolerance.text}"
    if change.traces_needed is None or change.traces_needed > _LARGEST_NEED:
        return "; no difference is to be seen"
    return (
        f"; if the difference is real, about {change.traces_needed:,} "
        f"{'judged ' if metric.assessment else ''}traces of each would show it"
    )


def _known(text: Callable[[float], str], value: float | None) -> str:
    return ABSENT if value is None else text(value)


def _at_least(count: int | None, *, exact: bool) -> str:
    return _known(COUNT.text if exact else ">= {:,}".format, count)
