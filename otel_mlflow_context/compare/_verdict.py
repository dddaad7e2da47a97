"""From the numbers of groups to what they say: every test, the correction for many, a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from otel_mlflow_context.compare import _statistics as statistics
from otel_mlflow_context.compare._result import Change, Difference, Group, Verdict
from otel_mlflow_context.compare._statistics import Estimate

LEVEL: Final = 0.05
"""Of all tests of a comparison together. Each is two-sided, so "worse" is said of versions that are
the same about half as often."""


@dataclass(frozen=True)
class _Test:
    difference: Estimate
    p_value: float
    is_more: bool
    larger: float | None = None
    shares: tuple[float, float] | None = None

    def traces_needed(self, level: float) -> int | None:
        if self.shares is not None:
            return statistics.traces_for_shares(*self.shares, level)
        return None if self.larger is None else statistics.traces_for_shift(self.larger, level)


def judge(baseline: Group, candidates: Sequence[Group], level: float = LEVEL) -> list[Difference]:
    """Compare each candidate with the baseline, in errors and in latency.

    The tests are corrected for their number after Holm: that any is wrong about groups that are the
    same has at most the probability `level`.
    """
    tests = [(_errors(it, baseline), _latency(it, baseline)) for it in candidates]
    done = [test for pair in tests for test in pair if test is not None]
    corrected = iter(statistics.holm([test.p_value for test in done]))

    def change(test: _Test | None) -> Change | None:
        if test is None:
            return None
        p_value = next(corrected)
        verdict = Verdict.NO_EVIDENCE
        if p_value <= level:
            verdict = Verdict.WORSE if test.is_more else Verdict.BETTER
        no_evidence = verdict is Verdict.NO_EVIDENCE
        return Change(
            difference=test.difference,
            p_value=test.p_value,
            corrected_p_value=p_value,
            verdict=verdict,
            traces_needed=test.traces_needed(level / len(done)) if no_evidence else None,
            larger=test.larger,
        )

    return [
        Difference(group.value, errors=change(errors), latency=change(latency))
        for group, (errors, latency) in zip(candidates, tests, strict=True)
    ]


def _errors(group: Group, base: Group) -> _Test | None:
    if not group.finished or not base.finished:
        return None
    counts = (group.errors, group.finished, base.errors, base.finished)
    shares = (group.errors / group.finished, base.errors / base.finished)
    return _Test(
        difference=statistics.newcombe(*counts),
        p_value=statistics.fisher(*counts),
        is_more=shares[0] > shares[1],
        shares=shares,
    )


def _latency(group: Group, base: Group) -> _Test | None:
    if group.latencies is None or base.latencies is None:
        return None
    if not len(group.latencies) or not len(base.latencies):
        return None
    found = statistics.shift(group.latencies, base.latencies)
    return _Test(
        difference=found.typical,
        p_value=found.p_value,
        is_more=found.larger > 0.5,  # noqa: PLR2004  # no side
        larger=found.larger,
    )
