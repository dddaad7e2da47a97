"""How much worse a metric may be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from otel_mlflow_context.compare import units

_AMOUNT: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|[a-z]*)")
_PERCENT: Final = 100

Base = TypeVar("Base", float, npt.NDArray[np.float64])


@dataclass(frozen=True)
class Tolerance:
    """A distance from the baseline."""

    text: str
    amount: float
    relative: bool
    """Whether it is a proportion of the baseline."""

    def limit(self, base: Base, *, above: bool) -> Base:
        """The baseline's value, or values, and the tolerance above or below."""
        distance = np.abs(base) * self.amount if self.relative else self.amount
        limit: Base = base + distance if above else base - distance
        return limit


def tolerance_of(name: str, text: str, unit: units.Unit) -> Tolerance:
    """The tolerance of a metric, as people write it.

    >>> tolerance_of("latency", "10%", units.DURATION)
    Tolerance(text='10%', amount=0.1, relative=True)
    >>> tolerance_of("errors", "0.5pp", units.SHARE)
    Tolerance(text='0.5pp', amount=0.005, relative=False)

    Raises:
        ValueError: it is none.
    """
    found = _AMOUNT.fullmatch(text.strip())
    if found is not None and found[2] == "%":
        return Tolerance(text.strip(), float(found[1]) / _PERCENT, relative=True)
    if found is None or found[2] not in unit.factors:
        allowed = " or ".join(["10%", *(f"10{suffix}" for suffix in unit.factors)])
        raise ValueError(f"tolerance of {name} must be a number such as {allowed}, got {text!r}")
    return Tolerance(text.strip(), float(found[1]) * unit.factors[found[2]], relative=False)
