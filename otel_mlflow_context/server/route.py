"""The ASGI routes of the plugin, which stand before MLflow's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from otel_mlflow_context.semconv import PLUGIN_PATH
from otel_mlflow_context.server import mlflow_internals
from otel_mlflow_context.server.entry_spans import EntrySpan, entry_spans
from otel_mlflow_context.server.http_body import decompress
from otel_mlflow_context.server.otlp_request import PROTOBUF, parse, sort_by_trace
from otel_mlflow_context.server.partial_success import INVALID, store_valid_traces
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)

_TRACES_PATH: Final = "/v1/traces"
_FORWARDED: Final = "otel_mlflow_context.forwarded"
"""Set in the ASGI scope of requests that are meant for MLflow's route."""
_SDK_USER_AGENT: Final = "mlflow-python-client"
"""MLflow's SDK, unless it exports with OpenTelemetry's exporter."""


class TracesRoute(Route):  # type: ignore[misc]  # Starlette may be too old for types
    """OTLP/HTTP: MLflow's route of the same path stores the spans, and their metadata with them."""

    def __init__(self, router: Any, store: mlflow_internals.Store) -> None:
        path = mlflow_internals.static_prefix() + _TRACES_PATH
        super().__init__(path, self._export, methods=["POST"])
        self._router = router
        self._store = store

    def matches(self, scope: Any) -> Any:
        is_ours = scope.get("method") == "POST" and _FORWARDED not in scope
        return super().matches(scope) if is_ours else (Match.NONE, {})

    async def _export(self, request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        headers = request.headers
        media_type = headers.get("content-type", "").partition(";")[0].strip()
        try:
            traces = parse(decompress(body, headers.get("content-encoding", "")), media_type)
        except Exception:
            # MLflow's answer says what is wrong.
            return await self._forward(request, headers, body)
        store = partial(self._store_traces, request)
        response = await store(traces)
        if response.status_code in INVALID:
            return await store_valid_traces(traces, response, media_type, store)
        return response

    async def _store_traces(self, request: Request, traces: ExportTraceServiceRequest) -> Response:
        body = sort_by_trace(traces).SerializeToString()
        headers = MutableHeaders(raw=request.headers.raw.copy())
        del headers["content-encoding"]
        headers["content-type"] = PROTOBUF
        headers["content-length"] = str(len(body))
        with self._store.metadata_of(_entry_spans(request, traces)):
            return await self._forward(request, headers, body)

    async def _forward(self, request: Request, headers: Any, body: bytes) -> Response:
        received = iter([{"type": "http.request", "body": body, "more_body": False}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(received, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        await self._router(
            {**request.scope, "headers": headers.raw, _FORWARDED: True}, receive, send
        )
        response = Response(
            b"".join(message.get("body", b"") for message in sent), sent[0]["status"]
        )
        response.raw_headers = list(sent[0].get("headers", ()))
        return response


def plugin_route() -> Route:
    """The plugin's version, for exporters: they leave the metadata to a server that has it."""

    async def plugin_version(_request: Request) -> Response:
        return JSONResponse({"version": version("otel-mlflow-context")})

    return Route(mlflow_internals.static_prefix() + PLUGIN_PATH, plugin_version)


def _entry_spans(request: Request, traces: ExportTraceServiceRequest) -> Mapping[str, EntrySpan]:
    if request.headers.get("user-agent", "").startswith(_SDK_USER_AGENT):
        return {}  # MLflow's SDK sends a trace's metadata by itself, before its spans or after
    try:
        return entry_spans(traces, current_settings())
    except Exception:
        _logger.exception("metadata of traces is not read; their spans are stored")
        return {}
