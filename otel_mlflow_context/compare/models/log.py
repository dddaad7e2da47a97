"""Writes the numbers of groups as metrics of the LoggedModels that their traces are linked to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from otel_mlflow_context.compare.metrics import Distribution, Share
from otel_mlflow_context.compare.models.listing import environments_of
from otel_mlflow_context.compare.report.data import time_of
from otel_mlflow_context.compare.result import Group, Verdict
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import ModelNumbers
from otel_mlflow_context.semconv import MLFLOW_MODEL_ID

VERDICT: Final = "otel_mlflow_context.verdict"
"""The tag of a model with the verdict on it."""
ENVIRONMENTS: Final = "otel_mlflow_context.environments"
FIRST_DEPLOYMENT: Final = "otel_mlflow_context.first_deployment"
LAST_DEPLOYMENT: Final = "otel_mlflow_context.last_deployment"
_DEPLOYMENT: Final = "deployment_id"
_RUN_NAME: Final = "otel-mlflow-context"
_NOT_IN_NAMES: Final = re.compile(r"[^\w /.-]", re.ASCII)
_MAX_NAME: Final = 250
_DECIMALS: Final = 6


def log_groups(
    selection: Selection, groups: Sequence[Group], verdicts: Mapping[str, tuple[Verdict, str]]
) -> list[str]:
    """Write each group's numbers to its LoggedModel, by one run, and the verdict as a tag.

    A group whose traces are linked to several models is left out: the numbers would be about
    another version.

    Args:
        selection: the traces.
        groups: with their numbers.
        verdicts: on a group, by its value, and beside what.

    Returns:
        Notes for the result: the run, and what was left out.

    Raises:
        CannotCompare: the source does not take them.
    """
    numbers, notes = [], []
    for group in groups:
        model_id, why_not = _model_of(selection, group.value)
        if model_id is None:
            notes.append(f"Not logged: the traces of {group.value!r} are {why_not}.")
            continue
        tags = _deployments(selection, group.value)
        if (verdict := verdicts.get(group.value)) is not None:
            tags[VERDICT] = " ".join(verdict)
        metrics = {name: round(value, _DECIMALS) for name, value in _metrics(group)}
        numbers.append(ModelNumbers(model_id, metrics, tags))
    if not numbers:
        return notes
    asked = {
        "by": selection.key,
        "where": selection.where,
        "since": time_of(selection.start_ms),
    }
    params = {key: value for key, value in asked.items() if value}
    run_id = selection.source.log(selection.experiment, _RUN_NAME, params, numbers)
    return [f"Logged to {len(numbers)} LoggedModels by the run {run_id}.", *notes]


def _model_of(selection: Selection, value: str) -> tuple[str | None, str]:
    """The model that all traces of a group are linked to, or why there is none."""
    group = selection.is_in(value)
    linked = list(selection.traces(group, filters.has_metadata(MLFLOW_MODEL_ID), limit=1))
    if not linked:
        return None, "not linked to a LoggedModel (`otel-mlflow-context backfill --versions`)"
    model_id = linked[0].metadata[MLFLOW_MODEL_ID]
    others = filters.metadata_is(MLFLOW_MODEL_ID, model_id, operator="!=")
    if any(selection.traces(group, others, limit=1)):
        return None, "linked to more than one LoggedModel (choose with --where)"
    if not selection.source.has_model(selection.experiment, model_id):
        return None, f"linked to {model_id!r}, which is no LoggedModel of the experiment"
    return model_id, ""


def _deployments(selection: Selection, value: str) -> dict[str, str]:
    """Tags that tell where a group's traces came from."""
    tags = {ENVIRONMENTS: ", ".join(environments_of(selection, value))}
    has_deployment = filters.has_metadata(_DEPLOYMENT)
    for tag, order in ((FIRST_DEPLOYMENT, "ASC"), (LAST_DEPLOYMENT, "DESC")):
        for trace in selection.traces(
            selection.is_in(value), has_deployment, limit=1, order_by=f"timestamp_ms {order}"
        ):
            tags[tag] = trace.metadata[_DEPLOYMENT]
    return {key: it for key, it in tags.items() if it}


def _metrics(group: Group) -> Iterator[tuple[str, float]]:
    if group.error_rate is not None:
        yield "error_rate", group.error_rate.value
    if group.latency is not None:
        yield "latency_ms/p50", group.latency.p50
        yield "latency_ms/p90", group.latency.p90
        yield "latency_ms/p99", group.latency.p99
    if group.tokens is not None:
        yield "tokens/mean", group.tokens
    if group.cost is not None:
        yield "cost/mean", group.cost
    for name in group.judged:
        of = group.observed[name]
        value = None
        if isinstance(of, Share) and of.total:
            value = of.count / of.total
        elif isinstance(of, Distribution):
            value = of.mean
        if value is not None:
            yield f"{_NOT_IN_NAMES.sub('_', name)[: _MAX_NAME - 5]}/mean", value
