"""Intervals and tests agree with scipy, statsmodels, and what was published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportion_effectsize,
)

from otel_mlflow_context.compare import statistics

COUNTS = st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
MILLISECONDS = st.lists(st.integers(0, 50), min_size=1, max_size=30)


@given(COUNTS)
def test_a_shares_interval_is_statsmodels_wilson(counts: tuple[int, int]) -> None:
    found = statistics.wilson(*counts)
    assert found.value == counts[0] / counts[1]
    assert (found.low, found.high) == pytest.approx(
        proportion_confint(*counts, method="wilson"), abs=1e-9
    )


@given(COUNTS, COUNTS)
def test_the_interval_of_a_difference_is_statsmodels_newcombe(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    found = statistics.newcombe(*first, *second)
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=30))
def test_the_interval_of_a_mean_is_students(values: list[int]) -> None:
    found = statistics.mean(np.array(values, dtype=float))
    assert found.value == pytest.approx(np.mean(values))
    if len(set(values)) > 1:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected)
    else:
        assert (found.low, found.high) == (found.value, found.value)


def test_one_value_has_a_mean_without_an_interval() -> None:
    found = statistics.mean(np.array([4.0]))
    assert (found.value, found.low, found.high) == (4.0, None, None)


TEXTS = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        *(st.lists(st.integers(0, 40), min_size=count, max_size=count) for _ in range(2))
    )
)


@given(TEXTS)
def test_shares_of_texts_are_compared_by_chi_square_or_fisher(
    counts: tuple[list[int], list[int]],
) -> None:
    first, second = counts
    if not sum(first) or not sum(second):
        return
    p_value, effect, categories = statistics.homogeneity(first, second)
    assert 0 <= p_value <= 1
    assert effect >= 0
    table = np.array([first, second])
    if len(first) == 2 and table.sum(axis=0).all():
        assert p_value == pytest.approx(min(stats.fisher_exact(table).pvalue, 1))
    elif (
        len(first) > 2
        and table.sum(axis=0).all()
        and (stats.contingency.expected_freq(table).min() >= 5)
    ):
        assert categories == len(first)
        assert p_value == pytest.approx(stats.chi2_contingency(table).pvalue)


def test_rare_texts_count_as_one() -> None:
    with_rare = statistics.homogeneity([60, 30, 1, 2, 1, 3], [40, 50, 2, 1, 2, 1])
    assert with_rare == pytest.approx(statistics.homogeneity([60, 30, 7], [40, 50, 6]))
    assert with_rare[2] == 3


def test_with_that_many_traces_four_in_five_repetitions_find_other_shares_of_texts() -> None:
    dice = np.random.default_rng(3)
    old, new = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3])
    effect = statistics.homogeneity(*(np.round(it * 1e6).astype(int) for it in (old, new)))[1]
    count = statistics.traces_for_homogeneity(effect, 3, 0.05)
    found = [
        statistics.homogeneity(dice.multinomial(count, new), dice.multinomial(count, old))[0]
        for _ in range(500)
    ]
    assert 0.75 <= np.mean(np.array(found) <= 0.05) <= 0.86
    assert statistics.traces_for_homogeneity(0.0, 3, 0.05) is None


@pytest.mark.parametrize(
    ("counts", "published"),
    [
        # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10.
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((10, 10, 0, 10), (0.6075, 1.0000)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(
    counts: tuple[int, int, int, int], published: tuple[float, float]
) -> None:
    found = statistics.newcombe(*counts)
    assert (found.low, found.high) == pytest.approx(published, abs=5e-5)


@given(MILLISECONDS, MILLISECONDS)
def test_the_typical_difference_is_the_median_of_all(first: list[int], second: list[int]) -> None:
    found = statistics.shift(np.array(first, dtype=float), np.array(second, dtype=float))
    differences = np.subtract.outer(first, second).ravel()
    assert found.typical.value == pytest.approx(np.median(differences))
    larger = (differences > 0).mean() + (differences == 0).mean() / 2
    assert found.larger == pytest.approx(larger)
    if found.typical.low is not None and found.typical.high is not None:
        assert found.typical.low <= found.typical.value <= found.typical.high
        assert {found.typical.low, found.typical.high} <= set(differences.astype(float))


def test_the_interval_of_the_typical_difference_covers_it_as_often_as_it_says() -> None:
    dice = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        base, values = dice.lognormal(6, 0.5, 60), dice.lognormal(6, 0.5, 60) + 40
        typical = statistics.shift(values, base).typical
        covered += typical.low <= 40 <= typical.high
    assert 0.92 <= covered / 400 <= 0.98


def test_values_that_are_all_the_same_do_not_differ() -> None:
    same = np.full(50, 7.0)
    found = statistics.shift(same, same)
    assert (found.p_value, found.larger, found.typical.value) == (1.0, 0.5, 0.0)


@settings(max_examples=6)
@given(st.lists(st.integers(0, 1000).map(lambda it: it / 1000), min_size=1, max_size=12))
def test_the_correction_for_many_is_statsmodels_holm(p_values: list[float]) -> None:
    assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_the_number_of_traces_is_a_little_above_what_a_test_without_caution_needs() -> None:
    needed = statistics.traces_for_shares(0.02, 0.05, 0.05)
    plain = NormalIndPower().solve_power(proportion_effectsize(0.05, 0.02), power=0.8, alpha=0.05)
    assert needed is not None
    assert plain < needed < 1.2 * plain


@settings(max_examples=20)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_difference_needs_fewer_traces(first: float, second: float) -> None:
    half = statistics.traces_for_shares(first, (first + second) / 2, 0.05)
    whole = statistics.traces_for_shares(first, second, 0.05)
    if half and whole and abs(first - second) > 0.01:
        assert whole <= half


def test_with_that_many_traces_four_in_five_repetitions_find_the_difference() -> None:
    dice = np.random.default_rng(2)
    count = statistics.traces_for_shares(0.05, 0.12, 0.05)
    found = [
        statistics.fisher(dice.binomial(count, 0.12), count, dice.binomial(count, 0.05), count)
        for _ in range(500)
    ]
    assert 0.76 <= np.mean(np.array(found) <= 0.05) <= 0.86

    # Two normal distributions, half a deviation apart.
    larger = float(stats.norm.cdf(0.5 / np.sqrt(2)))
    count = statistics.traces_for_shift(larger, 0.05)
    found = [
        statistics.shift(dice.normal(0.5, 1, count), dice.normal(0, 1, count)).p_value
        for _ in range(500)
    ]
    assert 0.75 <= np.mean(np.array(found) <= 0.05) <= 0.86


def test_without_a_difference_no_number_of_traces_shows_one() -> None:
    assert statistics.traces_for_shares(0.1, 0.1, 0.05) is None
    assert statistics.traces_for_shift(0.5, 0.05) is None
