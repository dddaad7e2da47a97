"""A history for people: the table of versions, and a sentence for each change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from otel_mlflow_context.compare.explain.labels import printable
from otel_mlflow_context.compare.history.result import (
    Bisection,
    ChangePoint,
    Commit,
    LevelShift,
    Timeline,
)
from otel_mlflow_context.compare.metrics import COST, LATENCY, Distribution
from otel_mlflow_context.compare.report import labels
from otel_mlflow_context.compare.report.labels import (
    ABSENT,
    label,
    question,
    size_of,
)
from otel_mlflow_context.compare.report.text import STYLES, write_table
from otel_mlflow_context.compare.result import Group, Verdict
from otel_mlflow_context.compare.statistics import Estimate
from otel_mlflow_context.compare.units import DOLLARS, DURATION, SHARE, Unit, p_value
from otel_mlflow_context.semconv import MLFLOW_GIT_COMMIT

_MS_PER_S: Final = 1_000
_DAYS_MS: Final = 3 * 86_400_000
"""In a shorter history the time of the day counts."""
_SHORT: Final = 10
"""Digits of a commit in a table."""
_SHOWN_COMMITS: Final = 20
INTERVAL: Final = "95 %"
"""The heading of the interval of the column before it."""
_HEADLINES: Final = {
    Verdict.WORSE: "worse from {} on",
    Verdict.BETTER: "better from {} on",
    Verdict.DIFFERENT: "different from {} on",
}


def write(history: Timeline, console: Console) -> None:
    """Write the table and the sentences to a console, in the colors that it has."""
    headings, rows = table_of(history)
    if _width(headings, rows) > console.width:
        kept = [at for at, it in enumerate(headings) if it != INTERVAL]
        headings, rows = _columns(headings, kept), [_columns(row, kept) for row in rows]
    write_table(console, headings, rows, left=(0, 1, len(headings) - 1))
    headings, rows = assessments_of(history)
    if rows:
        console.print()
        write_table(console, headings, rows, left=(0, 1))
    console.print()
    if not history.changes:
        console.print("no change", style="bold", highlight=False)
    for change in history.changes:
        console.print(Text(headline(change, history)), style=STYLES[change.verdict])
        for line in sentences(change, history):
            console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))
        link = change.bisection and change.bisection.link
        if link:  # whole, however narrow the terminal is
            console.print(Text(f"  {printable(link)}"), soft_wrap=True)
    console.print()
    for line in limits(history):
        console.print(Text(printable(line)), style="dim")


def table_of(history: Timeline) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the table of versions; the key comes first, the change last."""
    changes = {it.value: it.verdict.value for it in history.changes}
    headings = [history.by, "first seen", "traces", "errors", INTERVAL]
    headings += ["p50", INTERVAL, "p90", INTERVAL, "cost", INTERVAL, "change"]
    headings[0] = _key(history)
    rows = []
    times = [it.first_seen_ms for it in history.versions]
    form = "%m-%d %H:%M" if max(times) - min(times) < _DAYS_MS else "%Y-%m-%d"
    for version, group in history.pairs():
        first_seen = datetime.fromtimestamp(version.first_seen_ms / _MS_PER_S, tz=timezone.utc)
        count = f"{group.traces:,}" if group.all_counted else f">= {group.traces:,}"
        row = [short(version.value, history), f"{first_seen:{form}}", count]
        for unit, estimate in _estimates(group):
            row += [ABSENT if estimate is None else unit.text(estimate.value)]
            row += [interval(unit, estimate)]
        rows.append([*row, changes.get(version.value, "")])
    return headings, rows


def assessments_of(history: Timeline) -> tuple[list[str], list[list[str]]]:
    """The headings and the rows of the table of assessments."""
    (name, _, *headings), rows = labels.assessments_of(history)
    texts = [
        [printable(assessment), short(value, history), *map(printable, cells)]
        for assessment, value, *cells in rows
    ]
    return [name, _key(history), *headings], texts


def _key(history: Timeline) -> str:
    return "commit" if history.by == MLFLOW_GIT_COMMIT else history.by


def short(value: str, history: Timeline) -> str:
    """A version in a table: of a commit the first digits."""
    value = printable(label(value))
    return value[:_SHORT] if history.by == MLFLOW_GIT_COMMIT else value


def interval(unit: Unit, estimate: Estimate | None) -> str:
    """The interval of an estimate, with the unit once.

    >>> interval(SHARE, Estimate(0.02, 0.012, 0.029)), interval(DOLLARS, Estimate(1, 0.5, 1.5))
    ('1.2 - 2.9 %', '$0.5 - 1.5')
    """
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    low, high = map(unit.text, (estimate.low, estimate.high))
    if low.startswith("$"):
        return f"{low} - {high.removeprefix('$')}"
    suffix = high.partition(" ")[1:]
    return f"{low.removesuffix(''.join(suffix))} - {high}"


def headline(change: ChangePoint, history: Timeline) -> str:
    """What a change is, in one line."""
    return _HEADLINES[change.verdict].format(short(change.value, history))


def sentences(change: ChangePoint, history: Timeline) -> list[str]:
    """A line for each metric that changed, and for the commits between which it did."""
    rows = {it.name: it for it in history.metrics}
    lines = []
    for name, it in change.shifts.items():
        size = size_of(rows[name], it, it.after, it.before)
        p = p_value(it.corrected_p_value)
        lines.append(f"{printable(f'{name}: {it.verdict}, {size}, {p}')}{_place(it, history)}")
    if change.bisection is not None:
        lines += _bisection(change.bisection, change.verdict)
    return lines


def limits(history: Timeline) -> list[str]:
    """What was asked, and what the answer promises."""
    lines = [f"{question(history)}, in the order of: {history.order}"]
    metrics = sum(it.tested for it in history.metrics)
    if len(history.versions) < 2:  # noqa: PLR2004  # a version and another one
        lines.append("Not enough to tell: there is one version only.")
    else:
        lines.append(
            f"Of equal versions, any change is marked in at most {history.level * 100:g} % of "
            f"histories, of all {metrics} metrics together (permutation test of the largest "
            "difference at any place, Holm's correction); intervals are of 95 % each."
        )
        if history.untestable:
            names = ", ".join(history.untestable)
            lines.append(
                f"Too few traces, or too few that differ, for any change to be found: {names}."
            )
    return [*lines, *history.notes]


def _place(shift: LevelShift, history: Timeline) -> str:
    if shift.earliest == shift.latest:
        return ""
    first, last = (short(it, history) for it in (shift.earliest, shift.latest))
    return f"; perhaps with another version, from {first} to {last}"


def _bisection(found: Bisection, verdict: Verdict) -> list[str]:
    names = ("last commit before", "first commit since")
    if verdict is Verdict.WORSE:
        names = ("last good commit", "first bad commit")
    lines = [
        f"{name}: {_commit(it) if it else 'not known'}"
        for name, it in zip(names, (found.before, found.after), strict=True)
    ]
    if found.between:
        lines.append(f"{len(found.between):,} commits between never ran:")
        lines += [f"  {_commit(it)}" for it in found.between[:_SHOWN_COMMITS]]
        if len(found.between) > _SHOWN_COMMITS:
            lines.append(f"  and {len(found.between) - _SHOWN_COMMITS:,} more")
    elif found.between is not None and not found.notes:
        lines.append("no commit is between them")
    return [*lines, *map(printable, found.notes)]


def _commit(commit: Commit) -> str:
    return printable(f"{commit.id[:_SHORT]} {commit.subject or ''}".rstrip())


def _estimates(group: Group) -> list[tuple[Unit, Estimate | None]]:
    latency, cost = group.observed[LATENCY.name], group.observed[COST.name]
    assert isinstance(latency, Distribution)  # noqa: S101  # its kind
    assert isinstance(cost, Distribution)  # noqa: S101  # its kind
    percentiles = latency.percentile_estimates or {}
    return [
        (SHARE, group.error_rate),
        (DURATION, percentiles.get("p50")),
        (DURATION, percentiles.get("p90")),
        (DOLLARS, cost.mean_estimate),
    ]


def _columns(row: Sequence[str], kept: Sequence[int]) -> list[str]:
    return [row[at] for at in kept]


def _width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    columns = zip(headings, *rows, strict=True)
    return sum(max(map(len, it)) + 2 for it in columns) - 2
