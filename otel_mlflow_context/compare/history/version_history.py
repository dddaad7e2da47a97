"""`version_history`, and its result with every format that it has."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_mlflow_context.compare.groups import measure, with_percentile_intervals
from otel_mlflow_context.compare.history import data, page, text
from otel_mlflow_context.compare.history.change_points import Place, changes, is_untestable
from otel_mlflow_context.compare.history.commits import Checkout, bisection, checkout_at, is_commit
from otel_mlflow_context.compare.history.result import ChangePoint, LevelShift, Timeline, Version
from otel_mlflow_context.compare.history.series import Series
from otel_mlflow_context.compare.history.versions import Seen, seen
from otel_mlflow_context.compare.metrics import METRICS, Metric
from otel_mlflow_context.compare.models.log import log_groups
from otel_mlflow_context.compare.quality.choosing import check, chosen
from otel_mlflow_context.compare.quality.measuring import measure_assessments
from otel_mlflow_context.compare.quality.notes import problems_of, unequally_judged
from otel_mlflow_context.compare.report.text import as_text
from otel_mlflow_context.compare.result import Group
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources.base import NoTraces, Trace
from otel_mlflow_context.compare.sources.opening import experiment_of, open_source
from otel_mlflow_context.compare.verdict import verdict_of
from otel_mlflow_context.detectors.repository.url import browsable_url
from otel_mlflow_context.mlflow_client.time_range import start_of
from otel_mlflow_context.semconv import MLFLOW_GIT_COMMIT, MLFLOW_GIT_DIRTY, MLFLOW_GIT_REPO_URL

if TYPE_CHECKING:
    import pandas as pd

SAMPLE: Final = 500
"""The traces of a version that are read one by one."""
MOST_VERSIONS: Final = 50
LEVEL: Final = 0.04
"""The probability that any change is marked where all versions are equal, at most. It is a little
under 5 %, so that what is counted in simulations is too."""
_LISTED: Final = 5
_BY_TIME: Final = "first seen"
_BY_REPOSITORY: Final = "the commits of HEAD and its first parents"


class History(Timeline):
    """The result of `version_history`."""

    def as_dict(self) -> dict[str, Any]:
        """The result for machines."""
        return data.as_dict(self)

    def as_frame(self) -> pd.DataFrame:
        """A row for each version."""
        return data.as_frame(self)

    def as_csv(self) -> str:
        """The same rows as text. What is not known is empty."""
        return data.as_csv(self)

    def as_text(self, *, width: int = 140) -> str:
        """The result for people; the intervals are left out where the lines would be longer."""
        return as_text(partial(text.write, self), width=width)

    def as_html(self) -> str:
        """A self-contained page with a timeline of each metric."""
        return page.as_html(self)


def version_history(  # noqa: PLR0913  # a question has many parts
    by: str = "app_version",
    *,
    where: str = "",
    since: str | datetime | timedelta | None = None,
    experiment: str | None = None,
    versions: int = MOST_VERSIONS,
    sample: int = SAMPLE,
    tracking_uri: str | None = None,
    timeout: float = 120.0,
    metrics: Sequence[str] | None = None,
    better: Mapping[str, str] | None = None,
    bisect: bool = False,
    repository: str | Path | None = None,
    log: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> History:
    """Measure the versions one after another, and find where a change happened.

    For each metric the traces before and after each place are compared, and the largest difference
    is tested by permutations, corrected for the number of metrics: among equal versions any change
    is marked in less than 5 % of histories, however many versions there are.

    Args:
        by: what tells the versions apart: a metadata key (``app_version``), or a fact by its name
            (``commit``). Commits are in the order of the repository where there is a checkout,
            everything else in the order in which it was first seen.
        where: a filter of MLflow's search, for all traces.
        since: the start of the time range: ``30d``, ``12h``, or a time of ISO 8601.
        experiment: its name; by default the one of MLflow's variables.
        versions: how many are looked at, the newest.
        sample: how many traces of a version are read at most. What the source can compute it
            computes of all (MLflow 3.10 and later).
        tracking_uri: a server, or any store that MLflow reads; by default MLflow's variables'.
        timeout: seconds to wait for each answer of a server.
        metrics: what is tested, as in `compare_versions`.
        better: what is better, as in `compare_versions`.
        bisect: find the commits between which each change happened.
        repository: a folder of the checkout; by default the working directory.
        log: write the numbers as metrics of the LoggedModels that the versions' traces are linked
            to, by a new run, and what changed as their tag ``otel_mlflow_context.verdict``.
        progress: is called with the version whose traces are read, how many were, and of how many.

    Raises:
        ValueError: an argument is wrong.
        CannotCompare: there are no versions, or the source does not answer.
    """
    better = better or {}
    check(better, {})
    for name, number in (("versions", versions), ("sample", sample)):
        if number < 1:
            raise ValueError(f"{name} must be a number of at least 1, got {number!r}")
    start_ms = start_of(since, datetime.now(timezone.utc))
    source = open_source(tracking_uri, timeout=timeout)
    with contextlib.closing(source):
        found = experiment_of(source, experiment)
        selection = Selection(source, found, by, where, start_ms).with_known_key()
        by_commit = selection.key == MLFLOW_GIT_COMMIT
        checkout, no_checkout = None, None
        if by_commit or bisect or repository is not None:
            checkout, no_checkout = checkout_at(repository)
        in_order, notes = _versions(selection, versions)
        order = _BY_TIME
        if by_commit:
            in_order, order, more = _in_order_of_commits(in_order, checkout, no_checkout)
            notes += more
        report = progress or (lambda *_: None)
        values = [it.value for it in in_order]
        ranges = {it.value: (it.first.time_ms, it.last.time_ms) for it in in_order}
        selection = replace(selection, ranges=ranges)
        measured, why_not = measure(selection, values, limits=(sample, sample), report=report)
        groups, of_assessments = measure_assessments(
            selection, measured, better, limit=sample, report=report
        )
        if why_not is None:
            groups = [with_percentile_intervals(selection, it) for it in groups]
        rows = chosen((*METRICS, *of_assessments), groups, metrics, better, {})
        points, untestable = find_changes(groups, rows)
        if log:
            verdicts = {it.value: (it.verdict, "from here on") for it in points}
            notes += log_groups(selection, groups, verdicts)
    found_versions = tuple(_version(it) for it in in_order)
    if bisect:
        points = [_bisected(it, found_versions, checkout) for it in points]
        if points and no_checkout is not None:
            notes.append(f"No commits between are known: {no_checkout}.")
    notes = [
        *_of_which(groups, why_not, sample),
        *unequally_judged(groups, LEVEL),
        *problems_of(groups, rows),
        *notes,
    ]
    return History(
        by=selection.key,
        where=where,
        start_ms=start_ms,
        experiment=found.name,
        source=source.name,
        aggregated=why_not is None,
        level=LEVEL,
        groups=tuple(groups),
        notes=tuple(notes),
        metrics=rows,
        versions=found_versions,
        order=order,
        changes=tuple(points),
        untestable=tuple(untestable),
    )


def _versions(selection: Selection, most: int) -> tuple[list[Seen], list[str]]:
    found, unusable, complete = seen(selection, most)
    if not found:
        raise NoTraces(f"no trace has a {selection.key} that a filter of MLflow can have in it")
    notes = [
        f"Left out, because no filter of MLflow can have it in it: {value!r}." for value in unusable
    ]
    if not complete:
        notes.append(f"There are older versions than these {len(found):,} too.")
    return found, notes


def _in_order_of_commits(
    found: list[Seen], checkout: Checkout | None, why_not: str | None
) -> tuple[list[Seen], str, list[str]]:
    """The commits on the repository's line in its order; all as first seen, where they are not."""
    if checkout is None:
        return found, _BY_TIME, [f"In the order in which the commits were first seen: {why_not}."]
    places = {
        it.value: place
        for it in found
        if is_commit(it.value) and (place := checkout.position(it.value)) is not None
    }
    if not places:
        note = (
            "In the order in which the commits were first seen: none of them is on the line of "
            f"HEAD and its first parents in {_described(checkout)}."
        )
        return found, _BY_TIME, [note]
    on_line = sorted((it for it in found if it.value in places), key=lambda it: places[it.value])
    others = [it.value for it in found if it.value not in places]
    notes = []
    if others:
        listed = ", ".join(map(repr, others[:_LISTED]))
        more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
        notes.append(
            "Left out, because they are not on the line of HEAD and its first parents in "
            f"{_described(checkout)}: {listed}{more}."
        )
    return on_line, _BY_REPOSITORY, notes


def _described(checkout: Checkout) -> str:
    shallow = ", which is a shallow clone (git fetch --unshallow)" if checkout.is_shallow else ""
    return f"{checkout.root}{shallow}"


def _version(found: Seen) -> Version:
    remote = found.first.metadata.get(MLFLOW_GIT_REPO_URL)
    return Version(
        value=found.value,
        first_seen_ms=found.first.time_ms,
        last_seen_ms=found.last.time_ms,
        commit=_commit_of(found.first),
        last_commit=_commit_of(found.last),
        repository=browsable_url(remote) if remote else None,
        dirty=found.first.metadata.get(MLFLOW_GIT_DIRTY, "").lower() == "true",
    )


def _commit_of(trace: Trace) -> str | None:
    commit = trace.metadata.get(MLFLOW_GIT_COMMIT)
    return commit if is_commit(commit) else None


# --- Changes -----------------------------------------------------------------------------------


def find_changes(
    groups: Sequence[Group], rows: Sequence[Metric], level: float = LEVEL
) -> tuple[list[ChangePoint], list[str]]:
    """The changes among groups in their order, and the metrics that have too few traces for any."""
    tested = [it for it in rows if it.tested]
    series = {it.name: Series.of([of.observed.get(it.name) for of in groups]) for it in tested}
    untestable = [it for it, of in series.items() if is_untestable(of, len(series), level)]
    places = changes({it: of for it, of in series.items() if len(of) > 1}, level)
    shifts: defaultdict[tuple[int, int], dict[str, LevelShift]] = defaultdict(dict)
    for row in tested:
        for place in places.get(row.name, ()):
            of = series[row.name]
            key = of.positions[place.at], of.positions[place.at - 1]
            shifts[key][row.name] = _shift(row, of, place, groups)
    found = [
        ChangePoint(groups[at].value, groups[previous].value, them)
        for (at, previous), them in sorted(shifts.items())
    ]
    return found, untestable


def _shift(row: Metric, series: Series, place: Place, groups: Sequence[Group]) -> LevelShift:
    before = series.pooled(place.start, place.at)
    after = series.pooled(place.at, place.stop)
    outcome = after.compare(before)
    assert outcome is not None  # noqa: S101  # each version of a series has a value
    return LevelShift(
        difference=outcome.difference,
        p_value=place.p_value,
        corrected_p_value=place.corrected_p_value,
        verdict=verdict_of(row, outcome),
        earliest=groups[series.positions[place.earliest]].value,
        latest=groups[series.positions[place.latest]].value,
        before=before,
        after=after,
        larger=outcome.larger,
    )


def _bisected(
    change: ChangePoint, versions: Sequence[Version], checkout: Checkout | None
) -> ChangePoint:
    by_value = {it.value: it for it in versions}
    ran = [it for of in versions for it in (of.commit, of.last_commit) if it is not None]
    before, after = by_value[change.previous], by_value[change.value]
    return replace(change, bisection=bisection(before, after, checkout, ran))


# --- Notes -------------------------------------------------------------------------------------


def _of_which(groups: Sequence[Group], why_not: str | None, sample: int) -> Iterator[str]:
    sampled = [it for it in groups if it.sampled < it.traces or not it.all_counted]
    which = f"at most {sample:,} traces of each version, a random sample" if sampled else "all"
    if why_not is not None:
        yield (
            f"Not computed where the traces are ({why_not}): all numbers are of traces that were "
            f"read one by one, {which}."
        )
    elif sampled:
        yield (
            "The tests of numbers, the intervals of means, the cost, the users and the assessments "
            f"are of {which}. All other numbers are of all traces."
        )
    if unfinished := sum(it.traces - it.finished for it in groups):
        yield f"Traces that have not ended do not count for the error rate: {unfinished:,}."
