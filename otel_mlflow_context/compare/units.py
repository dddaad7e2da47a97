"""Units: how numbers and differences of each kind are written for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_mlflow_context.compare.statistics import Estimate

_MS_PER_S: Final = 1_000
_TEN_SECONDS: Final = 10_000
_HUNDREDTH: Final = 0.01
_SMALLEST_P: Final = 0.001


@dataclass(frozen=True)
class Unit:
    """How a number is written."""

    text: Callable[[float], str]
    """A value."""
    change: Callable[[float], str]
    """A difference, with its sign."""
    suffix: str = ""
    """After a difference, not repeated in its interval."""
    factors: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    """What may stand behind an amount that is typed in, and what one of it is."""

    def interval(self, difference: Estimate) -> str:
        """A difference with its interval.

        >>> SHARE.interval(Estimate(0.028, 0.013, 0.045))
        '+2.8 points (+1.3 to +4.5)'
        """
        value = f"{self.change(difference.value)}{self.suffix}"
        if difference.low is None or difference.high is None:
            return f"{value} (too few traces for an interval)"
        return f"{value} ({self.change(difference.low)} to {self.change(difference.high)})"


def share(value: float) -> str:
    """A proportion in per cent.

    >>> share(0.0213), share(0.00042), share(0.0), share(1.0)
    ('2.1 %', '0.04 %', '0 %', '100 %')
    """
    if value in (0, 1):
        return f"{value * 100:.0f} %"
    return f"{value * 100:.{2 if abs(value) < _HUNDREDTH else 1}f} %"


def duration(milliseconds: float, sign: str = "") -> str:
    """A duration in milliseconds or seconds.

    >>> duration(402.4), duration(1300), duration(61_000), duration(0.25)
    ('402 ms', '1.30 s', '61.0 s', '0.25 ms')
    """
    size = abs(milliseconds)
    if size >= _MS_PER_S:
        return f"{milliseconds / _MS_PER_S:{sign}.{1 if size >= _TEN_SECONDS else 2}f} s"
    # Adding 0 makes 0 of -0.
    return f"{round(milliseconds, 2 if size < 1 else 0) + 0:{sign}.{2 if 0 < size < 1 else 0}f} ms"


def p_value(value: float) -> str:
    """A p-value, which nobody needs more exactly than this.

    >>> p_value(0.0214), p_value(0.001), p_value(0.00099)
    ('p = 0.021', 'p = 0.001', 'p < 0.001')
    """
    return f"p < {_SMALLEST_P}" if value < _SMALLEST_P else f"p = {value:.3f}"


SHARE: Final = Unit(share, lambda it: f"{it * 100:+.1f}", " points", {"pp": _HUNDREDTH})
DURATION: Final = Unit(
    duration, lambda it: duration(it, "+"), factors={"ms": 1.0, "s": float(_MS_PER_S)}
)
COUNT: Final = Unit("{:,.0f}".format, "{:+,.0f}".format)
NUMBER: Final = Unit("{:,.4g}".format, "{:+,.3g}".format)
DOLLARS: Final = Unit("${:.3g}".format, lambda it: f"{'-' if it < 0 else '+'}${abs(it):.3g}")
