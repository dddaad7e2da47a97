"""The elements and scales of charts, as SVG that takes its colors from the page's style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

WIDTH: Final = 1000
_TICKS: Final = 5
_LABEL: Final = 20

Scale = Callable[[float], float]


def scale(low: float, high: float, first: float, last: float) -> Scale:
    """From the values between two to the places between two others."""
    width = (high - low) or 1.0
    return lambda value: first + (value - low) / width * (last - first)


def linear_ticks(most: float) -> list[float]:
    """From 0 to the first round number that is not below `most`."""
    if most <= 0:
        return [0.0, 0.01]
    raw = most / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(it * power for it in (1, 2, 2.5, 5, 10) if it * power >= raw * 0.999)
    return [step * index for index in range(math.ceil(most / step * 0.999) + 1)]


def ticks_between(low: float, high: float) -> list[float]:
    """Round numbers around a range."""
    if high <= low:
        return [low - 1, low, low + 1]
    step = linear_ticks(high - low)[1]
    first = math.floor(low / step)
    return [step * index for index in range(first, math.ceil(high / step) + 1)]


def picture(title: str, height: float, parts: Sequence[str], width: int = WIDTH) -> str:
    """A picture, with what it shows for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def label(name: str, x: float, y: float) -> str:
    """The name of a row, which ends at `x`; a pointer shows all of a long one."""
    short = name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}\u2026"
    return (
        f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="end">{escape(short)}'
        f"<title>{escape(name)}</title></text>"
    )


def circle(x: float, y: float, radius: int, style: str) -> str:
    return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def titled(mark: str, name: str, text: str) -> str:
    """A mark with a text that a pointer shows."""
    return f"<g>{mark}<title>{escape(f'{name}: {text}')}</title></g>"
