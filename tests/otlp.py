"""OTLP requests that no SDK makes."""

from __future__ import annotations

import base64
import os
import time

from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common._internal import _encode_value
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

HAS_REMOTE_PARENT = 0x300
SERVER = 2


def otlp_request(*spans, **resource):
    """A request with spans of one resource; each a mapping of fields, with attributes."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    _set(resource_spans.resource.attributes, resource)
    scope_spans = resource_spans.scope_spans.add()
    for fields in spans:
        add_span(scope_spans, **fields)
    return request


def add_span(scope_spans, *, attributes=None, links=(), **fields):
    now = time.time_ns()
    given = {
        "trace_id": os.urandom(16),
        "span_id": os.urandom(8),
        "name": "ask",
        "kind": SERVER,
        "start_time_unix_nano": now - 1_000_000,
        "end_time_unix_nano": now,
        **fields,
    }
    span = scope_spans.spans.add(**given)
    for trace_id, span_id in links:
        span.links.add(trace_id=trace_id, span_id=span_id)
    _set(span.attributes, attributes or {})
    return span


def _set(attributes, values):
    for key, value in values.items():
        attributes.add(key=key, value=_encode_value(value))


def as_json(request):
    """The request as OTLP/JSON has it: ids in hex."""
    found = MessageToDict(request)
    for resource_spans in found["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return found
