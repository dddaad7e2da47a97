"""The charts of the page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Final

import numpy as np

from otel_mlflow_context.compare.metrics import Distribution, Metric, Share
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.report import svg
from otel_mlflow_context.compare.report.labels import label
from otel_mlflow_context.compare.result import Bucket, Group, Result
from otel_mlflow_context.compare.statistics import Estimate, Values
from otel_mlflow_context.compare.units import duration, share

COLORS: Final = 8
"""Classes ``c0`` to ``c7`` of the page; the first is the baseline's."""

_HALF: Final = 490
_LEFT: Final = 190
_RIGHT: Final = 26
_TOP: Final = 10
_AXIS: Final = 30
_RIDGE: Final = 72
_ROW: Final = 34
_LINES: Final = 200
_FEWEST_BINS: Final = 12
_MOST_BINS: Final = 72
_TICKS: Final = 5
_TIMES: Final = 4
_SHORTEST_MS: Final = 0.5
_DAY_MS: Final = 86_400_000

OVER_TIME: Final[dict[str, tuple[Callable[[Bucket], float | None], Callable[[float], str]]]] = {
    "Error rate": (lambda it: it.errors / it.finished if it.finished else None, share),
    "Median latency": (lambda it: it.latency_p50, duration),
}
"""What is shown of each time interval, and how it is written."""


def latency(comparison: Result) -> str:
    """How long traces take: a curve for each group over one logarithmic axis."""
    groups = [it for it in comparison.groups if len(it.latencies)]
    if not groups:
        return ""
    low, high = _span(groups)
    x = svg.scale(math.log10(low), math.log10(high), _LEFT, svg.WIDTH - _RIGHT)
    bottom = _TOP + _RIDGE * len(groups)
    parts = []
    for tick in _logarithmic_ticks(low, high):
        at = x(math.log10(tick))
        parts += [svg.line(at, _TOP, at, bottom, "grid"), svg.text(at, bottom + 18, duration(tick))]
    base = comparison.baseline.latency
    for row, group in enumerate(groups):
        floor = _TOP + _RIDGE * (row + 1)
        color = color_of(comparison, group)
        points = _outline(_within(group, low, high), low, high, x)
        path = " ".join(f"{at:.1f},{floor - height:.1f}" for at, height in points)
        parts.append(f'<polygon class="area {color}" points="{path}"/>')
        parts.append(svg.line(_LEFT, floor, svg.WIDTH - _RIGHT, floor, "floor"))
        parts.append(_name(group, floor - 14))
        for percentile, value in vars(group.latency).items() if group.latency else ():
            if low <= value <= high:
                at = x(math.log10(value))
                mark = svg.line(at, floor - _RIDGE + 14, at, floor, f"mark {percentile} {color}")
                parts.append(
                    svg.titled(mark, label(group.value), f"{percentile} is {duration(value)}")
                )
    if base is not None and low <= base.p50 <= high:
        at = x(math.log10(base.p50))
        parts.append(svg.line(at, _TOP, at, bottom, "reference"))
    return svg.picture("Distribution of the latency of each group", bottom + _AXIS, parts)


def _outline(values: Values, low: float, high: float, x: svg.Scale) -> list[tuple[float, float]]:
    """A histogram's: few values get broad bins."""
    bins = int(np.clip(3 * math.sqrt(len(values)), _FEWEST_BINS, _MOST_BINS))
    edges = np.logspace(math.log10(low), math.log10(high), bins + 1)
    counts = np.histogram(values, edges)[0]
    heights = counts / (counts.max() or 1) * (_RIDGE - 12)
    at = [x(math.log10(edge)) for edge in edges]
    points = [(at[0], 0.0)]
    for index, height in enumerate(heights):
        points += [(at[index], float(height)), (at[index + 1], float(height))]
    return [*points, (at[-1], 0.0)]


def errors(comparison: Result) -> str:
    """The error rate of each group with its interval."""
    rows = [(it, label(it.value), it.error_rate) for it in comparison.groups]
    return _estimates(comparison, "Error rate of each group with its interval", rows, share)


def assessment(comparison: Result, metric: Metric) -> str:
    """The share or the mean of an assessment with its interval; of texts the share of each."""
    title = f"{metric.name} of each group with its interval"
    observed = [(it, it.observed[metric.name]) for it in comparison.groups]
    texts = dict.fromkeys(
        text for _, it in observed if isinstance(it, Choices) for text in it.counts
    )
    rows = [
        (group, text, found.share(text).estimate)
        for text in texts
        for group, found in observed
        if isinstance(found, Choices)
    ] or [
        (group, label(group.value), found.estimate)
        for group, found in observed
        if isinstance(found, (Share, Distribution))
    ]
    return _estimates(
        comparison, title, rows, metric.unit.text, zero=metric.kind is not Distribution
    )


def _estimates(
    comparison: Result,
    title: str,
    rows: Sequence[tuple[Group, str, Estimate | None]],
    text: Callable[[float], str],
    *,
    zero: bool = True,
) -> str:
    """A dot and an interval for each row, on an axis that begins at 0 or at the lowest of them."""
    ends = [
        end for _, _, it in rows if it for end in (it.value, it.low, it.high) if end is not None
    ]
    most = max(ends, default=0.0)
    ticks = (
        svg.linear_ticks(min(most, 1.0))
        if zero
        else svg.ticks_between(min(ends, default=0.0), most)
    )
    x = svg.scale(ticks[0], ticks[-1], _LEFT, svg.WIDTH - _RIGHT - 50)
    bottom = _TOP + _ROW * len(rows)
    parts = []
    for tick in ticks:
        at = x(tick)
        parts += [svg.line(at, _TOP, at, bottom, "grid"), svg.text(at, bottom + 18, text(tick))]
    for row, (group, name, found) in enumerate(rows):
        middle = _TOP + _ROW * (row + 0.5)
        color = color_of(comparison, group)
        parts.append(svg.label(name, _LEFT - 12, middle + 4))
        if found is None:
            parts.append(svg.text(_LEFT + 8, middle + 4, "not known", "start"))
            continue
        mark = svg.circle(x(found.value), middle, 6, f"dot {color}")
        known = text(found.value)
        end = found.value
        if found.low is not None and found.high is not None:
            end = found.high
            mark = svg.line(x(found.low), middle, x(end), middle, f"whisker {color}") + mark
            known += f", {text(found.low)} to {text(found.high)}"
        parts.append(svg.titled(mark, label(group.value), known))
        parts.append(svg.text(x(end) + 10, middle + 4, text(found.value), "start"))
    return svg.picture(title, bottom + _AXIS, parts)


def color_of(comparison: Result, group: Group) -> str:
    """The class of the color of a group."""
    return f"c{comparison.groups.index(group) % COLORS}"


def over_time(comparison: Result, name: str) -> str:
    """A line for each group over the time intervals."""
    value_of, text = OVER_TIME[name]
    buckets = [it for group in comparison.groups for it in group.over_time]
    values = [value for it in buckets if (value := value_of(it)) is not None]
    if not values:
        return ""
    starts = sorted({it.start_ms for it in buckets})
    ticks = svg.linear_ticks(max(values))
    left, right = 62, _HALF - 34
    x = svg.scale(starts[0], max(starts[-1], starts[0] + 1), left, right)
    y = svg.scale(0, ticks[-1], _TOP + _LINES, _TOP)
    parts = []
    for tick in ticks:
        at = y(tick)
        parts += [
            svg.line(left, at, right, at, "grid"),
            svg.text(left - 8, at + 4, text(tick), "end"),
        ]
    shown = _spread(starts)
    for start in shown:
        # The last one would leave the picture.
        anchor = "end" if start == shown[-1] and len(shown) > 1 else "middle"
        at = x(start) + (_HALF - right if anchor == "end" else 0)
        parts.append(svg.text(at, _TOP + _LINES + 20, _time(start, starts), anchor))
    for group in comparison.groups:
        color = color_of(comparison, group)
        for run in _runs(group.over_time, value_of):
            path = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in run)
            parts.append(f'<polyline class="line {color}" points="{path}"/>')
        for bucket in group.over_time:
            if (value := value_of(bucket)) is not None:
                mark = svg.circle(x(bucket.start_ms), y(value), 3, f"point {color}")
                title = f"{_time(bucket.start_ms)}: {text(value)} of {bucket.finished:,}"
                parts.append(svg.titled(mark, label(group.value), title))
    return svg.picture(f"{name} of each group over time", _TOP + _LINES + _AXIS, parts, _HALF)


def _runs(
    buckets: Sequence[Bucket], value_of: Callable[[Bucket], float | None]
) -> Iterator[list[tuple[int, float]]]:
    """The points between which a line is drawn: not over a gap."""
    width = min((b.start_ms - a.start_ms for a, b in itertools.pairwise(buckets)), default=0)
    points = [(it.start_ms, value) for it in buckets if (value := value_of(it)) is not None]
    ends = [i + 1 for i, (a, b) in enumerate(itertools.pairwise(points)) if b[0] - a[0] > width]
    for first, last in itertools.pairwise([0, *ends, len(points)]):
        yield points[first:last]


# --- Scales ------------------------------------------------------------------------------------


def _span(groups: Sequence[Group]) -> tuple[float, float]:
    """The part of the axis that has nearly all traces, and every percentile of the table."""
    lows = [float(np.percentile(_within(it), 0.2)) for it in groups]
    highs = [float(np.percentile(_within(it), 99.8)) for it in groups]
    highs += [it.latency.p99 for it in groups if it.latency]
    low, high = max(min(lows), _SHORTEST_MS), max(*highs, _SHORTEST_MS)
    return low / 1.15, max(high * 1.15, low * 2)


def _within(group: Group, low: float = 0.0, high: float = math.inf) -> Values:
    values = np.maximum(group.latencies, _SHORTEST_MS)
    return values[(values >= low) & (values <= high)]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten; only 1 where there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 2 * _TICKS:
            break
    return ticks


def _spread(starts: Sequence[int]) -> list[int]:
    at = np.linspace(0, len(starts) - 1, min(len(starts), _TIMES))
    return [starts[round(index)] for index in at]


def _time(milliseconds: int, among: Sequence[int] = ()) -> str:
    time = datetime.fromtimestamp(milliseconds / 1_000, tz=timezone.utc)
    if among and among[-1] - among[0] <= _DAY_MS:
        return f"{time:%H:%M}"
    if among and all(it % _DAY_MS == 0 for it in among):
        return f"{time:%d %b}"
    return f"{time:%d %b %H:%M}"


def _name(group: Group, y: float) -> str:
    return svg.label(label(group.value), _LEFT - 12, y)
