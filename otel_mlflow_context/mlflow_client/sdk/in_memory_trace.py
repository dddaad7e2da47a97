"""Facts into the traces that MLflow's SDK has in memory.

It keeps a trace in its trace manager from the start of the root span until export, and the
metadata is a plain dict until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan, Span

from otel_mlflow_context.facts.metadata import (
    attributes_from_metadata,
    merge_facts,
    metadata_from_attributes,
)
from otel_mlflow_context.facts.request import apply_user_id_setting
from otel_mlflow_context.facts.values import request_value
from otel_mlflow_context.mlflow_client.sdk import internals as sdk_internals
from otel_mlflow_context.mlflow_client.span_attributes import decoded, encoded
from otel_mlflow_context.semconv import (
    GIT_METADATA,
    MLFLOW_CLIENT_REQUEST_ID,
    MLFLOW_METADATA,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_TRACE_USER,
    USER_ID,
)
from otel_mlflow_context.settings import current_settings

if TYPE_CHECKING:
    from otel_mlflow_context.mlflow_client.sdk.versions import VersionLinks

_MAX_ENTRIES: Final = 200
"""Of a trace's metadata, by many updates; no single one comes near."""
# What MLflow detects itself (mlflow/tracing/utils/environment.py).
_DETECTED_BY_MLFLOW: Final = GIT_METADATA | {MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE}


def update_on_start(
    span: Span,
    facts: Mapping[str, str],
    declared: tuple[str, ...],
    *,
    sets_metadata: bool,
    links: VersionLinks | None = None,
) -> tuple[Mapping[str, str], bool]:
    """Write facts to the in-memory trace of a span that starts, where there is one already.

    Returns:
        The facts of the trace now, where the application's own values win, and whether there is an
        in-memory trace: then MLflow's SDK reads this span, and its attributes must be `encoded`.
    """
    configured = {key: str(value) for key, value in sdk_internals.configured_metadata().items()}
    facts = merge_facts(facts, attributes_from_metadata(configured, declared))
    settings = current_settings()
    if settings.user_id != "plain":
        facts = apply_user_id_setting(facts, settings)
    with sdk_internals.in_memory_trace(span.context.trace_id) as trace:
        if trace is not None and sets_metadata and not sdk_internals.is_remote(trace):
            metadata = _merge(trace.info, metadata_from_attributes(facts, declared))
            if links is not None:
                metadata |= links.link(span.context.span_id, trace.info)
            facts = merge_facts(facts, attributes_from_metadata(metadata, declared))
        return facts, trace is not None


def update_on_end(
    span: ReadableSpan, declared: tuple[str, ...], links: VersionLinks | None = None
) -> None:
    """Write the facts of a root span that has ended to its in-memory trace, and the trace's back.

    For a trace that was not there in `update_on_start`, because MLflow's processor comes after
    ours. `mlflow.update_current_trace` may have been called since.
    """
    with sdk_internals.in_memory_trace(span.context.trace_id) as trace:
        if trace is None or sdk_internals.is_remote(trace):
            return
        facts = metadata_from_attributes(decoded(span.attributes or {}), declared)
        metadata = _merge(trace.info, facts)
        if links is not None:
            metadata |= links.link(span.context.span_id, trace.info)
    attributes = encoded(attributes_from_metadata(metadata, declared))
    sdk_internals.set_attributes_after_end(span, attributes)


def update(otel_trace_id: int, facts: Mapping[str, str]) -> bool:
    """Write facts to an in-memory trace, over what is there; returns whether there is one."""
    with sdk_internals.in_memory_trace(otel_trace_id) as trace:
        if trace is not None and not sdk_internals.is_remote(trace):
            metadata = metadata_from_attributes(facts)
            request_id = metadata.pop(MLFLOW_CLIENT_REQUEST_ID, None)
            present = trace.info.trace_metadata
            present |= {
                key: value
                for key, value in metadata.items()
                if key in present or len(present) < _MAX_ENTRIES
            }
            if request_id:
                trace.info.client_request_id = request_id
        return trace is not None


def _merge(info: Any, facts: Mapping[str, str]) -> dict[str, str]:
    """Merge facts into a `TraceInfo`: over what MLflow detected, below what the application set.

    Returns:
        The facts of the trace now, with all that the application set.
    """
    metadata = info.trace_metadata
    settings = current_settings()
    if settings.user_id != "plain" and MLFLOW_TRACE_USER in metadata:
        # What the application told MLflow of the user is bound to the setting too.
        user_id = request_value(USER_ID, metadata.pop(MLFLOW_TRACE_USER), settings)
        if user_id:
            metadata[MLFLOW_TRACE_USER] = user_id
    detected = sdk_internals.environment_metadata()
    for key, value in facts.items():
        if key != MLFLOW_CLIENT_REQUEST_ID and metadata.get(key) in (None, "", detected.get(key)):
            metadata[key] = value
    # Git facts of two repositories make no sense together, and an empty string is no fact.
    stale = GIT_METADATA - facts.keys() if GIT_METADATA & facts.keys() else frozenset()
    for key in _DETECTED_BY_MLFLOW:
        if metadata.get(key) == "" or (key in stale and metadata.get(key) == detected.get(key)):
            metadata.pop(key, None)
    if not info.client_request_id and MLFLOW_CLIENT_REQUEST_ID in facts:
        info.client_request_id = facts[MLFLOW_CLIENT_REQUEST_ID]
    result = {
        key: str(value)
        for key, value in metadata.items()
        if key in MLFLOW_METADATA or not key.startswith("mlflow.")
    }
    if info.client_request_id:
        result[MLFLOW_CLIENT_REQUEST_ID] = info.client_request_id
    return result
