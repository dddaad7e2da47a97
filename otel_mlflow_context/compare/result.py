"""The result of a comparison: groups, how each differs from the baseline, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from otel_mlflow_context.compare.explain.result import Explanation
from otel_mlflow_context.compare.metrics import (
    COST,
    ERRORS,
    LATENCY,
    METRICS,
    TOKENS,
    Distribution,
    Latency,
    Metric,
    Observation,
    Share,
)
from otel_mlflow_context.compare.statistics import Estimate, Values


class Verdict(str, Enum):
    """Whether a candidate is worse than the baseline."""

    WORSE = "worse"
    BETTER = "better"
    DIFFERENT = "different"
    """They differ, in something of which nobody has decided what is better."""
    NO_EVIDENCE = "no evidence"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Bucket:
    """The traces of one time interval."""

    start_ms: int
    finished: int
    errors: int
    latency_p50: float | None


@dataclass(frozen=True)
class Judged:
    """How many traces of a group have an assessment."""

    traces: int
    """Those with a judgement that can be compared, of which the numbers are."""
    among: Share
    """Those of the traces that were read one by one."""
    failed: int
    """Judges that ended with an error."""


@dataclass(frozen=True)
class Group:
    """The traces that have one value of the key. What is not known is None."""

    value: str
    traces: int
    all_counted: bool
    """Whether these are all there are; otherwise every number is of a sample."""
    sampled: int
    """How many traces were read one by one."""
    observed: Mapping[str, Observation]
    """Each metric by its name."""
    sessions: int | None = None
    all_sessions: bool = True
    """Whether `sessions` is all of them; otherwise those of `sampled` traces."""
    users: int | None = None
    all_users: bool = True
    over_time: tuple[Bucket, ...] = ()
    judged: Mapping[str, Judged] = field(default_factory=dict)
    """Each assessment by its name: how many traces have it. Its value is in `observed`."""

    @property
    def finished(self) -> int:
        """The traces that have ended, with or without an error."""
        return self._share.total

    @property
    def errors(self) -> int:
        return self._share.count

    @property
    def error_rate(self) -> Estimate | None:
        """Errors among the traces that have ended."""
        return self._share.estimate

    @property
    def latency(self) -> Latency | None:
        return self._distribution(LATENCY.name).percentiles

    @property
    def latencies(self) -> Values:
        """Of the traces that were read one by one, sorted, in milliseconds."""
        return self._distribution(LATENCY.name).values

    @property
    def tokens(self) -> float | None:
        """The mean of the traces that have token usage."""
        return self._distribution(TOKENS.name).mean

    @property
    def cost(self) -> float | None:
        """The mean of the traces that have a cost, in US dollars, among `sampled` traces."""
        return self._distribution(COST.name).mean

    @property
    def _share(self) -> Share:
        found = self.observed.get(ERRORS.name)
        return found if isinstance(found, Share) else Share.of(())

    def _distribution(self, name: str) -> Distribution:
        found = self.observed.get(name)
        return found if isinstance(found, Distribution) else Distribution.of(())


@dataclass(frozen=True)
class Change:
    """How a candidate differs from the baseline in one metric."""

    difference: Estimate
    """Of error rates the difference, of a distribution the typical one, in the metric's unit."""
    p_value: float
    corrected_p_value: float
    """Adjusted for the number of tests of the whole comparison (Holm)."""
    verdict: Verdict
    traces_needed: int | None
    """Where there is no evidence: the sample size of each group with which a difference of this
    size, if it is real, is found four times in five. None where there is no difference."""
    larger: float | None = None
    """Of a distribution: how often a trace of the candidate has more than one of the baseline."""


@dataclass(frozen=True)
class Difference:
    """A candidate compared with the baseline."""

    value: str
    changes: Mapping[str, Change]
    """By the metric's name. A metric that cannot be tested is missing."""

    @property
    def errors(self) -> Change | None:
        return self.changes.get(ERRORS.name)

    @property
    def latency(self) -> Change | None:
        return self.changes.get(LATENCY.name)

    @property
    def verdict(self) -> Verdict:
        """Worse in anything is worse."""
        return overall(it.verdict for it in self.changes.values())


@dataclass(frozen=True, kw_only=True)
class Groups:
    """What was asked, and the groups that were measured."""

    by: str
    """The metadata key."""
    where: str
    start_ms: int | None
    """The start of the time range."""
    experiment: str
    source: str
    """Where the traces are, without credentials."""
    aggregated: bool
    """Whether the source computed the numbers; otherwise they are of the traces that were read."""
    level: float
    """The probability that equal versions are found to differ, at most."""
    groups: tuple[Group, ...]
    """Of a comparison the baseline first."""
    notes: tuple[str, ...]
    """Limits of the numbers: of which traces they are, and what is missing."""
    metrics: tuple[Metric, ...] = METRICS
    """What was measured of each group; the assessments come last."""


@dataclass(frozen=True, kw_only=True)
class Result(Groups):
    """What was asked and what was found."""

    differences: tuple[Difference, ...]
    """One for each candidate."""
    explanations: tuple[Explanation, ...] = ()
    """Where the difference of each candidate comes from; empty when it was not asked for."""

    @property
    def baseline(self) -> Group:
        return self.groups[0]

    @property
    def verdict(self) -> Verdict:
        """Worse when any candidate is."""
        return overall(it.verdict for it in self.differences)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Several verdicts as one: the first of `Verdict` that is among them."""
    found = set(verdicts)
    return next((it for it in Verdict if it in found), Verdict.NO_EVIDENCE)
