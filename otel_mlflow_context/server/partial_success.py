"""Stores the valid traces of a request that MLflow refused as a whole.

https://opentelemetry.io/docs/specs/otlp/#partial-success-1
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.responses import Response

from otel_mlflow_context.server.otlp_request import JSON, mlflow_trace_id, select_traces, spans_of

_logger = logging.getLogger(__name__)

StoreRequest = Callable[[ExportTraceServiceRequest], Awaitable[Any]]

_OK: Final = 200
INVALID: Final = frozenset({400, 413, 422, 500})
"""Status codes that a single invalid span is enough for."""
# Until 3.11 MLflow stores each trace in its own transaction, and names those that failed.
_FAILED_TRACE: Final = re.compile(r"Trace (tr-[0-9a-f]{32}): ")
_MAX_REASON: Final = 500


async def store_valid_traces(
    request: ExportTraceServiceRequest, response: Any, media_type: str, store: StoreRequest
) -> Any:
    """Retry a refused request in parts, so that only invalid traces are left out.

    Args:
        request: that MLflow has refused.
        response: MLflow's, returned where nothing of the request could be stored.
        media_type: of the response.
        store: has MLflow store a part of the request; its response.
    """
    trace_ids = sorted({mlflow_trace_id(span) for span in spans_of(request)})
    reason = _reason(response)
    if failed := set(_FAILED_TRACE.findall(reason)) & set(trace_ids):
        rejected = dict.fromkeys(failed, reason)
    elif len(trace_ids) > 1:
        rejected = await _store_halves(request, trace_ids, store)
    else:
        return response
    if len(rejected) == len(trace_ids):
        return response
    return _partial_success(request, rejected, media_type)


async def _store_halves(
    request: ExportTraceServiceRequest, trace_ids: Sequence[str], store: StoreRequest
) -> dict[str, str]:
    """Store a request in two parts, recursively; the reason for each trace that was rejected."""
    rejected: dict[str, str] = {}
    middle = len(trace_ids) // 2
    for half in (trace_ids[:middle], trace_ids[middle:]):
        part = select_traces(request, set(half))
        response = await store(part)
        if response.status_code in INVALID and len(half) > 1:
            rejected |= await _store_halves(part, half, store)
        elif response.status_code != _OK:
            rejected |= dict.fromkeys(half, _reason(response))
    return rejected


def _partial_success(
    request: ExportTraceServiceRequest, rejected: Mapping[str, str], media_type: str
) -> Any:
    message = ExportTraceServiceResponse()
    if rejected:
        message.partial_success.rejected_spans = sum(
            mlflow_trace_id(span) in rejected for span in spans_of(request)
        )
        reasons = "; ".join(f"{trace_id}: {reason}" for trace_id, reason in rejected.items())
        message.partial_success.error_message = reasons[:_MAX_REASON]
        _logger.warning("MLflow rejected %s", reasons[:_MAX_REASON])
    body = MessageToJson(message) if media_type == JSON else message.SerializeToString()
    return Response(body, media_type=media_type)


def _reason(response: Any) -> str:
    return " ".join(bytes(response.body).decode("utf-8", "replace").split())
