"""The metric table: what is measured of a trace, and how a metric of two groups is compared.

A metric is one row, and no other module knows one by its name except where a chart or a public
attribute is for it alone. A row tells how the metric is read from a trace, what the source may
compute instead, how it is written, and whether less of it is better. Its kind does the rest:

- `Share`: the traces that have a property; Wilson's interval, Fisher's exact test;
- `Distribution`: a number per trace; the Mann-Whitney test, the Hodges-Lehmann shift;
- `Choices` (`quality.choices`): one of a few texts per trace; the chi-square test.

The rows of assessments (`quality.kinds`) are made of what the traces have; all others are below.

For `explain` and `history`: `groups.measure` gives every group an observation of each metric, in
`Group.observed` by the metric's name, and `verdict.judge` compares groups with the correction for
the number of tests. What is no metric of a trace (the latency of a span, the share of an exception)
needs no row: make a `Share`, or a `Distribution.of` values, `compare` it with the baseline's,
adjust the p-values by `statistics.holm`, write it by a unit of `units`. `Selection.traces` reads
the traces of a group; `Selection.aggregate` lets the source compute, in each of MLflow's views.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, Protocol

import numpy as np

from otel_mlflow_context.compare import statistics, units
from otel_mlflow_context.compare.pipeline.tolerance import Tolerance
from otel_mlflow_context.compare.sources.base import ERROR, FINISHED, Trace
from otel_mlflow_context.compare.statistics import Estimate, Values

PERCENTILES: Final = (50, 90, 99)

Needed = Callable[[float], "int | None"]
"""The sample size of each group that finds a difference, by the level of the test."""


@dataclass(frozen=True)
class Latency:
    """Percentiles of the duration of a trace, in milliseconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Limit:
    """How much worse a metric may be, and which way that is."""

    tolerance: Tolerance
    above: bool
    """Whether more is worse."""

    def outcome(
        self, plain: Outcome, worse: float, better: float, beyond: Needed | None
    ) -> Outcome:
        """An outcome with the p-values of both sides.

        Args:
            plain: without the limit.
            worse: one-sided, of being beyond the limit.
            better: one-sided, of being better than the baseline.
            beyond: the sample size to find that it is beyond the limit; None where it is not.
        """
        is_worse = worse < better
        on_worse_side = plain.increase == self.above
        return replace(
            plain,
            p_value=min(2 * min(worse, better), 1.0),
            increase=is_worse == self.above,
            traces_needed=plain.traces_needed if not on_worse_side else beyond or (lambda _: None),
        )


@dataclass(frozen=True)
class Outcome:
    """The test of one metric of a candidate against the baseline's."""

    difference: Estimate
    p_value: float
    increase: bool | None
    """None of what has no order."""
    traces_needed: Needed
    """The sample size of each group that finds such a difference, by the level of the test."""
    larger: float | None = None
    """Of a distribution: the probability that a candidate's value is the larger of two."""


class Observation(Protocol):
    """One metric of one group."""

    @classmethod
    def of(cls, values: Sequence[Any]) -> Observation: ...

    def with_computed(self, values: Mapping[str, float]) -> Observation:
        """The same with what the source computed of all traces, by the aggregation's name."""
        ...

    def compare(self, base: Any, limit: Limit | None = None) -> Outcome | None:
        """Test against a baseline of the same kind; None where one of the two is empty.

        With a limit of what is tolerable, one side is tested against the limit (non-inferiority)
        and the other against the baseline itself, each at half of the level.
        """
        ...


@dataclass(frozen=True)
class Share:
    """How many traces have a property, of those of which it is known."""

    count: int
    total: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Share:
        return cls(sum(map(bool, values)), len(values))

    @property
    def estimate(self) -> Estimate | None:
        return statistics.wilson(self.count, self.total) if self.total else None

    def with_computed(self, values: Mapping[str, float]) -> Share:
        return replace(self, count=int(values["COUNT"]))

    def compare(self, base: Share, limit: Limit | None = None) -> Outcome | None:
        if not self.total or not base.total:
            return None
        counts = (self.count, self.total, base.count, base.total)
        shares = (self.count / self.total, base.count / base.total)
        plain = Outcome(
            difference=statistics.newcombe(*counts),
            p_value=statistics.fisher(*counts),
            increase=shares[0] > shares[1],
            traces_needed=partial(statistics.traces_for_shares, *shares),
        )
        if limit is None:
            return plain
        tolerance, above = limit.tolerance, limit.above
        most = tolerance.limit(shares[1], above=above)
        more, less = (statistics.fisher(*counts, more=more) for more in (above, not above))
        worse = statistics.beyond_share(
            *counts, tolerance.amount, relative=tolerance.relative, more=above
        )
        beyond = partial(statistics.traces_for_shares, shares[0], min(max(most, 0.0), 1.0))
        # Beyond the limit is beyond the baseline too, which the exact test must find.
        return limit.outcome(
            plain, max(worse, more), less, beyond if (shares[0] - most > 0) == above else None
        )


@dataclass(frozen=True)
class Distribution:
    """A number of each trace that has one."""

    values: Values = field(repr=False, compare=False)
    """Of the traces that were read one by one, sorted."""
    mean: float | None
    percentiles: Latency | None
    intervals: Mapping[str, Estimate] | None = field(default=None, repr=False, compare=False)
    """The percentiles by their name, where the source has computed the ends of their intervals."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        found = np.sort(np.asarray(values, dtype=np.float64))
        if not len(found):
            return cls(found, None, None)
        percentiles = Latency(*map(float, np.percentile(found, PERCENTILES)))
        return cls(found, math.fsum(found) / len(found), percentiles)

    @property
    def estimate(self) -> Estimate | None:
        """The mean of the traces that were read one by one, with its interval."""
        return statistics.mean(self.values) if len(self.values) else None

    @property
    def mean_estimate(self) -> Estimate | None:
        """The mean of all traces, with the interval of those that were read around it."""
        known = self.estimate
        if known is None or self.mean is None or known.low is None or known.high is None:
            return known
        off = self.mean - known.value
        return Estimate(self.mean, known.low + off, known.high + off)

    @property
    def percentile_estimates(self) -> Mapping[str, Estimate] | None:
        """The percentiles, by their name, with their intervals."""
        if self.intervals is not None:
            return self.intervals
        if self.percentiles is None or not len(self.values):
            return None
        return {f"p{it}": statistics.quantile(self.values, it / 100) for it in PERCENTILES}

    def with_computed(self, values: Mapping[str, float]) -> Distribution:
        if "AVG" in values:
            return replace(self, mean=values["AVG"])
        return replace(self, percentiles=Latency(*(values[f"P{it}"] for it in PERCENTILES)))

    def compare(self, base: Distribution, limit: Limit | None = None) -> Outcome | None:
        if not len(self.values) or not len(base.values):
            return None
        found = statistics.shift(self.values, base.values)
        plain = Outcome(
            difference=found.typical,
            p_value=found.p_value,
            increase=found.larger > 0.5,  # noqa: PLR2004  # no shift
            traces_needed=partial(statistics.traces_for_shift, found.larger),
            larger=found.larger,
        )
        if limit is None:
            return plain
        most = limit.tolerance.limit(base.values, above=limit.above)
        worse, larger = statistics.one_sided_shift(self.values, most, more=limit.above)
        better, _ = statistics.one_sided_shift(self.values, base.values, more=not limit.above)
        beyond = partial(statistics.traces_for_shift, larger)
        half = 0.5
        return limit.outcome(
            plain, worse, better, beyond if (larger > half) == limit.above else None
        )


@dataclass(frozen=True)
class Metric:
    """A row of the table."""

    name: str
    kind: type[Observation]
    unit: units.Unit
    value: Callable[[Trace], float | None]
    """Its value of a trace that was read; None where the trace has none."""
    key: str
    """In JSON, and the stem of its columns in CSV."""
    assessment: str = ""
    """The name of the assessment that it is of."""
    text: str = ""
    """The text of an assessment of which it is the share."""
    suffix: str = ""
    """The end of both: the unit."""
    larger: str = "more"
    """The larger of two values."""
    missing: str = "no trace has any"
    aggregate: tuple[str, tuple[str, ...]] | None = None
    """The same metric in MLflow's aggregation: its name, and the aggregations."""
    has_percentiles: bool = False
    """Whether percentiles summarize it, and not the mean."""
    tested: bool = True
    """Whether it is asked for."""
    better: Literal["lower", "higher"] | None = "lower"
    """None where nobody has decided."""
    tolerance: Tolerance | None = None

    @property
    def limit(self) -> Limit | None:
        """What is tolerable, where something is."""
        return Limit(self.tolerance, above=self.better == "lower") if self.tolerance else None


ERRORS: Final = Metric(
    *("errors", Share, units.SHARE),
    lambda trace: trace.state == ERROR if trace.state in FINISHED else None,
    key="error_rate",
    missing="no trace has ended",
)
LATENCY: Final = Metric(
    *("latency", Distribution, units.DURATION),
    lambda trace: trace.latency_ms,
    key="latency",
    suffix="_ms",
    larger="slower",
    missing="no trace has a duration",
    aggregate=("latency", tuple(map("P{}".format, PERCENTILES))),
    has_percentiles=True,
)
TOKENS: Final = Metric(
    *("tokens", Distribution, units.COUNT),
    lambda trace: trace.tokens,
    key="tokens",
    aggregate=("total_tokens", ("AVG",)),
)
COST: Final = Metric(
    *("cost", Distribution, units.DOLLARS),
    lambda trace: trace.cost,
    key="cost",
    suffix="_usd",
    larger="more expensive",
)
METRICS: Final = (ERRORS, LATENCY, TOKENS, COST)
