"""Equal versions are said to be worse no more often than promised, with assessments too.

`PYTHONPATH=tests python tests/compare/quality/test_false_alarms.py 2000` simulates as many.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

import pytest

from otel_mlflow_context.compare import Verdict
from otel_mlflow_context.compare.metrics import METRICS
from otel_mlflow_context.compare.quality.feedback import GroupFeedback, feedback_of
from otel_mlflow_context.compare.quality.kinds import kind_of
from otel_mlflow_context.compare.result import Group
from otel_mlflow_context.compare.sample import Sample
from otel_mlflow_context.compare.sources.assessments import Assessment, Judge
from otel_mlflow_context.compare.sources.base import Trace
from otel_mlflow_context.compare.verdict import LEVEL, judge

NAMES = ("correct", "score", "tone")


def sample(dice: random.Random, traces: int) -> Sample:
    """Of a version: errors, latency, tokens, cost, and three assessments of half of the traces."""
    found = Sample(METRICS)
    for number in range(traces):
        tokens = int(dice.lognormvariate(6, 0.4))
        assessments = [
            Assessment(name, Judge("CODE", "judge", ""), 0, value, failed=False)
            for name, value in (
                ("correct", dice.random() < 0.9),
                ("score", float(dice.choices(range(1, 6), (1, 1, 2, 5, 9))[0])),
                ("tone", dice.choices(("warm", "cold", "flat"), (6, 3, 1))[0]),
            )
        ]
        found.add(
            Trace(
                number,
                round(dice.lognormvariate(6, 0.5)),
                "ERROR" if dice.random() < 0.03 else "OK",
                {
                    "mlflow.trace.tokenUsage": f'{{"total_tokens": {tokens}}}',
                    "mlflow.trace.cost": f'{{"total_cost": {tokens * 2e-6}}}',
                },
                assessments=assessments if dice.random() < 0.5 else (),
            )
        )
    return found


def verdict(seed: int, traces: int = 300) -> Verdict:
    """Of two equal versions."""
    dice = random.Random(seed)
    samples = [sample(dice, traces) for _ in range(2)]
    kinds = [
        kind_of(name, [it.judged.get(name, GroupFeedback()) for it in samples], None)
        for name in NAMES
    ]
    groups = [
        Group(
            str(number),
            len(it),
            all_counted=True,
            sampled=len(it),
            observed=it.observed()
            | {
                of.metric.name: of.observation(it.judged[of.metric.assessment])
                for of in kinds
                if of
            },
        )
        for number, it in enumerate(samples)
    ]
    rows = (*METRICS, *(of.metric for of in kinds if of))
    assert len(rows) == 7
    [found] = judge(groups[0], groups[1:], rows)
    assert len(found.changes) == 7
    return found.verdict


@pytest.mark.long
def test_equal_versions_are_seldom_worse() -> None:
    found = Counter(verdict(seed) for seed in range(60))
    # More would come up less than once in 200 times.
    assert found[Verdict.WORSE] <= 5
    assert found[Verdict.NO_EVIDENCE] >= 60 * (1 - LEVEL) - 6


@pytest.mark.long
def test_one_trace_has_one_judgement_a_name() -> None:
    human, other = Judge("HUMAN", "ada", ""), Judge("HUMAN", "ada", "span")
    found = feedback_of(
        [
            Assessment("ok", human, 2, value=True, failed=False),
            Assessment("ok", human, 1, value=False, failed=False),
            Assessment("ok", human, 3, value=None, failed=True),
            Assessment("ok", other, 1, value=False, failed=False),
            Assessment("listed", human, 1, value=None, failed=False),
        ]
    )
    assert found["ok"].values == (False, True)
    assert (found["ok"].failed, found["listed"].unusable) == (1, True)


if __name__ == "__main__":
    runs = int(sys.argv[1])
    print({str(it): of for it, of in Counter(map(verdict, range(runs))).items()}, "of", runs)
