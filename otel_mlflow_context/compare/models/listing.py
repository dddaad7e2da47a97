"""The versions that traces are linked to, with what the traces tell of each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Final

from otel_mlflow_context.compare.history.versions import Seen, seen
from otel_mlflow_context.compare.models import text
from otel_mlflow_context.compare.models.result import LinkedVersion, Listing
from otel_mlflow_context.compare.report.text import as_text
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import CannotCompare, NoTraces
from otel_mlflow_context.compare.sources.opening import experiment_of, open_source
from otel_mlflow_context.facts.version import version_of
from otel_mlflow_context.mlflow_client.time_range import start_of
from otel_mlflow_context.semconv import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY,
    MLFLOW_MODEL_ID,
)

_MOST_COUNTED: Final = 100_000
"""Traces of a version that are counted one by one, where the source cannot count."""
_ENVIRONMENT: Final = "environment"
_ADVICE: Final = (
    "; OTEL_MLFLOW_CONTEXT_VERSIONS=true links new ones, and `otel-mlflow-context backfill "
    "--versions` those that are stored"
)


class LinkedVersions(Listing):
    """The result of `linked_versions`."""

    def as_dict(self) -> dict[str, Any]:
        """The result for machines."""
        return asdict(self)

    def as_text(self, *, width: int = 160) -> str:
        """The result for people."""
        return as_text(partial(text.write, self), width=width)


def linked_versions(  # noqa: PLR0913  # by name, each with a default
    *,
    where: str = "",
    since: str | datetime | timedelta | None = None,
    experiment: str | None = None,
    versions: int = 50,
    tracking_uri: str | None = None,
    timeout: float = 120.0,
    progress: Callable[[str, int, int], None] | None = None,
) -> LinkedVersions:
    """Find the LoggedModels that the traces of an experiment are linked to.

    Args:
        where: a filter of MLflow's search, for all traces.
        since: the start of the time range: ``30d``, ``12h``, or a time of ISO 8601.
        experiment: its name; by default the one of MLflow's variables.
        versions: how many are looked for, the newest.
        tracking_uri: a server, or any store that MLflow reads; by default MLflow's variables'.
        timeout: seconds to wait for each answer of a server.
        progress: is called with the version whose traces are counted, and how many they are.

    Raises:
        ValueError: an argument is wrong.
        CannotCompare: no trace is linked, or the source does not answer.
    """
    if versions < 1:
        raise ValueError(f"versions must be a number of at least 1, got {versions!r}")
    start_ms = start_of(since, datetime.now(timezone.utc))
    source = open_source(tracking_uri, timeout=timeout)
    with contextlib.closing(source):
        found = experiment_of(source, experiment)
        selection = Selection(source, found, MLFLOW_MODEL_ID, where, start_ms)
        try:
            selection.with_known_key()
        except NoTraces:
            raise
        except CannotCompare:
            problem = f"no trace of experiment {found.name!r} is linked to a LoggedModel"
            raise CannotCompare(problem + _ADVICE) from None
        models, _, complete = seen(selection, versions)
        described = []
        for model in models:
            described.append(it := _described(selection, model))
            if progress is not None:
                progress(it.name or it.model_id, it.traces, it.traces)
        return LinkedVersions(found.name, tuple(described), complete)


def _described(selection: Selection, model: Seen) -> LinkedVersion:
    metadata = {key: it for key, it in model.last.metadata.items() if key != MLFLOW_MODEL_ID}
    version = version_of(metadata)
    return LinkedVersion(
        model_id=model.value,
        name=version and version.name,
        service_name=metadata.get("service_name"),
        app_version=metadata.get("app_version"),
        commit=metadata.get(MLFLOW_GIT_COMMIT),
        dirty=metadata.get(MLFLOW_GIT_DIRTY) == "true",
        environments=environments_of(selection, model.value),
        traces=selection.count(model.value, _MOST_COUNTED),
        first_seen_ms=model.first.time_ms,
        last_seen_ms=model.last.time_ms,
    )


def environments_of(selection: Selection, value: str) -> tuple[str, ...]:
    """The environments of a group's traces, sorted."""
    where = filters.all_of(selection.is_in(value), selection.where)
    found, _ = replace(selection, key=_ENVIRONMENT, where=where).values()
    return tuple(sorted(found))
