"""Worse is only what is beyond the tolerance by more than chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import proportion
from versions import rows_of, write

from otel_mlflow_context.compare import Verdict, compare_versions, units
from otel_mlflow_context.compare.metrics import ERRORS, LATENCY, Distribution, Metric, Share
from otel_mlflow_context.compare.pipeline.tolerance import tolerance_of
from otel_mlflow_context.compare.result import Group
from otel_mlflow_context.compare.verdict import LEVEL, judge

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
QUALITY = replace(ERRORS, name="correct", better="higher")


def tolerant(metric: Metric, text: str) -> Metric:
    return replace(metric, tolerance=tolerance_of(metric.name, text, metric.unit))


def verdict(metric: Metric, found: Any, base: Any) -> Verdict:
    groups = [
        Group(value, 1, all_counted=True, sampled=1, observed={metric.name: it})
        for value, it in (("old", base), ("new", found))
    ]
    [difference] = judge(groups[0], groups[1:], [metric])
    return difference.verdict


@pytest.mark.parametrize(
    ("unit", "text", "amount", "relative"),
    [
        (units.DURATION, "10%", 0.1, True),
        (units.DURATION, " 50 ms", 50, False),
        (units.DURATION, "1.5s", 1500, False),
        (units.SHARE, "0.5pp", 0.005, False),
        (units.DOLLARS, ".001", 0.001, False),
        (units.NUMBER, "0", 0, False),
    ],
)
def test_a_tolerance_is_typed_as_it_is_spoken(
    unit: units.Unit, text: str, amount: float, relative: object
) -> None:
    found = tolerance_of("it", text, unit)
    assert (found.amount, found.relative) == (pytest.approx(amount), relative)


@pytest.mark.parametrize(
    ("unit", "text"),
    [(units.DURATION, "5"), (units.SHARE, "5ms"), (units.COUNT, "5pp"), (units.COUNT, "-5")],
)
def test_another_is_refused_by_name(unit: units.Unit, text: str) -> None:
    with pytest.raises(ValueError, match=r"tolerance of it must be a number such as 10% or 10"):
        tolerance_of("it", text, unit)


@pytest.mark.parametrize(
    ("metric", "text", "value", "compare"),
    [
        (ERRORS, "2pp", 0.02, "diff"),
        (ERRORS, "20%", 1.2, "ratio"),
        (QUALITY, "2pp", -0.02, "diff"),
        (QUALITY, "20%", 0.8, "ratio"),
    ],
)
def test_of_shares_it_is_statsmodels_test(
    metric: Metric, text: str, value: float, compare: str
) -> None:
    counts = (230, 1000, 120, 1000) if metric is ERRORS else (120, 1000, 230, 1000)
    expected = proportion.test_proportions_2indep(
        *counts,
        value=value,
        compare=compare,
        method="score" if compare == "ratio" else "agresti-caffo",
        alternative="larger" if value > 0 and metric is ERRORS else "smaller",
    ).pvalue
    outcome = Share(*counts[:2]).compare(Share(*counts[2:]), tolerant(metric, text).limit)
    assert outcome is not None
    assert outcome.p_value == pytest.approx(2 * expected)


@pytest.mark.parametrize(
    ("text", "shifted"), [("10%", lambda it: it * 1.1), ("30ms", lambda it: it + 30)]
)
def test_of_numbers_it_is_the_mann_whitney_test_beside_the_limit(text: str, shifted: Any) -> None:
    dice = np.random.default_rng(1)
    base, values = np.sort(dice.lognormal(5, 0.5, 200)), np.sort(dice.lognormal(5.3, 0.5, 150))
    outcome = Distribution.of(values).compare(Distribution.of(base), tolerant(LATENCY, text).limit)
    assert outcome is not None
    expected = stats.mannwhitneyu(values, shifted(base), alternative="greater").pvalue
    assert outcome.p_value == pytest.approx(2 * expected)


@settings(max_examples=200, deadline=None)
@given(
    COUNTS,
    COUNTS,
    st.sampled_from(["0.5pp", "5pp", "10%", "0%"]),
    st.sampled_from([ERRORS, QUALITY]),
)
def test_a_tolerance_makes_nothing_worse(
    found: tuple[int, int], base: tuple[int, int], text: str, metric: Metric
) -> None:
    with_it = Share(*found).compare(Share(*base), tolerant(metric, text).limit)
    assert with_it is not None
    assert 0 <= with_it.p_value <= 1
    if with_it.p_value <= 0.05 and with_it.increase == (metric.better == "lower"):
        sides = ["greater" if with_it.increase else "less"]
        table = [[it[0], it[1] - it[0]] for it in (found, base)]
        assert stats.fisher_exact(table, alternative=sides[0]).pvalue <= 0.025


@pytest.mark.long
def test_a_version_at_the_limit_is_seldom_worse_and_one_beyond_is_found() -> None:
    dice = np.random.default_rng(20261125)
    errors, latency = tolerant(ERRORS, "2pp"), tolerant(LATENCY, "10%")

    def drawn(rate: float, slower: float) -> tuple[Share, Distribution]:
        return (
            Share(int(dice.binomial(800, rate)), 800),
            Distribution.of(dice.lognormal(5, 0.5, 400) * slower),
        )

    def worse(new: Any, base: Any, metric: Metric) -> bool:
        outcome = new.compare(base, metric.limit)
        return bool(outcome.p_value <= LEVEL and outcome.increase)

    at_the_limit, beyond = [], []
    for _ in range(200):
        base = drawn(0.05, 1.0)
        for found, rate, slower in ((at_the_limit, 0.07, 1.1), (beyond, 0.14, 1.3)):
            new = drawn(rate, slower)
            found.append([worse(*it) for it in zip(new, base, (errors, latency), strict=True)])
    for number in (0, 1):
        # 2.5 % of 200 are 5; more than 12 would come up less than once in 500 times.
        assert sum(it[number] for it in at_the_limit) <= 12
        assert sum(it[number] for it in beyond) >= 180


@pytest.mark.parametrize(("rate", "count"), [(0.002, 400), (0.01, 200), (0.05, 100)])
def test_rare_errors_at_the_limit_are_seldom_worse(rate: float, count: int) -> None:
    dice = np.random.default_rng(1)
    limit = tolerant(ERRORS, "2pp").limit
    found = [
        Share(int(dice.binomial(count, rate + 0.02)), count).compare(
            Share(int(dice.binomial(count, rate)), count), limit
        )
        for _ in range(300)
    ]
    # 2.5 % of 300 are 7.5; more than 16 would come up less than once in 300 times.
    assert sum(bool(it and it.p_value <= LEVEL and it.increase) for it in found) <= 16


def test_what_is_better_is_found_without_a_limit() -> None:
    assert verdict(tolerant(ERRORS, "5pp"), Share(20, 1000), Share(60, 1000)) is Verdict.BETTER
    assert verdict(tolerant(QUALITY, "5pp"), Share(60, 1000), Share(20, 1000)) is Verdict.BETTER


def test_the_command_takes_it(command: Any, store: str) -> None:
    slow = rows_of("1.1.0", 150, seed=2)
    write(
        store,
        [
            *rows_of("1.0.0", 150),
            *(replace(it, latency_ms=round((it.latency_ms or 0) * 1.7)) for it in slow),
        ],
    )
    both = ("--baseline", "1.0.0", "--candidate", "1.1.0", "--fail-on", "worse")
    assert command(store, *both)[0] == 1
    status, out, _ = command(store, *both, "--tolerance", "latency=99%,errors=1pp")
    assert status == 0
    assert "; not beyond the tolerance of 99%" in " ".join(out.split())
    assert "beyond the tolerance: errors 1pp, latency 99%." in " ".join(out.split())
    assert command(store, *both, "--tolerance", "latency=5%")[0] == 1
    found = compare_versions(
        baseline="1.0.0", candidate="1.1.0", tolerance={"latency": "60%"}, tracking_uri=store
    )
    assert found.as_dict()["tolerance"] == {"latency": "60%"}
    for wrong, why in (
        ("latency=5", "tolerance of latency must be a number such as 10% or 10ms or 10s, got '5'"),
        ("speed=5%", "there is no metric or assessment 'speed'"),
        ("latency", "must be NAME=AMOUNT"),
    ):
        status, out, err = command(store, *both, "--tolerance", wrong)
        assert (status, out) == (2, "")
        assert why in err
