"""The entry span of each trace in an OTLP request, and the trace metadata that it carries."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_mlflow_context.facts.span_metadata import metadata_from_span
from otel_mlflow_context.semconv import MLFLOW_CLIENT_REQUEST_ID
from otel_mlflow_context.server.otlp.request import mlflow_trace_id
from otel_mlflow_context.settings import Settings

_logger = logging.getLogger(__name__)

# https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_ENTRY_KINDS: Final = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER)
_MAX_KEY: Final = 250
"""Characters of a metadata key: the column in MLflow's database."""
# An attribute that MLflow's SDK sets on its own spans, whose string attributes are JSON.
_SDK_ATTRIBUTE: Final = "mlflow.traceRequestId"


@dataclass(frozen=True)
class EntrySpan:
    """A root span, or the span where a trace enters a service."""

    trace_id: str
    """MLflow's: ``tr-`` and 32 hex digits."""
    is_root: bool
    start_ns: int
    state: str
    """"OK" or "ERROR"."""
    metadata: Mapping[str, str]
    client_request_id: str | None = None

    @property
    def precedence(self) -> tuple[bool, int]:
        """The smallest of a trace's entry spans wins: its root, or else the earliest."""
        return not self.is_root, self.start_ns


def entry_spans(request: ExportTraceServiceRequest, settings: Settings) -> dict[str, EntrySpan]:
    """The entry span of each trace that has one in the request, by MLflow's trace id."""
    found: dict[str, EntrySpan] = {}
    for resource_spans in request.resource_spans:
        resource: dict[str, object] | None = None
        for scope_spans in resource_spans.scope_spans:
            for span in filter(_is_entry, scope_spans.spans):
                if resource is None:
                    resource = dict(_scalars(resource_spans.resource.attributes))
                try:
                    entry = _entry_span(span, resource, settings)
                except Exception:
                    _logger.exception("metadata of a trace is not read; its spans are stored")
                    continue
                other = found.get(entry.trace_id)
                if other is None or entry.precedence < other.precedence:
                    found[entry.trace_id] = entry
    return found


def _is_entry(span: Span) -> bool:
    if not span.parent_span_id:
        return True
    if span.flags & _HAS_IS_REMOTE:
        return bool(span.flags & _IS_REMOTE)
    return span.kind in _ENTRY_KINDS


def _entry_span(span: Span, resource: Mapping[str, object], settings: Settings) -> EntrySpan:
    attributes = dict(_scalars(span.attributes))
    if _SDK_ATTRIBUTE in attributes:
        attributes = {key: _from_json(value) for key, value in attributes.items()}
    metadata = metadata_from_span(attributes, resource, settings)
    client_request_id = metadata.pop(MLFLOW_CLIENT_REQUEST_ID, None)
    return EntrySpan(
        mlflow_trace_id(span),
        is_root=not span.parent_span_id,
        start_ns=span.start_time_unix_nano,
        state="ERROR" if span.status.code == Status.STATUS_CODE_ERROR else "OK",
        metadata={key: value for key, value in metadata.items() if len(key) <= _MAX_KEY},
        client_request_id=client_request_id,
    )


def _scalars(attributes: Iterable[Any]) -> Iterator[tuple[str, object]]:
    """The attributes that metadata can be made of: no bytes, arrays or maps."""
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        if kind in ("string_value", "bool_value", "int_value", "double_value"):
            yield attribute.key, getattr(attribute.value, kind)


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed if isinstance(parsed, str) else value
