"""Interval estimates, significance tests, effect sizes and the sample sizes that they need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import GofChisquarePower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    test_proportions_2indep,
)
from statsmodels.stats.weightstats import DescrStatsW

Values = npt.NDArray[np.float64]
Counts = Sequence[int]

CONFIDENCE: Final = 0.95
"""The level of every interval."""
POWER: Final = 0.8
"""The probability with which the sample size that is given finds a real difference."""
_FEWEST: Final = 2
"""Values that have a variance."""
_BINARY: Final = 2
"""Categories of which there is an exact test."""
_EXPECTED: Final = 5
"""The count that each cell must be expected to have, for the chi-square test to hold."""
_BISECTIONS: Final = 100
_DIGITS: Final = 12
_MOST: Final = 1_000_000_000
_MOST_RANKED: Final = 1_000_000
"""Of more values the interval is that of so many: it is narrow enough."""


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its 95 % confidence interval."""

    value: float
    low: float | None
    """None where there are too few traces for an end."""
    high: float | None


@dataclass(frozen=True)
class Shift:
    """The difference in location of two samples."""

    typical: Estimate
    """The median of all pairwise differences (Hodges-Lehmann)."""
    larger: float
    """The probability that a value is larger than one of the baseline, ties counted half."""
    p_value: float


def wilson(count: int, total: int) -> Estimate:
    """A proportion with its Wilson interval, which holds for 0 and for all too.

    >>> share = wilson(0, 10)
    >>> f"{share.value:.2f}, {share.low:.2f} to {share.high:.2f}"
    '0.00, 0.00 to 0.28'
    """
    found = stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(count / total, float(found.low), float(found.high))


def mean(values: Values) -> Estimate:
    """The mean with Student's interval."""
    found = float(np.mean(values))
    if len(values) < _FEWEST:
        return Estimate(found, None, None)
    low, high = DescrStatsW(values).tconfint_mean(alpha=1 - CONFIDENCE)
    return Estimate(found, float(low), float(high))


def quantile(values: Values, share: float) -> Estimate:
    """A quantile with its interval, which assumes no distribution (of order statistics)."""
    found = float(np.quantile(values, share))
    interval = stats.quantile_test(values, p=share).confidence_interval(CONFIDENCE)
    low, high = (None if math.isnan(it) else float(it) for it in interval)
    return Estimate(found, low, high)


def quantile_ends(total: int, share: float) -> tuple[float, float] | None:
    """The quantiles that are the ends of the interval of a quantile, of so many values.

    >>> low, high = quantile_ends(1_000, 0.5)
    >>> round(low, 3), round(high, 3)
    (0.468, 0.532)
    """
    total = min(total, _MOST_RANKED)
    ranks = stats.quantile_test(np.arange(total), p=share).confidence_interval(CONFIDENCE)
    if any(map(math.isnan, ranks)):
        return None
    low, high = (float(it) / (total - 1) for it in ranks)
    return low, high


def newcombe(count: int, total: int, base_count: int, base_total: int) -> Estimate:
    """The difference of two proportions with its interval after Newcombe (1998, method 10)."""
    low, high = confint_proportions_2indep(
        count, total, base_count, base_total, method="newcomb", compare="diff", alpha=1 - CONFIDENCE
    )
    return Estimate(count / total - base_count / base_total, float(low), float(high))


def fisher(
    count: int, total: int, base_count: int, base_total: int, *, more: bool | None = None
) -> float:
    """The p-value of Fisher's exact test of equal proportions: one-sided for more, or for less."""
    table = [[count, total - count], [base_count, base_total - base_count]]
    alternative = {None: "two-sided", True: "greater", False: "less"}[more]
    return min(float(stats.fisher_exact(table, alternative=alternative).pvalue), 1.0)


def beyond_share(  # noqa: PLR0913  # two shares and a limit
    count: int,
    total: int,
    base_count: int,
    base_total: int,
    amount: float,
    *,
    relative: bool,
    more: bool,
) -> float:
    """The one-sided p-value of a share being more than an amount from another.

    The amount is a difference (Agresti and Caffo's test), or, where it is relative, a proportion of
    the baseline's (the score test). The score test of a difference has up to twice as many false
    alarms as it promises where shares are small.
    """
    signed = amount if more else -amount
    # No event in both groups: there is no variance to divide by.
    with np.errstate(divide="ignore", invalid="ignore"):
        found = test_proportions_2indep(
            *(count, total, base_count, base_total),
            value=1 + signed if relative else signed,
            method="score" if relative else "agresti-caffo",
            compare="ratio" if relative else "diff",
            alternative="larger" if more else "smaller",
        )
    p_value = float(found.pvalue)
    return 1.0 if math.isnan(p_value) else p_value


def one_sided_shift(values: Values, base: Values, *, more: bool) -> tuple[float, float]:
    """The one-sided Mann-Whitney test: more, or less, than the baseline.

    Returns:
        The p-value, and the probability that a value is larger than one of the baseline.
    """
    found = stats.mannwhitneyu(values, base, alternative="greater" if more else "less")
    p_value = float(found.pvalue)
    larger = float(found.statistic) / (len(values) * len(base))
    return 1.0 if math.isnan(p_value) else p_value, larger


def equal_shares(counts: Sequence[tuple[int, int]]) -> float:
    """The p-value of the chi-square test of several groups having the same share.

    Args:
        counts: of each group how many have the property, and how many there are.
    """
    table = np.array([(count, total - count) for count, total in counts])
    if len(table) < _FEWEST or not table.sum(axis=0).all():
        return 1.0
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def homogeneity(counts: Counts, base: Counts) -> tuple[float, float, int]:
    """The chi-square test of two groups having the same shares of several categories.

    Rare categories count as one, so that each is expected at least five times in both groups; of
    the two that may be left, Fisher's exact test.

    Returns:
        The p-value, the size of the effect (Cohen's w), and the number of categories.
    """
    table = np.array([counts, base])
    table = table[:, np.argsort(table.sum(axis=0))]
    while table.shape[1] > _BINARY and stats.contingency.expected_freq(table).min() < _EXPECTED:
        table = np.column_stack([table[:, 0] + table[:, 1], table[:, 2:]])
        table = table[:, np.argsort(table.sum(axis=0))]
    categories = int(table.shape[1])
    if categories < _BINARY or not table.sum(axis=0).all():
        return 1.0, 0.0, categories
    found = stats.chi2_contingency(table, correction=False)
    effect = math.sqrt(float(found.statistic) / float(table.sum()))
    if categories == _BINARY:
        return fisher(table[0, 0], table[0].sum(), table[1, 0], table[1].sum()), effect, categories
    return float(found.pvalue), effect, categories


def shift(values: Values, base: Values) -> Shift:
    """The Mann-Whitney test and the Hodges-Lehmann estimate, which assume no distribution.

    Both samples must have at least one value.
    """
    found = stats.mannwhitneyu(values, base, alternative="two-sided")
    p_value = float(found.pvalue)
    # All values equal: there is no variance to divide by.
    p_value = 1.0 if math.isnan(p_value) else min(p_value, 1.0)
    larger = float(found.statistic) / (len(values) * len(base))
    return Shift(_hodges_lehmann(np.sort(values), np.sort(base)), larger, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for multiple tests (Holm 1979), in the same order.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def traces_for_shares(first: float, second: float, level: float) -> int | None:
    """The sample size of each group for Fisher's test to find a difference of proportions.

    After Fleiss, Levin and Paik (2003), with the continuity correction that accounts for the
    exact test being conservative; statsmodels has the formula only without. None for equal ones.
    """
    difference = abs(first - second)
    if difference < 1 / _MOST:  # it needs more than that
        return None
    mean = (first + second) / 2
    spread = first * (1 - first) + second * (1 - second)
    alone = stats.norm.isf(level / 2) * math.sqrt(2 * mean * (1 - mean))
    needed = ((alone + stats.norm.ppf(POWER) * math.sqrt(spread)) / difference) ** 2
    return _whole(needed / 4 * (1 + math.sqrt(1 + 4 / (needed * difference))) ** 2)


def traces_for_shift(larger: float, level: float) -> int | None:
    """The sample size of each group for the Mann-Whitney test to find a shift (Noether 1987).

    `larger` is the probability that a value of one group is the larger of two. None for one half.
    """
    if larger == 0.5:  # noqa: PLR2004  # no shift
        return None
    quantiles = stats.norm.isf(level / 2) + stats.norm.ppf(POWER)
    return _whole(quantiles**2 / (6 * (larger - 0.5) ** 2))


def traces_for_homogeneity(effect: float, categories: int, level: float) -> int | None:
    """The sample size of each group for the chi-square test to find an effect (Cohen's w)."""
    if not effect:
        return None
    power = GofChisquarePower()
    needed = power.solve_power(effect, alpha=level, power=POWER, n_bins=categories)
    return _whole(float(np.ravel(needed)[0]) / 2)


def _whole(needed: float) -> int | None:
    return math.ceil(needed) if needed < _MOST else None


def _hodges_lehmann(values: Values, base: Values) -> Estimate:
    """The estimate and its interval from sorted samples, in memory that is linear in their size."""
    pairs = len(values) * len(base)
    largest = max(abs(float(it)) for it in (values[0], values[-1], base[0], base[-1]))
    digits = _DIGITS - math.ceil(math.log10(largest)) if largest else _DIGITS

    def nth(rank: int) -> float:
        """The difference of a rank, by bisection."""
        low, high = float(values[0] - base[-1]), float(values[-1] - base[0])
        if pairs - int(np.searchsorted(base, values - low).sum()) >= rank:
            return low
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if not low < middle < high:
                break
            enough = pairs - int(np.searchsorted(base, values - middle).sum()) >= rank
            low, high = (low, middle) if enough else (middle, high)
        return round(high, digits)

    middle = (nth((pairs + 1) // 2) + nth(pairs // 2 + 1)) / 2
    deviation = math.sqrt(pairs * (len(values) + len(base) + 1) / 12)
    first = math.floor(pairs / 2 - stats.norm.isf((1 - CONFIDENCE) / 2) * deviation)
    if first < 1:
        return Estimate(middle, None, None)
    return Estimate(middle, nth(first), nth(pairs - first + 1))
