"""OTLP trace requests as messages: decoded from protobuf or JSON, and split by trace."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator
from typing import Any, Final

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_HEX_IDS: Final = ("traceId", "spanId", "parentSpanId")


def parse(body: bytes, media_type: str) -> ExportTraceServiceRequest:
    """Decode a request body. Both decoders refuse messages that are nested 100 deep.

    Raises:
        Exception: the decoder's, for a body that is not a request.
    """
    request = ExportTraceServiceRequest()
    if media_type == PROTOBUF:
        request.ParseFromString(body)
    elif media_type == JSON:
        ParseDict(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
    else:
        raise ValueError(media_type)
    return request


def _with_base64_ids(request: Any) -> Any:
    """OTLP/JSON has ids in hex, where Protocol Buffers' JSON mapping has base64 for bytes."""
    for resource_spans in request.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for name in filter(span.get, _HEX_IDS):
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode("ascii")
    return request


def mlflow_trace_id(span: Span) -> str:
    return f"tr-{span.trace_id.hex()}"


def spans_of(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans


def count_spans(request: ExportTraceServiceRequest) -> int:
    return sum(
        len(scope_spans.spans)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
    )


def trace_ids_of(request: ExportTraceServiceRequest) -> list[str]:
    return sorted({mlflow_trace_id(span) for span in spans_of(request)})


def select_traces(
    request: ExportTraceServiceRequest, trace_ids: Collection[str]
) -> ExportTraceServiceRequest:
    """The part of a request that belongs to the given traces."""
    part = ExportTraceServiceRequest()
    part.CopyFrom(request)
    for resource_spans in part.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            kept = [span for span in scope_spans.spans if mlflow_trace_id(span) in trace_ids]
            del scope_spans.spans[:]
            scope_spans.spans.extend(kept)
    return part


def split_by_trace(
    request: ExportTraceServiceRequest, max_spans: int, max_bytes: int
) -> list[ExportTraceServiceRequest]:
    """The same spans, trace by trace in the order of their ids, in requests of whole traces.

    MLflow locks traces in the order in which it creates them. Two concurrent requests with the same
    traces in different orders would deadlock, and the database would abort one of them.

    Args:
        max_spans: of a request, unless a single trace has more.
        max_bytes: the same, of all spans but the last trace's.
    """
    spans = [
        (span.trace_id, resource_spans, scope_spans, span)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]
    parts: list[ExportTraceServiceRequest] = []
    count = size = 0
    last_id: bytes | None = None
    last_scope: Any = None
    target: Any = None
    for trace_id, resource_spans, scope_spans, span in sorted(spans, key=lambda it: it[0]):
        is_full = count >= max_spans or size >= max_bytes
        if not parts or (is_full and trace_id != last_id):
            parts.append(ExportTraceServiceRequest())
            count, size, last_scope = 0, 0, None
        if last_scope is not scope_spans:
            last_scope = scope_spans
            target = (
                parts[-1]
                .resource_spans.add(
                    resource=resource_spans.resource, schema_url=resource_spans.schema_url
                )
                .scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url)
            )
        target.spans.append(span)
        last_id = trace_id
        count += 1
        size += span.ByteSize()
    return parts
