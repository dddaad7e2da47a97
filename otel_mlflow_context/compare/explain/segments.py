"""Where a difference is concentrated: by each fact that the traces have, and by its mix."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from otel_mlflow_context.compare.explain import estimates
from otel_mlflow_context.compare.explain.estimates import Stratum
from otel_mlflow_context.compare.explain.features import Features
from otel_mlflow_context.compare.explain.result import Mix, Segment
from otel_mlflow_context.compare.statistics import Values
from otel_mlflow_context.semconv import MLFLOW_METADATA, MLFLOW_TRACE_SESSION, MLFLOW_TRACE_USER

ABSENT: Final = ""
"""The value of a trace that does not have the fact."""
MOST_VALUES: Final = 20
"""Of a fact with more, such as an id, each value has too few traces."""
FEWEST_TRACES: Final = 10
"""Of each version in a stratum: with fewer there is no difference to speak of."""

Traces = Sequence[Features]
Strata = dict[str, Stratum]


def facts(candidate: Traces, baseline: Traces, by: str) -> list[str]:
    """The metadata keys that divide the traces of both versions into the same strata.

    Declared keys, feature flags and the known facts; not MLflow's own bookkeeping, sessions and
    users, or what differs with the version itself, such as the commit.
    """
    found = []
    for key in sorted({key for it in (*candidate, *baseline) for key in it.metadata}):
        known = key in MLFLOW_METADATA and key not in {MLFLOW_TRACE_SESSION, MLFLOW_TRACE_USER}
        if key == by or (key.startswith("mlflow.") and not known):
            continue
        counts = [Counter(map(_value_of(key), traces)) for traces in (candidate, baseline)]
        shared = [
            it for it in counts[0] if min(counts[0][it], counts[1].get(it, 0)) >= FEWEST_TRACES
        ]
        if shared and 2 <= len(counts[0] | counts[1]) <= MOST_VALUES:  # noqa: PLR2004  # one is all
            found.append(key)
    return found


def segments(
    candidate: Traces,
    baseline: Traces,
    key: str,
    number_of: Callable[[Features], float | None],
) -> Iterator[Segment]:
    """For each value of a fact, the difference inside and elsewhere."""
    strata = _strata(candidate, baseline, key, number_of)
    for value, stratum in strata.items():
        others = [it for other, it in strata.items() if other != value]
        if not others or not _usable(stratum):
            continue
        outside = tuple(np.concatenate([it[side] for it in others]) for side in (0, 1))
        elsewhere: Stratum = (outside[0], outside[1])
        if not _usable(elsewhere):
            continue
        yield Segment(
            key=key,
            value=value,
            traces=(len(stratum[1]), len(stratum[0])),
            inside=estimates.difference(stratum),
            elsewhere=estimates.difference(elsewhere),
            test=estimates.interaction(stratum, elsewhere),
        )


def mix(
    candidate: Traces,
    baseline: Traces,
    key: str,
    number_of: Callable[[Features], float | None],
    *,
    is_share: bool,
) -> Mix | None:
    """How much of a difference the changed mix of a fact makes; None without a common stratum."""
    strata = _strata(candidate, baseline, key, number_of)
    usable = [it for it in strata.values() if _usable(it)]
    if len(strata) < 2 or not usable:  # noqa: PLR2004  # one is all
        return None
    totals = [sum(len(it[side]) for it in strata.values()) for side in (0, 1)]
    means = [sum(float(it[side].sum()) for it in strata.values()) / totals[side] for side in (0, 1)]
    raw = means[0] - means[1]
    within = estimates.within(usable, sum(len(base) for _, base in usable))
    low, high = within.difference.low, within.difference.high
    return Mix(
        key=key,
        within=within,
        of_mix=raw - within.difference.value,
        p_value=estimates.same_mix([(len(a), len(b)) for a, b in strata.values()]),
        odds_ratio=estimates.mantel_haenszel(usable) if is_share else None,
        reversed=low is not None and high is not None and (raw > 0 > high or raw < 0 < low),
    )


def _strata(
    candidate: Traces,
    baseline: Traces,
    key: str,
    number_of: Callable[[Features], float | None],
) -> Strata:
    """The numbers of the traces of both versions by the value of a fact."""
    value_of = _value_of(key)
    found: defaultdict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for side, traces in enumerate((candidate, baseline)):
        for trace in traces:
            if (number := number_of(trace)) is not None:
                found[value_of(trace)][side].append(number)
    return {value: (_array(them[0]), _array(them[1])) for value, them in sorted(found.items())}


def _array(numbers: Sequence[float]) -> Values:
    return np.array(numbers, dtype=np.float64)


def _usable(stratum: Stratum) -> bool:
    return min(map(len, stratum)) >= FEWEST_TRACES


def _value_of(key: str) -> Callable[[Features], str]:
    return lambda it: it.metadata.get(key, ABSENT)
