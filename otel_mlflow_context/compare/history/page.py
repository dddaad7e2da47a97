"""A history as a self-contained page: the changes, a timeline of each metric, and the table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np

from otel_mlflow_context.compare.explain.labels import printable
from otel_mlflow_context.compare.history import text
from otel_mlflow_context.compare.history.result import ChangePoint, LevelShift, Timeline
from otel_mlflow_context.compare.history.series import Series
from otel_mlflow_context.compare.metrics import Distribution, Metric, Observation, Share
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.report import svg
from otel_mlflow_context.compare.report.html import class_of, figure, footer, page, table
from otel_mlflow_context.compare.report.labels import label, question
from otel_mlflow_context.compare.result import Verdict
from otel_mlflow_context.compare.statistics import Estimate

_CHANGE: Final = "change"
_LEFT: Final = 84
_RIGHT: Final = 16
_TOP: Final = 48
_BOTTOM: Final = 254
_LABELS: Final = (14, 28)
"""Where labels of changes are above the picture, in turns: neighbours would overlap."""
_LONGEST_NAME: Final = 14
_ROOM: Final = 1.25
_LEGEND: Final = (
    "Each point is a version, in the order in which they came. Level lines are of all versions "
    "between two changes. A dashed line is a change; a bar above it spans the versions with which "
    "it may have happened (95 %)."
)
_MOST_ROOM: Final = 2.5
"""How much higher than most versions the picture is at most: a version of few traces has an
interval that would make all others small."""
_MOST_NAMES: Final = 50
_MOST_TEXTS: Final = 4
"""Of an assessment that are drawn: the most frequent."""

Line = tuple[str, str, Sequence[Estimate | None]]
"""What is drawn of a metric: the class, its name, and an estimate for each version."""
Part = tuple[int, int, str]
"""The versions between two changes: the first, the one after the last, and the class."""


def as_html(history: Timeline) -> str:
    """The page, which loads nothing."""
    return page(
        _title(history),
        f"{history.by} in {question(history)}",
        [
            *(_finding(it, history) for it in history.changes),
            f'<p class="dim note">{_LEGEND}</p>',
            *_timelines(history),
            _table(*text.table_of(history)),
            _table(*text.assessments_of(history)),
            footer(text.limits(history)[1:], history.source),
        ],
    )


def _title(history: Timeline) -> str:
    if not history.changes:
        return f"No change among {len(history.versions):,} versions"
    changes = (
        f"{text.headline(it, history)} ({printable(', '.join(it.shifts))})"
        for it in history.changes
    )
    title = "; ".join(changes)
    return f"{title[:1].upper()}{title[1:]}"


def _finding(change: ChangePoint, history: Timeline) -> str:
    lines = [f"<h2>{escape(text.headline(change, history))}</h2>"]
    lines += [f"<p>{escape(it.strip())}</p>" for it in text.sentences(change, history)]
    link = change.bisection and change.bisection.link
    if link:
        lines.append(f'<p><a href="{escape(link)}">{escape(link)}</a></p>')
    kind = class_of(change.verdict)
    return f'<section class="card finding {kind}">{"".join(lines)}</section>'


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; intervals are under the number that they are of."""
    if not rows:
        return ""
    shown = [at for at, it in enumerate(headings) if it != text.INTERVAL]
    body = []
    for row in rows:
        first, *cells = (escape(printable(it)) for it in row)
        body.append(f'<tr><th scope="row">{first}</th>')
        for at in shown[1:]:
            cell = cells[at - 1]
            if headings[at] == _CHANGE and cell:
                cell = f'<span class="verdict {class_of(Verdict(cell))}">{cell}</span>'
            elif headings[at + 1 : at + 2] == [text.INTERVAL]:
                cell += f"<br><small>{cells[at]}</small>"
            body.append(f"<td>{cell}</td>")
        body.append("</tr>")
    return table([headings[at] for at in shown], body)


# --- Timelines ---------------------------------------------------------------------------------


def _timelines(history: Timeline) -> Iterator[str]:
    for metric in history.metrics:
        observations = [it.observed.get(metric.name) for it in history.groups]
        if Series.of(observations).positions:
            name = f"{metric.name[:1].upper()}{metric.name[1:]}"
            chart = _chart(history, metric, observations)
            yield f'<section class="card">{figure(name, _caption(metric), chart)}</section>'


def _caption(metric: Metric) -> str:
    what = "The mean"
    if metric.has_percentiles:
        what = "The median, and lighter the duration within which 90 % end,"
    elif metric.kind is Share:
        of = (metric.text or "yes") if metric.assessment else "traces with an error"
        what = f"The share of {of}"
    elif metric.kind is Choices:
        what = "The share of each text"
    return f"{what} of each version, with its 95 % interval."


@dataclass(frozen=True)
class _Frame:
    """Where versions and values are in the picture."""

    x: svg.Scale
    """By the number of versions before."""
    y: svg.Scale

    def height(self, value: float) -> float:
        """The place of a value, of one outside of the picture the edge."""
        return min(max(self.y(value), _TOP), _BOTTOM)


def _chart(history: Timeline, metric: Metric, observations: Sequence[Observation | None]) -> str:
    lines = list(_lines(metric, observations))
    shifts = _shifts(history, metric)
    parts = list(_parts(len(observations), shifts))
    levels = [_level(metric, observations[start:stop]) for start, stop, _ in parts]
    ticks = _ticks(metric, lines, [it for it in levels if it is not None])
    frame = _Frame(
        svg.scale(0, len(observations), _LEFT, svg.WIDTH - _RIGHT),
        svg.scale(ticks[0], ticks[-1], _BOTTOM, _TOP),
    )
    elements = []
    for tick in ticks:
        at = frame.y(tick)
        elements.append(svg.line(_LEFT, at, svg.WIDTH - _RIGHT, at, "grid"))
        elements.append(svg.text(_LEFT - 8, at + 4, metric.unit.text(tick), "end"))
    for part, level in zip(parts, levels, strict=True):
        elements += _background(frame, part, level)
    elements += _marks(history, shifts, frame)
    for number, line in enumerate(lines):
        offset = 0.5 + 0.16 * (number - (len(lines) - 1) / 2)
        elements += _points(history, metric, line, parts, frame, offset)
    elements += _names(history, frame)
    return svg.picture(f"{metric.name} of each version", _BOTTOM + _room(history), elements)


def _background(frame: _Frame, part: Part, level: float | None) -> Iterator[str]:
    start, stop, kind = part
    left, right = frame.x(start), frame.x(stop)
    if start:
        yield (
            f'<rect class="shade {kind}" x="{left:.1f}" y="{_TOP}" '
            f'width="{right - left:.1f}" height="{_BOTTOM - _TOP}"/>'
        )
    if level is not None:
        yield svg.line(left, frame.height(level), right, frame.height(level), f"level {kind}")


def _points(  # noqa: PLR0913, PLR0917  # what is drawn, and where
    history: Timeline,
    metric: Metric,
    line: Line,
    parts: Sequence[Part],
    frame: _Frame,
    offset: float,
) -> Iterator[str]:
    style, what, estimates = line
    for at, (group, found) in enumerate(zip(history.groups, estimates, strict=True)):
        if found is None:
            continue
        kind = next(it for start, stop, it in parts if start <= at < stop)
        middle = frame.x(at + offset)
        mark = svg.circle(middle, frame.height(found.value), 4, f"dot {kind} {style}".strip())
        known = f"{what} {metric.unit.text(found.value)}".strip()
        if found.low is not None and found.high is not None:
            ends = frame.height(found.low), frame.height(found.high)
            whisker = svg.line(middle, ends[0], middle, ends[1], f"whisker {kind} {style}".strip())
            mark = whisker + mark
            known += f" ({text.interval(metric.unit, found)})"
        name = printable(label(group.value))
        yield svg.titled(mark, name, f"{known}, {group.traces:,} traces")


def _lines(metric: Metric, observations: Sequence[Observation | None]) -> Iterator[Line]:
    if metric.kind is Choices:
        choices = [it if isinstance(it, Choices) else Choices({}) for it in observations]
        texts = list(dict.fromkeys(it for of in choices for it in of.counts))[:_MOST_TEXTS]
        for number, name in enumerate(texts):
            shares = [of.share(name).estimate for of in choices]
            yield f"c{number + 1}", printable(label(name)), shares
    elif metric.has_percentiles:
        percentiles = [
            (isinstance(it, Distribution) and it.percentile_estimates) or {} for it in observations
        ]
        yield "", "p50", [it.get("p50") for it in percentiles]
        yield "second", "p90", [it.get("p90") for it in percentiles]
    else:
        yield "", "", [_estimate(it) for it in observations]


def _estimate(found: Observation | None) -> Estimate | None:
    if isinstance(found, Distribution):
        return found.mean_estimate
    return found.estimate if isinstance(found, Share) else None


def _level(metric: Metric, observations: Sequence[Observation | None]) -> float | None:
    """Of several versions together: the share, the median or the mean; of texts nothing."""
    series = Series.of(observations)
    if not series.positions or metric.kind is Choices:
        return None
    found = series.pooled(0, len(series))
    if isinstance(found, Distribution) and metric.has_percentiles:
        return None if found.percentiles is None else found.percentiles.p50
    estimate = _estimate(found)
    return None if estimate is None else estimate.value


def _shifts(history: Timeline, metric: Metric) -> dict[int, LevelShift]:
    """The changes of a metric by the place of the version."""
    places = {it.value: at for at, it in enumerate(history.versions)}
    return {
        places[it.value]: it.shifts[metric.name]
        for it in history.changes
        if metric.name in it.shifts
    }


def _parts(versions: int, shifts: Mapping[int, LevelShift]) -> Iterator[Part]:
    """The parts between changes, each with the class of the change that it begins with."""
    for start, stop in itertools.pairwise([0, *shifts, versions]):
        yield start, stop, class_of(shifts[start].verdict if start else Verdict.NO_EVIDENCE)


def _ticks(metric: Metric, lines: Sequence[Line], levels: Sequence[float]) -> list[float]:
    """Round numbers that nearly all intervals fit between."""
    found = [it for *_, estimates in lines for it in estimates if it is not None]
    highs = [it.value if it.high is None else it.high for it in found]
    lows = [it.value if it.low is None else it.low for it in found]
    limit = max([float(np.median(highs)), *levels])
    most = max([min(max(highs), _MOST_ROOM * limit), *(it * _ROOM for it in levels)])
    if metric.kind is Distribution and metric.assessment:
        return svg.ticks_between(min(lows), max(highs))
    return svg.linear_ticks(most if metric.kind is Distribution else min(most, 1.0))


def _marks(history: Timeline, shifts: Mapping[int, LevelShift], frame: _Frame) -> Iterator[str]:
    places = {it.value: at for at, it in enumerate(history.versions)}
    for number, (at, it) in enumerate(shifts.items()):
        kind = class_of(it.verdict)
        label_y = _TOP - _LABELS[number % len(_LABELS)]
        yield svg.line(frame.x(at), label_y + 6, frame.x(at), _BOTTOM, f"change {kind}")
        first, last = places[it.earliest], places[it.latest]
        if first != last:
            yield svg.line(frame.x(first), _TOP - 4, frame.x(last), _TOP - 4, f"possible {kind}")
        what = f"{it.verdict} from {text.short(history.versions[at].value, history)} on"
        anchor = "start" if at <= len(history.versions) / 2 else "end"
        yield (
            f'<text class="change {kind}" x="{frame.x(at):.1f}" y="{label_y}" '
            f'text-anchor="{anchor}">{escape(what)}</text>'
        )


def _room(history: Timeline) -> float:
    """The height of the names of the versions."""
    longest = max(len(text.short(it.value, history)) for it in history.versions)
    return 26 + 4.5 * min(longest, _LONGEST_NAME)


def _names(history: Timeline, frame: _Frame) -> Iterator[str]:
    """The versions under the axis, of many each second or third one."""
    every = 1 + len(history.versions) // _MOST_NAMES
    for at, version in enumerate(history.versions):
        if at % every:
            continue
        name = text.short(version.value, history)
        short = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\u2026"
        middle = frame.x(at + 0.5)
        yield (
            f'<text class="version" text-anchor="end" '
            f'transform="translate({middle + 4:.1f} {_BOTTOM + 16}) rotate(-40)">'
            f"{escape(short)}<title>{escape(name)}</title></text>"
        )
