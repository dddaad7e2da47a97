"""Stores the valid traces of an OTLP request and reports the rejected ones as a partial success.

https://opentelemetry.io/docs/specs/otlp/#partial-success-1
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.responses import Response

from otel_mlflow_context.server import metrics
from otel_mlflow_context.server.otlp.request import (
    JSON,
    mlflow_trace_id,
    select_traces,
    spans_of,
    split_by_trace,
    trace_ids_of,
)

_logger = logging.getLogger(__name__)

StoreRequest = Callable[[ExportTraceServiceRequest], Awaitable[Any]]

_OK: Final = 200
_INVALID: Final = frozenset({400, 403, 413, 422, 500})
"""Status codes that a single trace is enough for. Others are about the server, or the sender."""
# Until 3.11 MLflow stores each trace in its own transaction, and names those that failed.
_FAILED_TRACE: Final = re.compile(r"Trace (tr-[0-9a-f]{32}): ")
_MAX_REASON: Final = 500
_MAX_SPANS: Final = 500
"""Spans of a transaction, unless they are of one trace: others wait for it to end."""
_MAX_BYTES: Final = 1024 * 1024
"""The same of its spans' bytes, each of which several calls copy while they hold the GIL."""


class _NotStoredError(Exception):
    """MLflow's answer, the first argument, is not about single traces: senders may try again."""


async def store_traces(
    request: ExportTraceServiceRequest, media_type: str, store: StoreRequest
) -> Any:
    """Have MLflow store a request, and leave out only those traces that it rejects.

    Args:
        request: with spans.
        media_type: of the response.
        store: has MLflow store a part of the request; its response.

    Returns:
        MLflow's response if all is stored, or nothing; else one that reports a partial success.
    """
    rejected: dict[str, Any] = {}
    responses: list[Any] = []

    async def store_part(part: ExportTraceServiceRequest) -> None:
        response = await store(part)
        responses.append(response)
        if response.status_code == _OK:
            return
        if response.status_code not in _INVALID:
            raise _NotStoredError(response)
        trace_ids = trace_ids_of(part)
        failed = set(_FAILED_TRACE.findall(_reason(response))).intersection(trace_ids)
        if failed or len(trace_ids) == 1:
            rejected.update(dict.fromkeys(failed or trace_ids, response))
            return
        middle = len(trace_ids) // 2
        for half in (trace_ids[:middle], trace_ids[middle:]):
            await store_part(select_traces(part, set(half)))

    try:
        for part in split_by_trace(request, _MAX_SPANS, _MAX_BYTES):
            await store_part(part)
    except _NotStoredError as error:
        return error.args[0]
    if (not rejected and len(responses) == 1) or len(rejected) == len(trace_ids_of(request)):
        return responses[0]
    return _partial_success(request, rejected, media_type)


def _partial_success(
    request: ExportTraceServiceRequest, rejected: Mapping[str, Any], media_type: str
) -> Any:
    message = ExportTraceServiceResponse()
    if rejected:
        message.partial_success.rejected_spans = sum(
            mlflow_trace_id(span) in rejected for span in spans_of(request)
        )
        reasons = (f"{trace_id}: {_reason(response)}" for trace_id, response in rejected.items())
        message.partial_success.error_message = "; ".join(reasons)[:_MAX_REASON]
        _logger.warning("MLflow rejected %s", message.partial_success.error_message)
        metrics.partial_successes.add(1)
        metrics.rejected_traces.add(len(rejected))
    body = MessageToJson(message) if media_type == JSON else message.SerializeToString()
    return Response(body, media_type=media_type)


def _reason(response: Any) -> str:
    return " ".join(bytes(response.body).decode("utf-8", "replace").split())
