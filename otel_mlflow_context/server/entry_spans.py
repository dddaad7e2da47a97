"""Which span of a request speaks for each trace, and what it says: OTLP in, facts out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_mlflow_context.facts.received_span import metadata_from_span
from otel_mlflow_context.settings import Settings

# https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
_KNOWS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_ENTRY_KINDS: Final = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER)
_MAX_KEY: Final = 250
"""Characters of a metadata key: the column in MLflow's database."""
# MLflow's SDK writes it on its spans, whose text is JSON.
_OF_THE_SDK: Final = "mlflow.traceRequestId"


@dataclass(frozen=True)
class Speaker:
    """A span that speaks for its trace."""

    trace_id: str
    """MLflow's: ``tr-`` and 32 hex digits."""
    is_root: bool
    """Else it is where the trace enters a service: it speaks until the root comes."""
    start_ns: int
    state: str
    """"OK" or "ERROR"."""
    facts: Mapping[str, str]
    """Trace metadata, and the client request id."""

    def __lt__(self, other: Speaker) -> bool:
        """Whether it speaks rather than another of the same trace."""
        return (not self.is_root, self.start_ns) < (not other.is_root, other.start_ns)


def speakers_of(request: ExportTraceServiceRequest, settings: Settings) -> dict[str, Speaker]:
    """The span that speaks for each trace of a request, by trace; some have none here."""
    found: dict[str, Speaker] = {}
    for resource_spans in request.resource_spans:
        resource: dict[str, object] | None = None
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if not _is_entry(span):
                    continue
                if resource is None:
                    resource = dict(_values(resource_spans.resource.attributes))
                speaker = _speaker(span, resource, settings)
                other = found.get(speaker.trace_id)
                if other is None or speaker < other:
                    found[speaker.trace_id] = speaker
    return found


def trace_id_of(span: Span) -> str:
    return f"tr-{span.trace_id.hex()}"


def _is_entry(span: Span) -> bool:
    if not span.parent_span_id:
        return True
    if span.flags & _KNOWS_REMOTE:
        return bool(span.flags & _IS_REMOTE)
    return span.kind in _ENTRY_KINDS


def _speaker(span: Span, resource: Mapping[str, object], settings: Settings) -> Speaker:
    attributes = dict(_values(span.attributes))
    if _OF_THE_SDK in attributes:
        attributes = {key: _from_json(value) for key, value in attributes.items()}
    facts = metadata_from_span(attributes, resource, settings)
    return Speaker(
        trace_id_of(span),
        is_root=not span.parent_span_id,
        start_ns=span.start_time_unix_nano,
        state="ERROR" if span.status.code == Status.STATUS_CODE_ERROR else "OK",
        facts={key: value for key, value in facts.items() if len(key) <= _MAX_KEY},
    )


def _values(attributes: Iterable[Any]) -> Iterator[tuple[str, object]]:
    """The attributes whose values can be facts: no bytes, lists or maps."""
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        if kind in ("string_value", "bool_value", "int_value", "double_value"):
            yield attribute.key, getattr(attribute.value, kind)


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, str) else value
