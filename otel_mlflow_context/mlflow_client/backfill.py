"""Writes the metadata of traces that an MLflow server has stored without it.

Those came by OTLP without `MlflowSpanExporter` or the server plugin: their facts are attributes of
the root span, and from MLflow 3.14 on tags that the resource attributes became.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

from otel_mlflow_context.facts.span_metadata import metadata_from_span
from otel_mlflow_context.facts.version import version_of
from otel_mlflow_context.mlflow_client.http.databricks import is_workspace_address
from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
from otel_mlflow_context.mlflow_client.http.logged_models import RestCalls
from otel_mlflow_context.mlflow_client.http.rest import Client, TraceUpdate
from otel_mlflow_context.mlflow_client.http.server import server_from
from otel_mlflow_context.mlflow_client.logged_models import LoggedModels
from otel_mlflow_context.mlflow_client.time_range import start_of
from otel_mlflow_context.semconv import (
    GIT_METADATA,
    MLFLOW_CLIENT_REQUEST_ID,
    MLFLOW_MODEL_ID,
    MLFLOW_TRACE_SCHEMA_VERSION,
)
from otel_mlflow_context.settings import Settings, current_settings
from otel_mlflow_context.settings import environment_variables as env

_MAX_RESULTS: Final = 500
"""Ids that are searched at once: MLflow's limit."""
_PAGE: Final = 50
"""Traces that are read, with their spans, at once: their ids are in one URL."""
_WORKERS: Final = 8
_MAX_VERSIONS: Final = 10_000
_ENDED: Final = ("OK", "ERROR")
_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000
_NO_MLFLOW: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What an answer of another form ends in: a login page's, a proxy's."""
_VALUES: Final = ("string_value", "bool_value", "int_value", "double_value")


@dataclass(frozen=True)
class Change:
    """The metadata that one trace lacks."""

    trace_id: str
    metadata: Mapping[str, str]
    """With the client request id, where that is missing too."""
    info: Mapping[str, Any]
    """The trace info, as MLflow's REST API has it."""
    version: str | None = None
    """With `dry_run` the name of the LoggedModel to which it would be linked."""


@dataclass(frozen=True)
class Progress:
    """The result for a page of traces."""

    traces: int
    """In all."""
    seen: int
    """Looked at by now, with those of earlier pages."""
    changes: Sequence[Change]
    """Written, or with `dry_run` to be written."""
    unfinished: int
    """In progress, and left alone: their root is still to come."""
    failed: Sequence[str]
    """The trace and the server's reason, for each that could not be written."""


class CannotBackfill(Exception):  # noqa: N818  # the environment's fault, not the caller's
    """There is no server, no experiment, or no permission."""


def backfill(  # noqa: PLR0913  # by name, each with a default
    *,
    experiment: str | None = None,
    filter_string: str = "",
    since: str | None = None,
    metadata_keys: str | Sequence[str] | None = None,
    versions: bool = False,
    dry_run: bool = False,
    timeout: float = 60.0,
) -> Iterator[Progress]:
    """Write the metadata that stored traces lack, a page at a time.

    Metadata that is there stays as it is, and so do time, duration, state, tags and spans, so that
    a second run finds nothing to do.

    Args:
        experiment: its name; by default ``MLFLOW_EXPERIMENT_ID``, ``MLFLOW_EXPERIMENT_NAME``, or
            ``Default``.
        filter_string: of MLflow's search: only these traces.
        since: only traces of this time: ``7d``, ``12h``, ``30m``, or a time of ISO 8601.
        metadata_keys: more attributes of the root span, or of the resource, to write.
        versions: link traces to the LoggedModel of their service, version and commit, which is
            made where there is none.
        dry_run: nothing is written.
        timeout: seconds to wait for each answer of the server.

    Raises:
        CannotBackfill: the traces cannot be read.
        ValueError: `since` or `metadata_keys` is of no form that is allowed.
    """
    settings = current_settings().with_options(metadata_keys=metadata_keys)
    start_ms = start_of(since, datetime.now(timezone.utc))
    uri = os.environ.get(env.MLFLOW_TRACKING_URI, "")
    if is_workspace_address(uri):
        raise CannotBackfill(
            f"{env.MLFLOW_TRACKING_URI} is {uri!r}: a Databricks workspace takes metadata with a "
            "new trace only; use MlflowSpanExporter or MlflowContextInstrumentor where it is made"
        )
    try:
        client = Client(server_from(os.environ), connections=_WORKERS)
    except ValueError as error:
        raise CannotBackfill(str(error)) from None

    def call(method: str, path: str, body: dict[str, Any]) -> Any:
        return client.call(method, path, body, time.monotonic() + timeout)

    try:
        experiment_id = _experiment_id(call, experiment)
        terms = (filter_string, "" if start_ms is None else f"timestamp_ms >= {start_ms}")
        # All of them first: what is written could make a trace leave the filter, and the next
        # page begin too late.
        ids = list(_trace_ids(call, experiment_id, " AND ".join(it for it in terms if it.strip())))
        links = versions and not dry_run
        models = LoggedModels(RestCalls(client), _MAX_VERSIONS) if links else None
        sets_ids = client.sets_request_ids(time.monotonic() + timeout)
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            answer = call("GET", "/api/3.0/mlflow/traces/batchGet", {"trace_ids": page})
            traces = answer.get("traces") or []
            ended = [trace for trace in traces if trace["trace_info"]["state"] in _ENDED]
            changes = [_change(trace, settings, sets_request_ids=sets_ids) for trace in ended]
            if models is not None:
                until = time.monotonic() + timeout
                changes = [_linked(change, models, experiment_id, until) for change in changes]
            elif versions:
                changes = [_with_version(change) for change in changes]
            changes = [it for it in changes if it.metadata or it.version]
            yield Progress(
                traces=len(ids),
                seen=start + len(page),
                changes=changes,
                unfinished=len(traces) - len(ended),
                failed=[] if dry_run else _write(client, changes, experiment_id, timeout),
            )
    except (ServerUnavailable, RequestRejected) as error:
        raise CannotBackfill(f"{client.server.name}: {error}") from None
    except _NO_MLFLOW as error:
        raise CannotBackfill(
            f"{client.server.name} does not answer as MLflow does ({type(error).__name__}): "
            f"correct {env.MLFLOW_TRACKING_URI} and the credentials"
        ) from None


_Call = Callable[[str, str, dict[str, Any]], Any]
"""Method, path and body of a REST call; returns the answer."""


def _experiment_id(call: _Call, name: str | None) -> str:
    if name is None and (by_id := os.environ.get(env.MLFLOW_EXPERIMENT_ID)):
        return by_id
    name = name or os.environ.get(env.MLFLOW_EXPERIMENT_NAME) or "Default"
    found = call("GET", "/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": name})
    return str(found["experiment"]["experiment_id"])


def _trace_ids(call: _Call, experiment_id: str, filter_string: str) -> Iterator[str]:
    """The ids of the traces of a filter, the oldest first."""
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    query = {
        "locations": [location],
        "filter": filter_string,
        "max_results": _MAX_RESULTS,
        "order_by": ["timestamp_ms ASC"],
    }
    while True:
        answer = call("POST", "/api/3.0/mlflow/traces/search", query)
        yield from (trace["trace_id"] for trace in answer.get("traces") or ())
        token = answer.get("next_page_token")
        if not token or token == query.get("page_token"):
            return
        query["page_token"] = token


def _write(
    client: Client, changes: Iterable[Change], experiment_id: str, timeout: float
) -> list[str]:
    """Write what is missing, of several traces at once; returns the problems."""

    def write_one(change: Change) -> str | None:
        metadata = dict(change.metadata)
        start_ns = _ns(change.info["request_time"])
        update = TraceUpdate(
            change.trace_id,
            client_request_id=metadata.pop(MLFLOW_CLIENT_REQUEST_ID, None),
            metadata=metadata,
            start_ns=start_ns,
            end_ns=start_ns + _duration_ns(change.info.get("execution_duration")),
            state=change.info["state"],
        )
        try:
            client.write(update, experiment_id, time.monotonic() + timeout)
        except (ServerUnavailable, RequestRejected) as error:
            return f"{change.trace_id}: {error}"
        return None

    with ThreadPoolExecutor(_WORKERS) as workers:
        return [problem for problem in workers.map(write_one, changes) if problem]


def _change(trace: Mapping[str, Any], settings: Settings, *, sets_request_ids: bool) -> Change:
    info = trace["trace_info"]
    present = dict(info.get("trace_metadata") or {})
    # Traces of MLflow's SDK have all their metadata; their tags are the user's.
    tags = {} if MLFLOW_TRACE_SCHEMA_VERSION in present else dict(info.get("tags") or {})
    if info.get("client_request_id") or not sets_request_ids:
        present[MLFLOW_CLIENT_REQUEST_ID] = info.get("client_request_id")
    facts = metadata_from_span(_attributes(_entry_span(trace.get("spans") or [])), tags, settings)
    # All git facts of one repository, or none.
    has_git = not GIT_METADATA.isdisjoint(present)
    missing = {
        key: value
        for key, value in facts.items()
        if key not in present and not (has_git and key in GIT_METADATA)
    }
    return Change(info["trace_id"], missing, info)


def _metadata(change: Change) -> dict[str, str]:
    """All metadata that the trace will have."""
    return {**(change.info.get("trace_metadata") or {}), **change.metadata}


def _with_version(change: Change) -> Change:
    version = version_of(_metadata(change))
    return replace(change, version=version and version.name)


def _linked(change: Change, models: LoggedModels, experiment_id: str, deadline: float) -> Change:
    model_id = models.link(_metadata(change), experiment_id, deadline)
    link = {MLFLOW_MODEL_ID: model_id} if model_id else {}
    return replace(change, metadata={**change.metadata, **link})


def _entry_span(spans: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The root; where it never came, the earliest span whose parent is not there either."""
    ids = {span["span_id"] for span in spans}
    return min(
        (span for span in spans if span.get("parent_span_id") not in ids),
        key=lambda span: (bool(span.get("parent_span_id")), int(span["start_time_unix_nano"])),
        default={},
    )


def _attributes(span: Mapping[str, Any]) -> dict[str, object]:
    return {
        attribute["key"]: value
        for attribute in span.get("attributes") or ()
        for kind, value in attribute.get("value", {}).items()
        if kind in _VALUES
    }


def _ns(iso: str) -> int:
    """``2026-11-24T04:06:14.684Z``"""
    time_of = datetime.fromisoformat(iso.replace("Z", "+00:00"))
    ms = round(time_of.timestamp() * 1_000)
    return ms * _NS_PER_MS


def _duration_ns(seconds: str | None) -> int:
    """``0.050s``"""
    return int(Decimal((seconds or "0s").removesuffix("s")) * _NS_PER_S)
