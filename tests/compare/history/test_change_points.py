"""Where a change is marked: the statistics agree with scipy's, and hold what they promise."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import history as simulation

from otel_mlflow_context.compare import Verdict
from otel_mlflow_context.compare.history.result import Timeline
from otel_mlflow_context.compare.history.series import Counts, Ranks, largest_difference

pytestmark = pytest.mark.long

DICE = np.random.default_rng(1)
NUMBERS = [DICE.integers(0, 30, size) + 2.0 * (at > 2) for at, size in enumerate((9, 1, 20, 14))]
TEXTS = np.array([[5, 3, 1], [0, 2, 2], [9, 9, 0], [2, 7, 30]])


def test_of_numbers_the_difference_is_that_of_the_mann_whitney_test() -> None:
    scan = Ranks(NUMBERS)
    for at, found in enumerate(scan.statistics(scan.sums), 1):
        before, after = np.concatenate(NUMBERS[:at]), np.concatenate(NUMBERS[at:])
        expected = stats.mannwhitneyu(before, after, use_continuity=False, method="asymptotic")
        assert stats.chi2.sf(found, 1) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("counts", [TEXTS, TEXTS[:, :2]])
def test_of_shares_it_is_that_of_the_likelihood_ratio_test(counts: np.ndarray) -> None:
    scan = Counts(counts)
    for at, found in enumerate(scan.statistics(scan.sums), 1):
        table = [counts[:at].sum(axis=0), counts[at:].sum(axis=0)]
        expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        assert found == pytest.approx(expected.statistic)


def test_the_p_value_is_the_share_of_all_ways_to_deal_out_the_traces() -> None:
    values = np.array([1.0, 2.0, 3.0, 5.0, 4.0, 6.0, 6.0])
    sizes = (2, 3, 2)

    def largest(order: tuple[float, ...]) -> float:
        scan = Ranks(np.split(np.array(order), np.cumsum(sizes)[:-1]))
        return float(scan.statistics(scan.sums).max())

    observed = largest(tuple(values))
    ways = [largest(order) for order in itertools.permutations(values)]
    expected = np.mean(np.array(ways) >= observed - 1e-9)
    found, place = largest_difference(Ranks(np.split(values, np.cumsum(sizes)[:-1])), 4_999)
    assert place == 1
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("counts", [TEXTS, TEXTS[:, :2]])
def test_what_is_dealt_out_has_the_same_sums(counts: np.ndarray) -> None:
    tables = Counts(counts).draws(np.random.default_rng(2), 50).reshape(50, *counts.shape)
    assert (tables.sum(axis=2) == counts.sum(axis=1)).all()
    assert (tables.sum(axis=1) == counts.sum(axis=0)).all()
    assert len(np.unique(tables, axis=0)) > 10


def test_equal_versions_are_seldom_marked() -> None:
    marked = sum(
        bool(simulation.changes(simulation.NOTHING, seed, traces=40)) for seed in range(40)
    )
    # At the promised level, more would come up less than once in 200 times.
    assert marked <= 5


@pytest.mark.parametrize("planted", [simulation.SLOWER, simulation.ERROR, simulation.SCORE])
def test_a_planted_change_is_found_at_its_version(planted: str) -> None:
    assert [simulation.located(planted, seed) for seed in range(2)] == [0, 0]


def test_what_was_mended_is_found_twice_and_is_not_worse_any_more() -> None:
    found = simulation.changes(simulation.MENDED, 1, at=8)
    assert [(it.value, it.previous, it.verdict) for it in found] == [
        ("8", "7", Verdict.WORSE),
        ("13", "12", Verdict.BETTER),
    ]
    for change in found:
        shift = change.shifts["latency"]
        assert int(shift.earliest) <= int(change.value) <= int(shift.latest)
        assert shift.p_value <= shift.corrected_p_value < 0.04
    of = {"versions": (), "groups": (), "order": "", "notes": (), "where": "", "by": ""}
    history = Timeline(
        **of,
        changes=tuple(found),
        start_ms=None,
        experiment="",
        source="",
        aggregated=True,
        level=1,
    )
    assert history.verdict is Verdict.BETTER
