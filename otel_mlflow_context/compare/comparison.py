"""`compare_versions`, and its result with every format that it has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from otel_mlflow_context.compare.explain.reading import explain_groups
from otel_mlflow_context.compare.explain.result import Explanation
from otel_mlflow_context.compare.groups import measure, with_time_intervals
from otel_mlflow_context.compare.metrics import METRICS
from otel_mlflow_context.compare.models.log import log_groups
from otel_mlflow_context.compare.notes import notes_of
from otel_mlflow_context.compare.pipeline.waiting import wait_for
from otel_mlflow_context.compare.quality.choosing import check, chosen
from otel_mlflow_context.compare.quality.measuring import measure_assessments
from otel_mlflow_context.compare.quality.notes import notes_on_quality
from otel_mlflow_context.compare.report import data, html, junit, markdown, text
from otel_mlflow_context.compare.result import Result
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import NoTraces
from otel_mlflow_context.compare.sources.opening import experiment_of, open_source
from otel_mlflow_context.compare.verdict import LEVEL, judge
from otel_mlflow_context.mlflow_client.time_range import seconds_of, start_of

if TYPE_CHECKING:
    import pandas as pd

SAMPLE: Final = 2_000
"""The traces of a group that are read one by one, where the source computes the rest."""
PAGED_SAMPLE: Final = 20_000
"""The same where it computes nothing."""


class Comparison(Result):
    """The result of `compare_versions`."""

    def as_dict(self) -> dict[str, Any]:
        """The result for machines."""
        return data.as_dict(self)

    def as_frame(self) -> pd.DataFrame:
        """A row for each group."""
        return data.as_frame(self)

    def as_csv(self) -> str:
        """The same rows as text, or a row for each cause where there are explanations.

        What is not known is empty.
        """
        return data.as_csv(self)

    def as_text(self, *, width: int = 120) -> str:
        """The result for people, in lines of at most `width` characters."""
        return text.as_text(partial(text.write, self), width=width)

    def as_markdown(self) -> str:
        """The result for a comment on a change."""
        return markdown.as_markdown(self)

    def as_junit(self) -> str:
        """The result as test cases in JUnit's XML: one for each metric of each candidate."""
        return junit.as_junit(self)

    def as_html(self) -> str:
        """A self-contained page with charts."""
        return html.as_html(self)


def compare_versions(  # noqa: PLR0913  # a question has many parts
    by: str = "app_version",
    *,
    baseline: str,
    candidate: str | Sequence[str] | None = None,
    where: str = "",
    since: str | datetime | timedelta | None = None,
    experiment: str | None = None,
    sample: int | None = None,
    tracking_uri: str | None = None,
    timeout: float = 120.0,
    metrics: Sequence[str] | None = None,
    better: Mapping[str, str] | None = None,
    tolerance: Mapping[str, str] | None = None,
    min_traces: int | None = None,
    wait: str | timedelta | None = None,
    explain: bool = False,
    over_time: bool = True,
    log: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Compare groups of traces with a baseline: errors, latency, tokens, cost, assessments, users.

    What the source can compute it computes (MLflow 3.10 and later: counts, percentiles of the
    latency, tokens, sessions); the test of the latency and the cost are of a random sample of
    `sample` traces of each group. Where the source computes nothing, everything is of such a
    sample.

    Args:
        by: what tells the groups apart: a metadata key (``app_version``, ``feature_flag_new``), or
            a fact by its name (``commit``, ``environment``).
        baseline: the value of the group that the others are compared with.
        candidate: the value of another group, or several; by default every other one that the
            traces have.
        where: a filter of MLflow's search, for all groups.
        since: the start of the time range: ``7d``, ``12h``, ``30m``, or a time of ISO 8601.
        experiment: its name; by default the one of MLflow's variables.
        sample: how many traces of a group are read at most; by default 2,000, or 20,000 where
            the source computes nothing.
        tracking_uri: a server, or any store that MLflow reads; by default MLflow's variables'.
        timeout: seconds to wait for each answer of a server.
        metrics: what is tested: ``errors``, ``latency``, ``tokens``, ``cost``, the name of an
            assessment, or ``quality`` for all assessments; by default everything.
        better: what is better, by the name of a metric or assessment: ``lower``, ``higher``,
            ``none`` (they may only differ), or the best of an assessment's texts. By default more
            is better of assessments that are true, yes or numbers, nothing of texts, and less of
            everything else.
        tolerance: how much worse a metric may be, by its name: ``10%`` of the baseline, or an
            amount (``50ms`` of the latency, ``0.5pp`` of the errors). It is worse only when it is
            beyond that by more than chance.
        min_traces: how many traces of each group are enough to tell.
        wait: how long to wait for them: ``90s``, ``30m``, ``2h``.
        explain: find out where the difference comes from, by `sample` traces of each group with
            their spans (by default 2,000).
        over_time: measure each time interval too, for the charts of `as_html` and for `as_dict`.
        log: write the numbers as metrics of the LoggedModels that the groups' traces are linked to,
            by a new run, and the verdicts as their tag ``otel_mlflow_context.verdict``.
        progress: is called with the group whose traces are read, how many were, and of how many.

    Raises:
        ValueError: an argument is wrong.
        CannotCompare: there is nothing to compare, or the source does not answer.
        NotEnoughTraces: there are fewer than `min_traces` of a group.
    """
    candidates = _candidates(baseline, candidate)
    better, tolerance = better or {}, tolerance or {}
    check(better, tolerance)
    if min_traces is not None and min_traces < 1:
        raise ValueError(f"min_traces must be a number of at least 1, got {min_traces!r}")
    if wait is not None and min_traces is None:
        raise ValueError("wait needs min_traces: how many traces of each group are enough")
    seconds = 0.0 if wait is None else seconds_of(wait)
    if sample is not None and sample < 1:
        raise ValueError(f"sample must be a number of traces of at least 1, got {sample!r}")
    limits = (SAMPLE, PAGED_SAMPLE) if sample is None else (sample, sample)
    start_ms = start_of(since, datetime.now(timezone.utc))
    source = open_source(tracking_uri, timeout=timeout)
    with contextlib.closing(source):
        found = experiment_of(source, experiment)
        asked = Selection(source, found, by, where, start_ms)
        if min_traces is not None:
            least = min_traces
            wait_for(lambda: _counts(asked, baseline, candidates, least), least, seconds)
        selection = asked.with_known_key()
        values, notes = _values(selection, baseline, candidates)
        report = progress or (lambda *_: None)
        measured, why_not = measure(selection, values, limits=limits, report=report, keep=explain)
        if missing := [group.value for group, _ in measured if not group.traces]:
            raise selection.never_seen(missing)
        if over_time:
            measured = with_time_intervals(selection, measured, computed=why_not is None)
        groups, of_assessments = measure_assessments(
            selection, measured, better, limit=limits[0], report=report
        )
        rows = chosen((*METRICS, *of_assessments), groups, metrics, better, tolerance)
        explanations: tuple[Explanation, ...] = ()
        if explain:
            explanations, more = explain_groups(
                selection,
                {group.value: (group.traces, sample.traces) for group, sample in measured},
                limit=limits[0],
                level=LEVEL,
                report=report,
            )
            notes += more
        differences = tuple(judge(groups[0], groups[1:], rows))
        if log:
            verdicts = {it.value: (it.verdict, f"beside {baseline}") for it in differences}
            notes += tuple(log_groups(selection, groups, verdicts))
    return Comparison(
        by=selection.key,
        where=where,
        start_ms=start_ms,
        experiment=found.name,
        source=source.name,
        aggregated=why_not is None,
        level=LEVEL,
        groups=tuple(groups),
        differences=differences,
        notes=notes_of(groups, why_not) + notes_on_quality(groups, rows, LEVEL) + notes,
        metrics=rows,
        explanations=explanations,
    )


def _candidates(baseline: str, candidate: str | Sequence[str] | None) -> list[str] | None:
    if candidate is None:
        return None
    candidates = [candidate] if isinstance(candidate, str) else list(candidate)
    if not candidates or len({baseline, *candidates}) <= len(candidates):
        raise ValueError(
            "candidate must be one value or several, all different, and none of them the "
            f"baseline {baseline!r}, got {candidate!r}"
        )
    return candidates


def _counts(
    asked: Selection, baseline: str, candidates: list[str] | None, most: int
) -> dict[str, int]:
    """How many traces each group has; from `most` on the number need not be exact."""
    selection = asked.with_known_key()
    values, _ = _values(selection, baseline, candidates)
    return {value: selection.count(value, most) for value in values}


def _values(
    selection: Selection, baseline: str, candidates: list[str] | None
) -> tuple[list[str], tuple[str, ...]]:
    """The values of all groups, the baseline first, and notes on the choice."""
    if candidates is not None:
        return [baseline, *candidates], ()
    found, complete = selection.values([baseline])
    values = [value for value in found if filters.can_be_quoted(value)]
    if not values:
        raise NoTraces(f"no trace has another {selection.key} than {baseline!r} to compare it with")
    notes = [
        f"Left out, because no filter of MLflow can have it in it: {value!r}."
        for value in found
        if value not in values
    ]
    if not complete:
        notes.append("There are older values too.")
    return [baseline, *values], tuple(notes)
