"""The causes of a difference: how much of it each span, kind of error and model accounts for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from otel_mlflow_context.compare.explain import estimates
from otel_mlflow_context.compare.explain.features import Error, Features, Usage
from otel_mlflow_context.compare.explain.result import Calls, Cause
from otel_mlflow_context.compare.statistics import Values

MOST: Final = 50
"""Causes of a metric that are tested; those of the smallest sum are left to the rest."""

Traces = Sequence[Features]


def of_latency(candidate: Traces, baseline: Traces) -> list[Cause]:
    """By span name: the time on the critical path."""
    return [
        _of_means(
            {"span": name},
            candidate,
            baseline,
            lambda it, name=name: it.path_ms.get(name),  # type: ignore[misc]  # mypy and defaults
            calls=(_calls(baseline, name), _calls(candidate, name)),
            path=_path((*candidate, *baseline), name),
        )
        for name in _largest(candidate, baseline, lambda it: it.path_ms)
    ]


def of_errors(candidate: Traces, baseline: Traces) -> list[Cause]:
    """By the span where it began, the type of the exception and its masked message."""
    counts = [Counter(it.error for it in traces if it.error) for traces in (candidate, baseline)]
    totals = (len(candidate), len(baseline))
    found = []
    for error, _ in (counts[0] + counts[1]).most_common(MOST):
        count, base_count = counts[0][error], counts[1][error]
        found.append(
            Cause(
                names=error._asdict(),
                test=estimates.of_shares(count, totals[0], base_count, totals[1]),
                baseline=base_count / totals[1],
                candidate=count / totals[0],
                new=not base_count,
                trace_id=_with_error(candidate, error) or _with_error(baseline, error),
            )
        )
    return found


def of_usage(
    candidate: Traces, baseline: Traces, usage_of: Callable[[Features], Mapping[Usage, float]]
) -> list[Cause]:
    """By model and span: the tokens or the cost."""
    return [
        _of_means(
            usage._asdict(),
            candidate,
            baseline,
            lambda it, usage=usage: usage_of(it).get(usage),  # type: ignore[misc]  # as above
        )
        for usage in _largest(candidate, baseline, usage_of)
    ]


def values(traces: Traces, value_of: Callable[[Features], float | None]) -> Values:
    """A number of each trace, 0 where it has none."""
    return np.array([value_of(it) or 0.0 for it in traces], dtype=np.float64)


def _of_means(
    names: Mapping[str, str],
    candidate: Traces,
    baseline: Traces,
    value_of: Callable[[Features], float | None],
    **more: Any,
) -> Cause:
    found, base = values(candidate, value_of), values(baseline, value_of)
    most = candidate[int(found.argmax())]
    return Cause(
        names=names,
        test=estimates.of_means(found, base),
        baseline=float(base.mean()),
        candidate=float(found.mean()),
        new=all(value_of(it) is None for it in baseline),
        trace_id=most.trace_id if value_of(most) is not None else None,
        **more,
    )


def _largest(
    candidate: Traces, baseline: Traces, values_of: Callable[[Features], Mapping[Any, float]]
) -> list[Any]:
    """The names with the largest sums, in both versions alike: a choice that does not depend on
    the difference leaves its test valid."""
    sums: Counter[Hashable] = Counter()
    for traces in (candidate, baseline):
        for trace in traces:
            for name, value in values_of(trace).items():
                sums[name] += value / len(traces)  # type: ignore[assignment]  # counts of any kind
    return [name for name, _ in sums.most_common(MOST)]


def _calls(traces: Traces, name: str) -> Calls:
    found = [it.calls[name] for it in traces if name in it.calls]
    count = sum(it for it, _ in found)
    duration = sum(it for _, it in found)
    return Calls(count / len(traces), duration / count if count else None)


def _path(traces: Traces, name: str) -> tuple[str, ...]:
    paths = Counter(it.paths[name] for it in traces if name in it.paths)
    return paths.most_common(1)[0][0] if paths else ()


def _with_error(traces: Traces, error: Error) -> str | None:
    return next((it.trace_id for it in traces if it.error == error), None)
