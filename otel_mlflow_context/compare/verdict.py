"""The tests of a comparison, adjusted for their number, and the verdict of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from otel_mlflow_context.compare.metrics import METRICS, Metric, Outcome
from otel_mlflow_context.compare.result import Change, Difference, Group, Verdict
from otel_mlflow_context.compare.statistics import holm

LEVEL: Final = 0.05
"""Of all tests of a comparison together. They are two-sided, so equal versions are found to be
worse about half as often."""


def judge(
    baseline: Group,
    candidates: Sequence[Group],
    metrics: Sequence[Metric] = METRICS,
    level: float = LEVEL,
) -> list[Difference]:
    """Compare each candidate with the baseline in each metric that both have.

    The p-values are adjusted for their number (Holm), so that the probability of any false finding
    among equal groups is at most `level`.
    """
    tests = [
        (group.value, metric, outcome)
        for group in candidates
        for metric, outcome in _outcomes(baseline, group, metrics)
    ]
    adjusted = holm([outcome.p_value for _, _, outcome in tests])
    changes: dict[str, dict[str, Change]] = {group.value: {} for group in candidates}
    for (value, metric, outcome), p_value in zip(tests, adjusted, strict=True):
        verdict = verdict_of(metric, outcome) if p_value <= level else Verdict.NO_EVIDENCE
        no_evidence = verdict is Verdict.NO_EVIDENCE
        changes[value][metric.name] = Change(
            difference=outcome.difference,
            p_value=outcome.p_value,
            corrected_p_value=p_value,
            verdict=verdict,
            traces_needed=outcome.traces_needed(level / len(tests)) if no_evidence else None,
            larger=outcome.larger,
        )
    return [Difference(value, found) for value, found in changes.items()]


def _outcomes(
    baseline: Group, candidate: Group, metrics: Sequence[Metric]
) -> Iterator[tuple[Metric, Outcome]]:
    for metric in metrics:
        found, base = candidate.observed.get(metric.name), baseline.observed.get(metric.name)
        if metric.tested and found is not None and base is not None:
            outcome = found.compare(base, metric.limit)
            if outcome is not None:
                yield metric, outcome


def verdict_of(metric: Metric, outcome: Outcome) -> Verdict:
    """What a difference that is more than chance is."""
    if metric.better is None or outcome.increase is None:
        return Verdict.DIFFERENT
    worse = outcome.increase == (metric.better == "lower")
    return Verdict.WORSE if worse else Verdict.BETTER
