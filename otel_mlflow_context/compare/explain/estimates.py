"""Differences of means and of shares, with intervals and tests, by scipy and statsmodels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.weightstats import DescrStatsW

from otel_mlflow_context.compare import statistics
from otel_mlflow_context.compare.explain.result import Test
from otel_mlflow_context.compare.statistics import CONFIDENCE, Estimate, Values

Stratum = tuple[Values, Values]
"""The values of the candidate's traces and of the baseline's."""
_ROUNDING: Final = 1e-12


def of_means(values: Values, base: Values) -> Test:
    """Welch's test, which does not assume equal variances; both must have a value."""
    difference = float(values.mean() - base.mean())
    if min(len(values), len(base)) < 2:  # noqa: PLR2004  # no variance
        return Test(Estimate(difference, None, None), 1.0)
    if _constant(values) and _constant(base):
        # No variance to divide by: equal in all traces, or different in all.
        same = _constant(np.concatenate([values, base]))
        return Test(Estimate(difference, difference, difference), float(same))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of the two is constant
        found = stats.ttest_ind(values, base, equal_var=False)
    interval = found.confidence_interval(CONFIDENCE)
    return Test(
        Estimate(difference, float(interval.low), float(interval.high)), float(found.pvalue)
    )


def of_shares(count: int, total: int, base_count: int, base_total: int) -> Test:
    """Fisher's exact test and Newcombe's interval."""
    counts = (count, total, base_count, base_total)
    return Test(statistics.newcombe(*counts), statistics.fisher(*counts))


def difference(stratum: Stratum) -> Estimate:
    """The difference of the means of a stratum, with the interval of Welch's test."""
    return of_means(*stratum).difference


def interaction(inside: Stratum, outside: Stratum) -> Test:
    """How much larger the difference is inside than outside."""
    value = _difference(inside) - _difference(outside)
    return _normal(value, _variance(inside) + _variance(outside))


def within(strata: Sequence[Stratum], base_total: int) -> Test:
    """The difference at the baseline's mix (direct standardization)."""
    weights = [len(base) / base_total for _, base in strata]
    value = math.fsum(w * _difference(it) for w, it in zip(weights, strata, strict=True))
    variance = math.fsum(w * w * _variance(it) for w, it in zip(weights, strata, strict=True))
    return _normal(value, variance)


def same_mix(counts: Sequence[tuple[int, int]]) -> float:
    """The p-value of the chi-square test that two distributions over strata are the same."""
    return float(stats.chi2_contingency(np.array(counts).T).pvalue)


def mantel_haenszel(strata: Sequence[Stratum]) -> Estimate | None:
    """The odds ratio of a property, pooled over the strata; None without one."""
    tables = []
    for values, base in strata:
        hits, base_hits = float(values.sum()), float(base.sum())
        table = [[hits, len(values) - hits], [base_hits, len(base) - base_hits]]
        tables.append(np.array(table))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # strata without errors: the result tells
        found = StratifiedTable(tables)
        low, high = found.oddsratio_pooled_confint(1 - CONFIDENCE)
        ratio = float(found.oddsratio_pooled)
    known = all(map(math.isfinite, (ratio, low, high)))
    return Estimate(ratio, float(low), float(high)) if known else None


def _constant(values: Values) -> bool:
    """Whether values are equal, but for the rounding of their sums."""
    return bool(np.ptp(values) <= _ROUNDING * np.abs(values).max())


def _difference(stratum: Stratum) -> float:
    values, base = stratum
    return float(values.mean() - base.mean())


def _variance(stratum: Stratum) -> float:
    """Of the difference of the means.

    One trace more of each kind of outcome keeps a share of 0 or 1 from being certain.
    """
    return sum(_squared_error(values) for values in stratum)


def _squared_error(values: Values) -> float:
    if np.isin(values, (0.0, 1.0)).all():
        share = (values.sum() + 1) / (len(values) + 2)
        return float(share * (1 - share) / len(values))
    return float(DescrStatsW(values).std_mean) ** 2


def _normal(value: float, variance: float) -> Test:
    deviation = math.sqrt(variance)
    if not deviation:
        return Test(Estimate(value, value, value), float(value == 0))
    low, high = stats.norm.interval(CONFIDENCE, value, deviation)
    p_value = float(2 * stats.norm.sf(abs(value) / deviation))
    return Test(Estimate(value, float(low), float(high)), p_value)
