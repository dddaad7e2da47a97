"""The result of a history: the versions in their order, and the changes among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from otel_mlflow_context.compare.metrics import Observation
from otel_mlflow_context.compare.result import Group, Groups, Verdict, overall
from otel_mlflow_context.compare.statistics import Estimate


@dataclass(frozen=True)
class Commit:
    """A commit of the repository."""

    id: str
    subject: str | None = None
    """The first line of its message; None where there is no checkout to ask."""


@dataclass(frozen=True)
class Bisection:
    """The commits between which a change happened. Where no trace has a commit, it is None."""

    before: Commit | None
    """The last one before the change: of a regression the last good one."""
    after: Commit | None
    """The first one with it: of a regression the first bad one."""
    between: tuple[Commit, ...] | None
    """Those between the two that never ran, the oldest first; None where it is not known."""
    link: str | None
    """The comparison of the two on the repository's host."""
    notes: tuple[str, ...] = ()
    """Why something of it is not known, or not certain."""


@dataclass(frozen=True)
class LevelShift:
    """How one metric differs before and after a change."""

    difference: Estimate
    """Of shares the difference, of numbers the typical one, in the metric's unit."""
    p_value: float
    """Of the largest difference at any place of the history (a permutation test)."""
    corrected_p_value: float
    """Adjusted for the number of metrics, and of the parts of the history that were searched."""
    verdict: Verdict
    earliest: str
    """The first and the last version with which it may have happened (95 % confidence)."""
    latest: str
    before: Observation
    """Of all versions since the change before."""
    after: Observation
    """Of all versions from here to the next change."""
    larger: float | None = None
    """Of numbers: how often a trace after the change has more than one before."""


@dataclass(frozen=True)
class ChangePoint:
    """A version with which a change happened."""

    value: str
    """The first version with the change."""
    previous: str
    """The last one before, of those that have the metric."""
    shifts: Mapping[str, LevelShift]
    """By the metric's name."""
    bisection: Bisection | None = None
    """None when it was not asked for."""

    @property
    def verdict(self) -> Verdict:
        """Worse in anything is worse."""
        return overall(it.verdict for it in self.shifts.values())


@dataclass(frozen=True)
class Version:
    """One version of a history. Its numbers are those of the group of the same place."""

    value: str
    first_seen_ms: int
    """The time of its first trace in the time range."""
    last_seen_ms: int
    commit: str | None
    """Of its first trace."""
    last_commit: str | None
    """Of its last trace: a version may be of several commits."""
    repository: str | None
    """The http(s) address of the repository, without credentials."""
    dirty: bool = False
    """Whether its first trace is of a work tree with uncommitted changes."""


@dataclass(frozen=True, kw_only=True)
class Timeline(Groups):
    """What was asked, the versions in their order, and the changes among them."""

    versions: tuple[Version, ...]
    """One for each group, in the same order."""
    order: str
    """What the order is."""
    changes: tuple[ChangePoint, ...]
    """In the order of the versions."""
    untestable: tuple[str, ...] = ()
    """The metrics with too few traces, or too few that differ, for any change to be found."""

    @property
    def verdict(self) -> Verdict:
        """Worse where the last change of a metric is, so that what was mended does not count."""
        last: dict[str, Verdict] = {}
        for change in self.changes:
            last |= {name: it.verdict for name, it in change.shifts.items()}
        return overall(last.values())

    def pairs(self) -> Iterator[tuple[Version, Group]]:
        """Each version with its numbers."""
        return zip(self.versions, self.groups, strict=True)
