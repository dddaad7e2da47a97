"""An explanation for people: its lines, the same in text and HTML, and as rows of a table."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_mlflow_context.compare.explain.result import Calls, Cause, Explanation, Mix, Part, Segment
from otel_mlflow_context.compare.metrics import METRICS
from otel_mlflow_context.compare.units import Unit, duration, p_value, share

_SHOWN: Final = 5
_SHOWN_SEGMENTS: Final = 3
_CERTAIN: Final = 0.001
"""A p-value of the whole difference; above it, the difference is too uncertain to divide by."""
"""How a cell begins that a spreadsheet computes."""
_UNSAFE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, of those that change the direction of text, and of
line ends: a terminal or browser would follow them."""
_UNITS: Final = {it.name: it.unit for it in METRICS}


@dataclass(frozen=True)
class Section:
    """The lines of one metric."""

    heading: str
    lines: tuple[str, ...]
    links: tuple[str | None, ...]
    """Of each line."""


def printable(text: str) -> str:
    r"""Text from a trace without characters that a terminal or browser would follow.

    >>> printable("a\x1b[31m\nb")
    'a\ufffd[31m\ufffdb'
    """
    return "".join("\ufffd" if unicodedata.category(it) in _UNSAFE else it for it in text)


def sections(explanation: Explanation, level: float) -> list[Section]:
    """A section for each metric."""
    return [_section(part, level) for part in explanation.parts]


def rows(explanations: Sequence[Explanation]) -> Iterator[dict[str, Any]]:
    """A row for each cause and segment."""
    for explanation in explanations:
        for part in explanation.parts:
            common = {"value": explanation.value, "metric": part.metric}
            for cause in part.causes:
                row = {**common, "kind": "cause", **cause.names, **_columns(cause)}
                yield row | {"new": cause.new, "trace_id": cause.trace_id}
            for it in part.segments:
                row = {**common, "kind": "segment", "key": it.key, "key_value": it.value}
                yield row | _columns(it)


def _columns(line: Cause | Segment) -> dict[str, Any]:
    difference = line.test.difference
    return {
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "corrected_p_value": line.test.corrected_p_value,
    }


def _section(part: Part, level: float) -> Section:
    unit = _UNITS[part.metric]
    shown = [it for it in part.causes if it.test.corrected_p_value <= level][:_SHOWN]
    lines = [_cause(it, part, unit) for it in shown]
    links = [it.link for it in shown]
    if not shown:
        lines = ["no single cause stands out from chance"]
        if part.causes:
            lines.append(f"the largest, which may be chance: {_cause(part.causes[0], part, unit)}")
    others = len(part.causes) - len(shown)
    left = part.test.difference.value - sum(it.test.difference.value for it in shown)
    if shown:
        smaller = "other that is" if others == 1 else "others that are"
        of = f", with {others} {smaller} smaller or may be chance" if others else ""
        lines.append(f"left over: {unit.change(left)}{unit.suffix}{of}")
    lines += _where(part, level, unit)
    lines += [_mix(it, part, unit) for it in part.mixes if _is_shown(it, level)][:_SHOWN_SEGMENTS]
    links += [None] * (len(lines) - len(links))
    values = f"{unit.text(part.candidate)} instead of {unit.text(part.baseline)}"
    mean = "" if part.metric == "errors" else "on average "
    heading = f"{part.metric}: {mean}{values}, {unit.interval(part.test.difference)}"
    return Section(heading, tuple(lines), tuple(links))


def _cause(cause: Cause, part: Part, unit: Unit) -> str:
    new = " (new)" if cause.new else ""
    text = [f"{_name(cause)}{new}: {unit.interval(cause.test.difference)}"]
    if part.test.p_value <= _CERTAIN:
        text.append(f"{cause.test.difference.value / part.test.difference.value * 100:.0f} % of it")
    text.append(p_value(cause.test.corrected_p_value))
    line = ", ".join(text)
    if cause.calls is not None:
        line += f"; {_calls(*cause.calls)}"
    if cause.path:
        line += f"; in {' > '.join(map(printable, cause.path))}"
    if part.metric == "errors":
        line += f"; {share(cause.candidate)} instead of {share(cause.baseline)} of the traces"
    if cause.trace_id:
        line += f"; for example {printable(cause.trace_id)}"
    return line


def _name(cause: Cause) -> str:
    names = {key: printable(value) for key, value in cause.names.items()}
    span = names["span"]
    if "exception" in names:
        if not any(names.values()):
            return "no span has failed"
        what = ": ".join(it for it in (names["exception"], names["message"]) if it)
        return f"{what or 'an error'} in {span}"
    if "model" in names:
        return f"{names['model'] or 'no model'} in {span}"
    return span


def _calls(before: Calls, after: Calls) -> str:
    of_all = " (of all traces)" if after.of_all_traces else ""
    if abs(after.per_trace - before.per_trace) < 0.005:  # noqa: PLR2004  # as it is written
        often = f"{after.per_trace:.2f} calls a trace"
    else:
        often = f"{after.per_trace:.2f} calls a trace instead of {before.per_trace:.2f}"
    if after.duration_ms is None or before.duration_ms is None:
        return f"{often}{of_all}"
    each = f"{duration(after.duration_ms)} instead of {duration(before.duration_ms)} each"
    return f"{often}, {each}{of_all}"


def _where(part: Part, level: float, unit: Unit) -> list[str]:
    found = [it for it in part.segments if it.test.corrected_p_value <= level]
    if found:  # where the difference is larger; elsewhere it is smaller
        worse = part.test.difference.value >= 0
        larger = [it for it in found if (it.test.difference.value >= 0) == worse] or found
        return [_segment(it, unit) for it in larger[:_SHOWN_SEGMENTS]]
    if part.test.p_value > level:
        return []
    keys = dict.fromkeys(printable(it.key) for it in part.segments)
    return [f"everywhere alike, as far as known: by {', '.join(keys)}"] if keys else []


def _segment(segment: Segment, unit: Unit) -> str:
    return (
        f"concentrated where {_fact(segment.key, segment.value)}: "
        f"{unit.interval(segment.inside)}, elsewhere {unit.interval(segment.elsewhere)}, "
        f"{p_value(segment.test.corrected_p_value)}; {segment.traces[1]:,} traces"
    )


def _fact(key: str, value: str) -> str:
    return f"{printable(key)} = {printable(value)}" if value else f"{printable(key)} is not known"


def _is_shown(mix: Mix, level: float) -> bool:
    return mix.reversed or mix.corrected_p_value <= level


def _mix(mix: Mix, part: Part, unit: Unit) -> str:
    change: Callable[[float], str] = lambda it: f"{unit.change(it)}{unit.suffix}"  # noqa: E731
    line = (
        f"the mix of {printable(mix.key)} has changed ({p_value(mix.corrected_p_value)}): of "
        f"{change(part.test.difference.value)} it makes {change(mix.of_mix)}; at the baseline's "
        f"mix {unit.interval(mix.within.difference)}"
    )
    if mix.odds_ratio is not None:
        ratio = mix.odds_ratio
        line += f", odds ratio {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
    if mix.reversed:
        line += " - within the strata it is the opposite (Simpson's paradox)"
    return line
