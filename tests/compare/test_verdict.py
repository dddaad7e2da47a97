"""A verdict is right as often as it promises, and says what it would take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from otel_mlflow_context.compare import Verdict
from otel_mlflow_context.compare.metrics import Distribution, Share
from otel_mlflow_context.compare.result import Group, overall
from otel_mlflow_context.compare.verdict import LEVEL, judge


def group(value: str, errors: int, finished: int, latencies: Any) -> Group:
    return Group(
        value=value,
        traces=finished,
        all_counted=True,
        sampled=len(latencies),
        observed={"errors": Share(errors, finished), "latency": Distribution.of(latencies)},
    )


def drawn(dice: np.random.Generator, value: str, count: int = 300, slower: float = 1.0) -> Group:
    # Whole milliseconds, as MLflow has them, so that there are ties.
    latencies = np.round(dice.lognormal(5, 0.6, count) * slower)
    return group(value, int(dice.binomial(count, 0.05)), count, latencies)


@pytest.mark.long
@pytest.mark.parametrize("candidates", [1, 4])
def test_versions_that_are_the_same_are_said_to_be_worse_no_more_often_than_promised(
    candidates: int,
) -> None:
    dice = np.random.default_rng(20261124)
    verdicts = [
        overall(
            it.verdict
            for it in judge(
                drawn(dice, "old"), [drawn(dice, f"new {n}") for n in range(candidates)]
            )
        )
        for _ in range(200)
    ]
    assert verdicts.count(Verdict.WORSE) / 200 <= LEVEL
    differ = verdicts.count(Verdict.WORSE) + verdicts.count(Verdict.BETTER)
    assert differ / 200 <= LEVEL + 0.02


def test_a_version_that_is_slower_or_fails_more_is_worse() -> None:
    dice = np.random.default_rng(1)
    base = drawn(dice, "old")
    [slower] = judge(base, [drawn(dice, "new", slower=1.3)])
    assert slower.latency.verdict is Verdict.WORSE
    assert slower.latency.larger > 0.5
    assert 0 < slower.latency.difference.low < slower.latency.difference.value
    [failing] = judge(base, [group("new", 90, 300, base.latencies)])
    assert (failing.errors.verdict, failing.latency.verdict) == (
        Verdict.WORSE,
        Verdict.NO_EVIDENCE,
    )
    assert slower.verdict is failing.verdict is Verdict.WORSE


def test_a_version_that_is_quicker_is_better_and_one_that_fails_quicker_is_worse() -> None:
    dice = np.random.default_rng(1)
    base, quick = drawn(dice, "old"), drawn(dice, "new", slower=0.7)
    [better] = judge(base, [quick])
    assert better.verdict is Verdict.BETTER
    [worse] = judge(base, [group("new", 150, 300, quick.latencies)])
    assert worse.latency.verdict is Verdict.BETTER
    assert worse.verdict is Verdict.WORSE


def test_no_evidence_says_how_many_traces_it_would_take() -> None:
    same = np.arange(1.0, 101.0)
    [found] = judge(group("old", 2, 100, same), [group("new", 5, 100, same + 3)])
    assert found.verdict is Verdict.NO_EVIDENCE
    assert found.errors.traces_needed > 100
    assert found.latency.traces_needed > 100
    [none] = judge(group("old", 2, 100, same), [group("new", 2, 100, same)])
    assert (none.errors.traces_needed, none.latency.traces_needed) == (None, None)


def test_more_candidates_need_stronger_evidence() -> None:
    base = group("old", 10, 400, [1.0])
    candidate = group("new", 26, 400, [1.0])
    others = [group(f"other {n}", 10, 400, [1.0]) for n in range(9)]
    [alone] = judge(base, [candidate])
    among = judge(base, [candidate, *others])[0]
    assert alone.errors.p_value == among.errors.p_value
    assert alone.errors.corrected_p_value < LEVEL < among.errors.corrected_p_value


def test_what_is_not_known_is_not_judged() -> None:
    [found] = judge(group("old", 1, 10, [1.0, 2.0]), [group("new", 0, 0, [])])
    assert (found.errors, found.latency) == (None, None)
    assert found.verdict is Verdict.NO_EVIDENCE


def test_one_trace_is_no_evidence() -> None:
    dice = np.random.default_rng(1)
    [found] = judge(drawn(dice, "old"), [group("new", 1, 1, [10_000.0])])
    assert found.verdict is Verdict.NO_EVIDENCE
    assert (found.latency.difference.low, found.latency.difference.high) == (None, None)
