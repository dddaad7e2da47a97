"""The statistics: intervals, tests, how large a difference is, how many traces it would take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""Of every interval."""
POWER: Final = 0.8
"""The share of repetitions in which a real difference would be found."""
_BISECTIONS: Final = 100
_DIGITS: Final = 6
_MOST: Final = 1_000_000_000


@dataclass(frozen=True)
class Estimate:
    """A number, and the interval in which it lies with 95 % confidence."""

    value: float
    low: float | None
    """None where there are too few traces for an end."""
    high: float | None


@dataclass(frozen=True)
class Shift:
    """How the values of one group differ from another's."""

    typical: Estimate
    """The median of all differences of a candidate's value and a baseline's (Hodges-Lehmann)."""
    larger: float
    """How often a candidate's value is the larger one of the two; 0.5 when there is no side."""
    p_value: float


def wilson(count: int, total: int) -> Estimate:
    """A share with its interval after Wilson, which is right for 0 and for all too.

    >>> share = wilson(0, 10)
    >>> f"{share.value:.2f}, {share.low:.2f} to {share.high:.2f}"
    '0.00, 0.00 to 0.28'
    """
    found = stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(count / total, float(found.low), float(found.high))


def newcombe(count: int, total: int, base_count: int, base_total: int) -> Estimate:
    """The difference of two shares with its interval after Newcombe (1998, method 10)."""
    first, second = wilson(count, total), wilson(base_count, base_total)
    difference = first.value - second.value

    def end(lower: Estimate, upper: Estimate) -> float:
        assert lower.low is not None  # noqa: S101  # Wilson's has both ends
        assert upper.high is not None  # noqa: S101
        return math.hypot(lower.value - lower.low, upper.high - upper.value)

    return Estimate(difference, difference - end(first, second), difference + end(second, first))


def fisher(count: int, total: int, base_count: int, base_total: int) -> float:
    """The p-value of Fisher's exact test, two-sided: that two shares are the same."""
    table = [[count, total - count], [base_count, base_total - base_count]]
    return min(float(stats.fisher_exact(table).pvalue), 1.0)


def shift(values: Values, base: Values) -> Shift:
    """How values differ from a baseline's: the Mann-Whitney test, and by how much.

    Nothing is assumed of their distribution. Both must have at least one value.
    """
    found = stats.mannwhitneyu(values, base, alternative="two-sided")
    pairs = len(values) * len(base)
    p_value = float(found.pvalue)
    # All values the same: there is no variance to divide by, and nothing that differs.
    p_value = 1.0 if math.isnan(p_value) else min(p_value, 1.0)
    return Shift(_typical(np.sort(values), np.sort(base)), float(found.statistic) / pairs, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979), in the same order.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def traces_for_shares(first: float, second: float, level: float) -> int | None:
    """How many traces each group needs for Fisher's test to find a difference of shares.

    After Fleiss, Levin and Paik (2003), with the correction that makes up for the test's caution.

    Args:
        first: one share.
        second: the other.
        level: of the test, two-sided.

    Returns:
        None where there is no difference to be found.
    """
    difference = abs(first - second)
    if not difference:
        return None
    mean = (first + second) / 2
    spread = first * (1 - first) + second * (1 - second)
    alone = stats.norm.isf(level / 2) * math.sqrt(2 * mean * (1 - mean))
    needed = ((alone + stats.norm.ppf(POWER) * math.sqrt(spread)) / difference) ** 2
    return _whole(needed / 4 * (1 + math.sqrt(1 + 4 / (needed * difference))) ** 2)


def traces_for_shift(larger: float, level: float) -> int | None:
    """How many traces each group needs for the Mann-Whitney test to find a shift (Noether 1987).

    Args:
        larger: how often the one value is larger than the other.
        level: of the test, two-sided.

    Returns:
        None where there is no shift to be found.
    """
    if larger == 0.5:  # noqa: PLR2004  # no side
        return None
    quantiles = stats.norm.isf(level / 2) + stats.norm.ppf(POWER)
    return _whole(quantiles**2 / (6 * (larger - 0.5) ** 2))


def _whole(needed: float) -> int | None:
    return math.ceil(needed) if needed < _MOST else None


def _typical(values: Values, base: Values) -> Estimate:
    """Hodges and Lehmann's estimate, without holding all differences in memory."""
    pairs = len(values) * len(base)

    def nth(rank: int) -> float:
        return _nth_difference(values, base, rank)

    middle = (nth((pairs + 1) // 2) + nth(pairs // 2 + 1)) / 2
    deviation = math.sqrt(pairs * (len(values) + len(base) + 1) / 12)
    first = math.floor(pairs / 2 - stats.norm.isf((1 - CONFIDENCE) / 2) * deviation)
    if first < 1:
        return Estimate(middle, None, None)
    return Estimate(middle, nth(first), nth(pairs - first + 1))


def _nth_difference(values: Values, base: Values, rank: int) -> float:
    """The difference of a rank, from 1, among all of one value and another; both are sorted."""

    def at_most(difference: float) -> int:
        return int((len(base) - np.searchsorted(base, values - difference, side="left")).sum())

    return _smallest(
        lambda difference: at_most(difference) >= rank,
        float(values[0] - base[-1]),
        float(values[-1] - base[0]),
    )


def _smallest(enough: Callable[[float], bool], low: float, high: float) -> float:
    if enough(low):
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if enough(middle):
            high = middle
        else:
            low = middle
    return round(high, _DIGITS)
