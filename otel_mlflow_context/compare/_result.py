"""What a comparison finds: groups, how they differ, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from otel_mlflow_context.compare._statistics import Estimate, Values

if TYPE_CHECKING:
    import pandas as pd


class Verdict(str, Enum):
    """What the traces say of a candidate."""

    WORSE = "worse"
    BETTER = "better"
    NO_EVIDENCE = "no evidence"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Latency:
    """Percentiles of how long a trace takes, in milliseconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Bucket:
    """The traces of one stretch of time."""

    start_ms: int
    finished: int
    errors: int
    latency_p50: float | None


@dataclass(frozen=True)
class Group:
    """The traces that have one value. What is not known is None."""

    value: str
    traces: int
    all_counted: bool
    """Whether these are all there are; otherwise every number is of a sample."""
    finished: int
    """The traces that ended, well or with an error."""
    errors: int
    error_rate: Estimate | None
    """Errors among those that ended."""
    latency: Latency | None
    tokens: float | None
    """The mean of the traces that say their tokens."""
    cost: float | None
    """The mean of the traces that say their cost, in US dollars, of `sampled` traces."""
    sessions: int | None
    all_sessions: bool
    """Whether `sessions` is all of them; otherwise those of `sampled` traces."""
    users: int | None
    all_users: bool
    sampled: int
    """How many traces were read one by one."""
    over_time: tuple[Bucket, ...] = ()
    latencies: Values | None = field(default=None, repr=False, compare=False)
    """Of the traces that were read one by one, sorted, in milliseconds."""


@dataclass(frozen=True)
class Change:
    """How a candidate differs from the baseline in one thing."""

    difference: Estimate
    """For errors a difference of shares; for latency the typical one, in milliseconds."""
    p_value: float
    corrected_p_value: float
    """Corrected for the number of tests of the whole comparison (Holm)."""
    verdict: Verdict
    traces_needed: int | None
    """Where there is no evidence: the traces that each side would need for a difference of this
    size, if it is real, to be found four times in five. None where none is seen."""
    larger: float | None = None
    """For latency: how often a trace of the candidate takes longer than one of the baseline."""


@dataclass(frozen=True)
class Difference:
    """A candidate beside the baseline. A change that cannot be told is None."""

    value: str
    errors: Change | None
    latency: Change | None

    @property
    def verdict(self) -> Verdict:
        """Worse in anything is worse."""
        return overall(it.verdict for it in (self.errors, self.latency) if it is not None)


@dataclass(frozen=True)
class Comparison:
    """The answer of `compare_versions`."""

    by: str
    """The metadata key."""
    where: str
    since_ms: int | None
    experiment: str
    source: str
    """Where the traces are, without credentials."""
    aggregated: bool
    """Whether the source computed the numbers; otherwise they are of the traces that were read."""
    level: float
    """How often versions that are the same are said to differ, at most."""
    groups: tuple[Group, ...]
    """The baseline first."""
    differences: tuple[Difference, ...]
    """One for each candidate."""
    notes: tuple[str, ...]
    """What must be known to read the numbers."""

    @property
    def baseline(self) -> Group:
        return self.groups[0]

    @property
    def verdict(self) -> Verdict:
        """Worse when any candidate is."""
        return overall(it.verdict for it in self.differences)

    def as_dict(self) -> dict[str, Any]:
        """The result for machines."""
        from otel_mlflow_context.compare.report.data import as_dict

        return as_dict(self)

    def as_frame(self) -> pd.DataFrame:
        """A row for each group."""
        from otel_mlflow_context.compare.report.data import as_frame

        return as_frame(self)

    def as_csv(self) -> str:
        """The same rows as text. What is not known is empty."""
        from otel_mlflow_context.compare.report.data import as_csv

        return as_csv(self)

    def as_text(self, *, width: int = 120) -> str:
        """The result for people, in lines of at most `width` characters."""
        from otel_mlflow_context.compare.report.text import as_text

        return as_text(self, width=width)

    def as_html(self) -> str:
        """A page with pictures, complete in itself: it loads nothing."""
        from otel_mlflow_context.compare.report.html import as_html

        return as_html(self)


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """Several verdicts as one: worse wins over better, and better over no evidence."""
    found = set(verdicts)
    return next((it for it in (Verdict.WORSE, Verdict.BETTER) if it in found), Verdict.NO_EVIDENCE)
