"""The route for spans: it reads what they say, and lets MLflow's own route store them.

A request that MLflow refuses is given to it again in parts, until only the traces are left out
that are not valid: https://opentelemetry.io/docs/specs/otlp/#partial-success-1
"""

from __future__ import annotations

import base64
import gzip
import json
import logging
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.json_format import MessageToJson, Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.routing import BaseRoute, Match

from otel_mlflow_context.semconv import PLUGIN_PATH
from otel_mlflow_context.server import mlflow_internals
from otel_mlflow_context.server.entry_spans import Speaker, speakers_of, trace_id_of
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TRACES: Final = "/v1/traces"
_PASSED_ON: Final = "otel_mlflow_context.passed_on"
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_OF_THE_SDK: Final = b"mlflow-python-client"
"""MLflow's SDK, as a user agent: not its spans that are sent by OpenTelemetry's exporter."""
_INVALID: Final = frozenset({400, 413, 422, 500})
"""Answers that one bad span is enough for."""
_OK: Final = 200
# Until 3.11 MLflow stores each trace by itself, and names those that it could not store.
_NOT_STORED: Final = re.compile(r"Trace (tr-[0-9a-f]{32}): ")
_REASON_LENGTH: Final = 500


class IngestRoute(BaseRoute):  # type: ignore[misc]  # Starlette may be too old for types
    """Stands before MLflow's route of the same path."""

    def __init__(self, router: Any, store: mlflow_internals.Store) -> None:
        self._router = router
        self._store = store
        self._path = mlflow_internals.static_prefix() + _TRACES

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_ours = (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"] == self._path
            and _PASSED_ON not in scope
        )
        return (Match.FULL if is_ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        headers = {key.lower(): value for key, value in scope["headers"]}
        media_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
        try:
            request = _parsed(_decoded(body, headers), media_type)
        except Exception:
            # MLflow says what is wrong with it.
            answer = await self._pass_on(scope, body, scope["headers"])
            await answer.send(send)
            return
        answer = await self._store_all(scope, request)
        if answer.status in _INVALID:
            answer = await self._store_what_is_valid(scope, request, answer, media_type)
        await answer.send(send)

    async def _store_what_is_valid(
        self, scope: Scope, request: ExportTraceServiceRequest, answer: _Answer, media_type: str
    ) -> _Answer:
        traces = sorted({trace_id_of(span) for span in _spans(request)})
        refused: dict[str, str] = {}
        if named := set(_NOT_STORED.findall(answer.reason)):
            refused = dict.fromkeys(named & set(traces), answer.reason)
        elif len(traces) > 1:
            await self._store_parts(scope, request, traces, refused)
        if not refused:
            return answer if len(traces) == 1 else _stored(None, media_type)
        if len(refused) == len(traces):
            return answer
        response = ExportTraceServiceResponse()
        response.partial_success.rejected_spans = sum(
            trace_id_of(span) in refused for span in _spans(request)
        )
        reasons = "; ".join(f"{trace_id}: {reason}" for trace_id, reason in refused.items())
        response.partial_success.error_message = reasons[:_REASON_LENGTH]
        _logger.warning("MLflow refused %s", reasons[:_REASON_LENGTH])
        return _stored(response, media_type)

    async def _store_parts(
        self,
        scope: Scope,
        request: ExportTraceServiceRequest,
        traces: list[str],
        refused: dict[str, str],
    ) -> None:
        middle = len(traces) // 2
        for half in (traces[:middle], traces[middle:]):
            part = _only(request, set(half))
            answer = await self._store_all(scope, part)
            if answer.status == _OK:
                continue
            if len(half) == 1 or answer.status not in _INVALID:
                refused.update(dict.fromkeys(half, answer.reason))
            else:
                await self._store_parts(scope, part, half, refused)

    async def _store_all(self, scope: Scope, request: ExportTraceServiceRequest) -> _Answer:
        body = _in_order(request).SerializeToString()
        headers = [
            (key, value)
            for key, value in scope["headers"]
            if key.lower() not in (b"content-type", b"content-encoding", b"content-length")
        ]
        headers += [
            (b"content-type", _PROTOBUF.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        with self._store.speaking(_speakers(request, scope["headers"])):
            return await self._pass_on(scope, body, headers)

    async def _pass_on(
        self, scope: Scope, body: bytes, headers: Iterable[tuple[bytes, bytes]]
    ) -> _Answer:
        answer = _Answer()
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Message:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            answer.messages.append(message)

        passed_on = {**scope, "headers": list(headers), _PASSED_ON: True}
        await self._router(passed_on, receive, send)
        return answer


class InfoRoute(BaseRoute):  # type: ignore[misc]  # the same
    """Says that the plugin is here, so that exporters leave their own calls out."""

    def __init__(self) -> None:
        self._path = mlflow_internals.static_prefix() + PLUGIN_PATH

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_ours = (
            scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == self._path
        )
        return (Match.FULL if is_ours else Match.NONE), {}

    async def handle(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        from importlib.metadata import version

        body = json.dumps({"version": version("otel-mlflow-context")}).encode()
        await _Answer.of(body, _JSON).send(send)


@dataclass
class _Answer:
    """A response, as the messages of ASGI."""

    messages: list[Message] = field(default_factory=list)

    @classmethod
    def of(cls, body: bytes, media_type: str) -> _Answer:
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        return cls(
            [
                {"type": "http.response.start", "status": _OK, "headers": headers},
                {"type": "http.response.body", "body": body},
            ]
        )

    @property
    def status(self) -> int:
        return next((it["status"] for it in self.messages if "status" in it), 500)

    @property
    def reason(self) -> str:
        body = b"".join(it.get("body", b"") for it in self.messages)
        return " ".join(body.decode("utf-8", "replace").split())

    async def send(self, send: Send) -> None:
        for message in self.messages:
            await send(message)


def _stored(response: ExportTraceServiceResponse | None, media_type: str) -> _Answer:
    response = response or ExportTraceServiceResponse()
    if media_type == _JSON:
        return _Answer.of(MessageToJson(response).encode(), _JSON)
    return _Answer.of(response.SerializeToString(), _PROTOBUF)


def _speakers(
    request: ExportTraceServiceRequest, headers: Iterable[tuple[bytes, bytes]]
) -> Mapping[str, Speaker]:
    if any(
        key.lower() == b"user-agent" and value.startswith(_OF_THE_SDK) for key, value in headers
    ):
        return {}  # MLflow's SDK sends a trace's metadata by itself, before its spans or after
    try:
        return speakers_of(request, current_settings())
    except Exception:
        _logger.exception("the metadata of traces is not read; their spans are stored")
        return {}


# --- Requests ------------------------------------------------------------------------------------


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _decoded(body: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"gzip":
        return gzip.decompress(body)
    if encoding == b"deflate":
        return zlib.decompress(body)
    if encoding not in (b"identity", b""):
        raise ValueError(encoding)
    return body


_HEX_IDS: Final = ("traceId", "spanId", "parentSpanId")


def _parsed(body: bytes, media_type: str) -> ExportTraceServiceRequest:
    """A request with spans; for anything else an exception of the decoder's."""
    request = ExportTraceServiceRequest()
    if media_type == _PROTOBUF:
        request.ParseFromString(body)
    elif media_type == _JSON:
        Parse(_with_base64_ids(json.loads(body)), request, ignore_unknown_fields=True)
    else:
        raise ValueError(media_type)
    if not any(True for _ in _spans(request)):
        raise ValueError("no spans")
    return request


def _with_base64_ids(request: Any) -> str:
    """OTLP writes ids in hex, where Protocol Buffers' JSON has base64 for bytes."""
    for resource_spans in request.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for name in (name for name in _HEX_IDS if span.get(name)):
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode("ascii")
    return json.dumps(request)


def _spans(request: ExportTraceServiceRequest) -> Iterable[Any]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            yield from scope_spans.spans


def _only(request: ExportTraceServiceRequest, traces: set[str]) -> ExportTraceServiceRequest:
    """The part of a request that is of some traces."""
    part = ExportTraceServiceRequest()
    part.CopyFrom(request)
    for resource_spans in part.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            kept = [span for span in scope_spans.spans if trace_id_of(span) in traces]
            del scope_spans.spans[:]
            scope_spans.spans.extend(kept)
    return part


def _in_order(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """The same spans, trace by trace in the order of their ids.

    MLflow locks traces in the order in which it makes them, so two requests that have two of them
    the other way around would wait for each other: a deadlock, which costs one of the requests.
    """
    spans = [
        (span.trace_id, resource_spans, scope_spans, span)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]
    ordered = ExportTraceServiceRequest()
    last: tuple[int, int] | None = None
    for _, resource_spans, scope_spans, span in sorted(spans, key=lambda it: it[0]):
        if last != (id(resource_spans), id(scope_spans)):
            last = id(resource_spans), id(scope_spans)
            into = ordered.resource_spans.add(
                resource=resource_spans.resource, schema_url=resource_spans.schema_url
            ).scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url)
        into.spans.append(span)
    return ordered
