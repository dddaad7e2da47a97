"""The ASGI routes of the plugin, which stand before MLflow's own."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from otel_mlflow_context.semconv import PLUGIN_PATH
from otel_mlflow_context.server import metrics
from otel_mlflow_context.server.logged_models import LoggedModels
from otel_mlflow_context.server.mlflow_internals import Export, Store, static_prefix
from otel_mlflow_context.server.otlp.entry_spans import EntrySpan, entry_spans
from otel_mlflow_context.server.otlp.http_body import RequestTooLargeError, decompress, read_body
from otel_mlflow_context.server.otlp.large_json import (
    LARGE_JSON,
    DecoderFailedError,
    InvalidJsonError,
    parse_large_json,
)
from otel_mlflow_context.server.otlp.request import JSON, PROTOBUF, count_spans, parse, trace_ids_of
from otel_mlflow_context.server.partial_success import store_traces
from otel_mlflow_context.settings import Settings, current_settings

_logger = logging.getLogger(__name__)

_TRACES_PATH: Final = "/v1/traces"
_FORWARDED: Final = "otel_mlflow_context.forwarded"
"""Set in the ASGI scope of requests that are meant for MLflow's route."""
_SERVER_SCOPE: Final = frozenset(
    ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string")
) | {"root_path", "headers", "client", "server", "extensions"}
"""Keys of an ASGI scope as it comes from the server."""
_SDK_USER_AGENT: Final = "mlflow-python-client"
"""MLflow's SDK, unless it exports with OpenTelemetry's exporter."""
_EXPERIMENT_ID: Final = "x-mlflow-experiment-id"
_RUN_ID: Final = "x-mlflow-run-id"
_NESTED: Final = "otel_mlflow_context.nested"
"""Set in the ASGI scope of requests that are made while another is served."""
_LARGE: Final = 32 * 1024
"""Bytes from which on a request is served outside of the event loop: MLflow's route takes 0.1 ms
for each span, of which this may be 500."""

_SWITCH_INTERVAL: Final = 0.001
"""Seconds of a turn while a large request is stored; Python's default is 0.005."""


class TracesRoute(Route):  # type: ignore[misc]  # Starlette may be too old for types
    """OTLP/HTTP: MLflow's route of the same path stores the spans, and their metadata with them.

    Args:
        app: MLflow's application.
        store: that the application uses.
        is_strict: accept spans of another experiment's trace only from senders whom the application
            authorises for that experiment.
    """

    def __init__(self, app: Any, store: Store, *, is_strict: bool) -> None:
        super().__init__(static_prefix() + _TRACES_PATH, self._export, methods=["POST"])
        self._app = app
        self._store = store
        self._is_strict = is_strict
        self._large = asyncio.Lock()  # one at a time: they compete with the event loop for the GIL
        self._models = LoggedModels(store) if current_settings().versions else None
        self._logged: set[str] = set()

    def matches(self, scope: Any) -> Any:
        is_ours = scope.get("method") == "POST" and _FORWARDED not in scope
        return super().matches(scope) if is_ours else (Match.NONE, {})

    async def _export(self, request: Request) -> Response:
        settings = current_settings()
        try:
            body = await read_body(request, settings.max_request_bytes)
            encoding = request.headers.get("content-encoding", "")
            # Compressed, a few bytes may be many.
            is_large = encoding or len(body) >= _LARGE
            if not is_large or _NESTED in request.scope:
                return await self._respond(request, body, settings)
            async with self._large:
                with _short_turns():
                    respond = self._respond(request, body, settings)
                    return await asyncio.to_thread(asyncio.run, respond)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        except RequestTooLargeError as error:
            metrics.rejected_requests.add(1)
            raise HTTPException(413, str(error)) from None
        except DecoderFailedError as error:
            raise HTTPException(503, str(error)) from None

    async def _respond(self, request: Request, body: bytes, settings: Settings) -> Response:
        began = time.perf_counter()
        headers = request.headers
        if _EXPERIMENT_ID not in headers:
            return await self._forward(request, headers, body)  # MLflow's answer says what is wrong
        media_type = headers.get("content-type", "").partition(";")[0].strip()
        try:
            encoding = headers.get("content-encoding", "")
            unpacked = decompress(body, encoding, settings.max_unpacked_bytes)
            is_large_json = media_type == JSON and len(unpacked) >= LARGE_JSON
            traces = parse_large_json(unpacked) if is_large_json else parse(unpacked, media_type)
        except (RequestTooLargeError, DecoderFailedError):
            raise
        except InvalidJsonError as error:
            body = error.smaller
            return await self._forward(request, _headers_for(body, headers), body)
        except Exception:
            return await self._forward(request, headers, body)  # the same
        if not count_spans(traces):
            return await self._forward(request, headers, body)  # the same
        _check_counts(traces, settings)
        seconds = time.perf_counter() - began
        export = Export({}, is_strict=self._is_strict)
        response = await store_traces(
            traces, media_type, partial(self._store_part, request, export)
        )
        metrics.duration.record(seconds + export.seconds)
        return response

    async def _store_part(
        self, request: Request, export: Export, part: ExportTraceServiceRequest
    ) -> Response:
        began = time.perf_counter()
        body = part.SerializeToString()
        headers = _headers_for(body, request.headers)
        headers["content-type"] = PROTOBUF
        if self._is_strict and _RUN_ID in headers and not await self._may_link(headers):
            del headers[_RUN_ID]
        export.entry_spans = _entry_spans(request, part)
        if self._models is not None:
            experiment_id = headers[_EXPERIMENT_ID]
            export.entry_spans = await self._models.linked(export.entry_spans, experiment_id)
        export.seconds += time.perf_counter() - began
        with self._store.exporting(export):
            response = await self._forward(request, headers, body)
        if export.is_database_away:  # before MLflow 3.12: 422, as for a trace that is invalid
            return Response(response.body, 503, media_type="application/json")
        if self._is_strict and len(owners := set(export.foreign.values())) == 1:
            [owner] = owners
            if export.foreign.keys() >= set(trace_ids_of(part)):
                headers[_EXPERIMENT_ID] = owner
                return await self._send_to_owner(request, headers, body)
        return response

    async def _may_link(self, headers: Headers) -> bool:
        """Whether the run that the traces are to be linked with is the experiment's."""
        try:
            run_id = headers[_RUN_ID]
            owner = await asyncio.to_thread(self._store.experiment_of_run, run_id)
        except Exception:
            owner = None
        return bool(owner == headers.get(_EXPERIMENT_ID))

    async def _forward(self, request: Request, headers: Headers, body: bytes) -> Response:
        """The response of MLflow's route."""
        scope = {**request.scope, "headers": headers.raw, _FORWARDED: True}
        try:
            return await _call(self._app.router, scope, body)
        except Exception as error:  # the others of the request may be valid
            if type(error).__name__ not in self._logged:
                self._logged.add(type(error).__name__)
                _logger.exception("MLflow's route for spans failed")
            return Response("Internal Server Error", 500)

    async def _send_to_owner(self, request: Request, headers: Headers, body: bytes) -> Response:
        """The application's response, which authorises the sender for the headers' experiment."""
        scope = {key: value for key, value in request.scope.items() if key in _SERVER_SCOPE}
        return await _call(self._app, {**scope, "headers": headers.raw, _NESTED: True}, body)


def plugin_route() -> Route:
    """The plugin's version, for exporters: they leave the metadata to a server that has it."""

    async def plugin_version(_request: Request) -> Response:
        return JSONResponse({"version": version("otel-mlflow-context")})

    return Route(static_prefix() + PLUGIN_PATH, plugin_version)


@contextmanager
def _short_turns() -> Iterator[None]:
    """Have threads leave the GIL to others sooner: a health check needs several turns."""
    default = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(default)


async def _call(app: Any, scope: Any, body: bytes) -> Response:
    received = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    response = Response(b"".join(it.get("body", b"") for it in sent), sent[0]["status"])
    response.raw_headers = list(sent[0].get("headers", ()))
    return response


def _headers_for(body: bytes, headers: Headers) -> MutableHeaders:
    """The headers of a request with another body, which is not compressed."""
    found = MutableHeaders(raw=headers.raw.copy())
    del found["content-encoding"]
    found["content-length"] = str(len(body))
    return found


def _check_counts(traces: ExportTraceServiceRequest, settings: Settings) -> None:
    for counted, limit, what in (
        (count_spans(traces), settings.max_request_spans, "spans"),
        (len(trace_ids_of(traces)), settings.max_request_traces, "traces"),
    ):
        if counted > limit:
            raise RequestTooLargeError(f"The request has {counted} {what}; {limit} are allowed")


def _entry_spans(request: Request, traces: ExportTraceServiceRequest) -> Mapping[str, EntrySpan]:
    if request.headers.get("user-agent", "").startswith(_SDK_USER_AGENT):
        return {}  # MLflow's SDK sends a trace's metadata by itself, before its spans or after
    return entry_spans(traces, current_settings())
