"""Explaining a difference: the causes, segments and mixes of each metric, and their correction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_mlflow_context.compare.explain import causes, estimates, segments
from otel_mlflow_context.compare.explain.features import Features, Usage
from otel_mlflow_context.compare.explain.result import (
    Calls,
    Cause,
    Explanation,
    Mix,
    Part,
    Segment,
    Test,
)
from otel_mlflow_context.compare.metrics import COST, ERRORS, LATENCY, TOKENS
from otel_mlflow_context.compare.statistics import holm

Traces = Sequence[Features]


@dataclass(frozen=True)
class _Row:
    """How a metric is explained."""

    metric: str
    number_of: Callable[[Features], float | None]
    """Of a trace; None of one that does not count."""
    causes: Callable[[Traces, Traces], list[Cause]]


_ROWS: Final = (
    _Row(ERRORS.name, lambda it: it.failed, causes.of_errors),
    _Row(LATENCY.name, lambda it: it.latency if it.calls else None, causes.of_latency),
    _Row(TOKENS.name, lambda it: it.tokens, lambda a, b: causes.of_usage(a, b, _tokens_of)),
    _Row(COST.name, lambda it: it.cost, lambda a, b: causes.of_usage(a, b, _cost_of)),
)


def explain(  # noqa: PLR0913  # a question has many parts
    candidates: Mapping[str, Traces],
    baseline: Traces,
    *,
    by: str,
    level: float,
    link: Callable[[str], str | None] = lambda _: None,
    computed: Mapping[str, tuple[Mapping[str, Calls], Mapping[str, Calls]]] | None = None,
) -> tuple[Explanation, ...]:
    """Explain how each candidate differs from the baseline.

    Args:
        candidates: the traces of each, by its value.
        baseline: those of the baseline.
        by: the metadata key that tells them apart.
        level: a p-value of at most this, adjusted for all tests together, is significant.
        link: the address of a trace in MLflow's UI.
        computed: the calls of all traces, of the baseline and of each candidate by its value.
    """
    found = []
    for value, candidate in candidates.items():
        facts = segments.facts(candidate, baseline, by)
        parts = [it for row in _ROWS if (it := _part(row, candidate, baseline, facts)) is not None]
        found.append(Explanation(value, tuple(parts), (len(baseline), len(candidate))))
    adjusted = iter(holm([p for it in found for part in it.parts for p in _p_values(part)]))
    return tuple(
        replace(
            it,
            parts=tuple(
                _finished(
                    _corrected(part, adjusted.__next__), level, link, (computed or {}).get(it.value)
                )
                for part in it.parts
            ),
        )
        for it in found
    )


def _tokens_of(trace: Features) -> Mapping[Usage, float]:
    return trace.tokens_of


def _cost_of(trace: Features) -> Mapping[Usage, float]:
    return trace.cost_of


def _part(
    row: _Row, all_candidate: Traces, all_baseline: Traces, facts: Sequence[str]
) -> Part | None:
    candidate = [it for it in all_candidate if row.number_of(it) is not None]
    baseline = [it for it in all_baseline if row.number_of(it) is not None]
    if not candidate or not baseline:
        return None
    numbers = [causes.values(traces, row.number_of) for traces in (candidate, baseline)]
    is_share = row.metric == ERRORS.name
    if is_share:
        test = estimates.of_shares(
            int(numbers[0].sum()), len(candidate), int(numbers[1].sum()), len(baseline)
        )
    else:
        test = estimates.of_means(numbers[0], numbers[1])
    found = row.causes(candidate, baseline)
    mixes = (
        segments.mix(candidate, baseline, key, row.number_of, is_share=is_share) for key in facts
    )
    return Part(
        metric=row.metric,
        test=test,
        baseline=float(numbers[1].mean()),
        candidate=float(numbers[0].mean()),
        traces=(len(baseline), len(candidate)),
        causes=tuple(found),
        rest=test.difference.value - sum(it.test.difference.value for it in found),
        segments=tuple(
            it for key in facts for it in segments.segments(candidate, baseline, key, row.number_of)
        ),
        mixes=tuple(it for it in mixes if it is not None),
    )


# --- Correction --------------------------------------------------------------------------------


def _p_values(part: Part) -> list[float]:
    tests = [part.test, *(it.test for it in part.causes), *(it.test for it in part.segments)]
    tests += [it.within for it in part.mixes]
    return [it.p_value for it in tests] + [it.p_value for it in part.mixes]


def _corrected(part: Part, following: Callable[[], float]) -> Part:
    """A part with the adjusted p-values, in the order of `_p_values`."""

    def corrected(test: Test) -> Test:
        return replace(test, corrected_p_value=following())

    test = corrected(part.test)
    found = tuple(replace(it, test=corrected(it.test)) for it in part.causes)
    where = tuple(replace(it, test=corrected(it.test)) for it in part.segments)
    mixes = tuple(replace(it, within=corrected(it.within)) for it in part.mixes)
    mixes = tuple(replace(it, corrected_p_value=following()) for it in mixes)
    return replace(part, test=test, causes=found, segments=where, mixes=mixes)


# --- Order -------------------------------------------------------------------------------------


def _finished(
    part: Part,
    level: float,
    link: Callable[[str], str | None],
    computed: tuple[Mapping[str, Calls], Mapping[str, Calls]] | None,
) -> Part:
    """A part in its order, with links, and the calls of all traces where they are known."""
    worse = part.test.difference.value >= 0

    def of_cause(cause: Cause) -> tuple[bool, bool, float]:
        known = part.metric == ERRORS.name and not cause.new
        return cause.test.corrected_p_value > level, known, -abs(cause.test.difference.value)

    def of_segment(segment: Segment) -> tuple[bool, bool, float]:
        value = segment.test.difference.value
        return segment.test.corrected_p_value > level, (value >= 0) != worse, -abs(value)

    def of_mix(mix: Mix) -> tuple[bool, float]:
        return mix.corrected_p_value > level, -abs(mix.of_mix)

    return replace(
        part,
        causes=tuple(
            replace(
                it,
                link=it.trace_id and link(it.trace_id),
                calls=_of_all_traces(it, computed) or it.calls,
            )
            for it in sorted(part.causes, key=of_cause)
        ),
        segments=tuple(sorted(part.segments, key=of_segment)),
        mixes=tuple(sorted(part.mixes, key=of_mix)),
    )


def _of_all_traces(
    cause: Cause, computed: tuple[Mapping[str, Calls], Mapping[str, Calls]] | None
) -> tuple[Calls, Calls] | None:
    if cause.calls is None or computed is None:
        return None
    name = cause.names["span"]
    none = Calls(0.0, None, of_all_traces=True)
    return computed[0].get(name, none), computed[1].get(name, none)
