"""Facts of traces that an MLflow server has stored already, written as their metadata.

Everything that came by OTLP without `MlflowSpanExporter` or the server plugin: its facts stand in
the attributes of the root span, and from MLflow 3.14 on in the tags that the resource became.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

from otel_mlflow_context.facts.received_span import metadata_from_span
from otel_mlflow_context.mlflow_client.rest import (
    Client,
    RequestRejected,
    ServerUnavailable,
    TraceUpdate,
    server_from,
)
from otel_mlflow_context.mlflow_client.time_range import start_of
from otel_mlflow_context.semconv import GIT_METADATA, MLFLOW_CLIENT_REQUEST_ID
from otel_mlflow_context.settings import Settings, current_settings
from otel_mlflow_context.settings import environment_variables as env

_SEARCHED: Final = 500
"""Ids that are asked for at once: MLflow's limit."""
_PAGE: Final = 50
"""Traces that are read, with their spans, at once: their ids stand in one URL."""
_WORKERS: Final = 8
_ENDED: Final = ("OK", "ERROR")
_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000
_OWN_SCHEMA: Final = "mlflow.trace_schema.version"
_VALUES: Final = ("string_value", "bool_value", "int_value", "double_value")


@dataclass(frozen=True, eq=False)
class Change:
    """What is missing of one trace, and known."""

    trace_id: str
    metadata: Mapping[str, str]
    """With the client request id, where that is missing."""


@dataclass(frozen=True)
class Progress:
    """What was done with some of the traces."""

    traces: int
    """How many there are in all."""
    seen: int
    """How many were looked at by now, with those before."""
    changes: Sequence[Change]
    """Written, or with `dry_run` to be written."""
    unfinished: int
    """In progress, and left alone: their root is still to come."""
    failed: Sequence[str]
    """The trace and the server's reason, for each that could not be written."""


class CannotBackfill(Exception):  # noqa: N818  # the environment's fault, not the caller's
    """There is no server, no experiment, or no permission; the message says which."""


def backfill(  # noqa: PLR0913  # by name, each with a default
    *,
    experiment: str | None = None,
    filter_string: str = "",
    since: str | None = None,
    metadata_keys: str | Sequence[str] | None = None,
    dry_run: bool = False,
    timeout: float = 60.0,
) -> Iterator[Progress]:
    """Write what is known of stored traces and not in their metadata yet, some at a time.

    What a trace has is left as it is, so that a second run finds nothing to do. Time, duration,
    state, tags and spans stay what they are.

    Args:
        experiment: its name; by default ``MLFLOW_EXPERIMENT_ID``, ``MLFLOW_EXPERIMENT_NAME``, or
            ``Default``.
        filter_string: of MLflow's search: only these traces.
        since: only traces of this time: ``7d``, ``12h``, ``30m``, or a time of ISO 8601.
        metadata_keys: more attributes of the root span, or of the resource, to write.
        dry_run: nothing is written.
        timeout: seconds to wait for each answer of the server.

    Raises:
        CannotBackfill: the traces cannot be read.
        ValueError: `since` or `metadata_keys` is of no form that is allowed.
    """
    settings = current_settings().with_options(metadata_keys=metadata_keys)
    start_ms = start_of(since, datetime.now(timezone.utc))
    try:
        server = _Server(Client(server_from(os.environ), connections=_WORKERS), timeout)
    except ValueError as error:
        raise CannotBackfill(str(error)) from None
    try:
        experiment_id = server.experiment_id(experiment)
        terms = (filter_string, "" if start_ms is None else f"timestamp_ms >= {start_ms}")
        # All of them first: what is written could make a trace leave the filter, and the next
        # page begin too late.
        ids = list(server.ids(experiment_id, " AND ".join(term for term in terms if term.strip())))
        with_ids = server.sets_request_ids()
        for start in range(0, len(ids), _PAGE):
            page = ids[start : start + _PAGE]
            infos = server.with_spans(page)
            ended = [trace for trace in infos if trace["trace_info"]["state"] in _ENDED]
            changes = {
                change: trace["trace_info"]
                for trace in ended
                if (change := _change(trace, settings, with_ids=with_ids))
            }
            yield Progress(
                traces=len(ids),
                seen=start + len(page),
                changes=list(changes),
                unfinished=len(infos) - len(ended),
                failed=[] if dry_run else server.write(changes, experiment_id),
            )
    except (ServerUnavailable, RequestRejected) as error:
        raise CannotBackfill(f"{server.name}: {error}") from None


class _Server:
    """What is asked of a server here."""

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self.name = client.server.name

    def experiment_id(self, name: str | None) -> str:
        if name is None and (by_id := os.environ.get(env.MLFLOW_EXPERIMENT_ID)):
            return by_id
        name = name or os.environ.get(env.MLFLOW_EXPERIMENT_NAME) or "Default"
        found = self._call(
            "GET", "/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": name}
        )
        return str(found["experiment"]["experiment_id"])

    def ids(self, experiment_id: str, where: str) -> Iterator[str]:
        """Of the traces of a filter, the oldest first."""
        location = {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": experiment_id},
        }
        question = {
            "locations": [location],
            "filter": where,
            "max_results": _SEARCHED,
            "order_by": ["timestamp_ms ASC"],
        }
        while True:
            answer = self._call("POST", "/api/3.0/mlflow/traces/search", question)
            yield from (trace["trace_id"] for trace in answer.get("traces") or ())
            if not answer.get("next_page_token"):
                return
            question["page_token"] = answer["next_page_token"]

    def with_spans(self, trace_ids: Sequence[str]) -> list[dict[str, Any]]:
        answer = self._call("GET", "/api/3.0/mlflow/traces/batchGet", {"trace_ids": trace_ids})
        return list(answer.get("traces") or [])

    def sets_request_ids(self) -> bool:
        return self._client.sets_request_ids(self._deadline())

    def write(self, changes: Mapping[Change, Mapping[str, Any]], experiment_id: str) -> list[str]:
        """Write what is missing of traces, some at once; the reasons where that fails."""
        with ThreadPoolExecutor(_WORKERS) as workers:
            problems = workers.map(
                lambda it: self._write_one(it, changes[it], experiment_id), changes
            )
        return [problem for problem in problems if problem]

    def _write_one(self, change: Change, info: Mapping[str, Any], experiment_id: str) -> str | None:
        start_ns = _ns(info["request_time"])
        metadata = dict(change.metadata)
        update = TraceUpdate(
            change.trace_id,
            client_request_id=metadata.pop(MLFLOW_CLIENT_REQUEST_ID, None),
            metadata=metadata,
            start_ns=start_ns,
            end_ns=start_ns + _duration_ns(info.get("execution_duration")),
            state=info["state"],
        )
        try:
            self._client.write(update, experiment_id, self._deadline())
        except (ServerUnavailable, RequestRejected) as error:
            return f"{change.trace_id}: {error}"
        return None

    def _call(self, method: str, path: str, body: dict[str, Any]) -> Any:
        return self._client.call(method, path, body, self._deadline())

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout


def _change(trace: Mapping[str, Any], settings: Settings, *, with_ids: bool) -> Change | None:
    info = trace["trace_info"]
    has = dict(info.get("trace_metadata") or {})
    if info.get("client_request_id"):
        has[MLFLOW_CLIENT_REQUEST_ID] = info["client_request_id"]
    speaking = _speaking(trace.get("spans") or [])
    attributes = _attributes(speaking) if speaking else {}
    # MLflow's SDK has said what it knows; tags there are the user's.
    tags = {} if _OWN_SCHEMA in has else dict(info.get("tags") or {})
    facts = metadata_from_span(attributes, tags, settings)
    missing = {
        key: value
        for key, value in facts.items()
        if key not in has
        and (with_ids or key != MLFLOW_CLIENT_REQUEST_ID)
        # Of one repository, or none of it.
        and not (key in GIT_METADATA and not GIT_METADATA.isdisjoint(has))
    }
    return Change(info["trace_id"], missing) if missing else None


def _speaking(spans: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The root; where it never came, the earliest whose parent is not there either."""
    ids = {span["span_id"] for span in spans}
    entries = [span for span in spans if span.get("parent_span_id") not in ids]
    return min(
        entries,
        key=lambda span: (bool(span.get("parent_span_id")), int(span["start_time_unix_nano"])),
        default=None,
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
