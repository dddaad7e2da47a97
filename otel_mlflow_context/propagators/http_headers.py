"""Injects and extracts headers where no OpenTelemetry instrumentation does it.

For HTTP clients and servers, queues and others that have headers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.propagators.textmap import default_setter
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_mlflow_context.propagators.mlflow_headers import MlflowHeadersPropagator
from otel_mlflow_context.propagators.outgoing_baggage import inject_baggage
from otel_mlflow_context.propagators.trusted_baggage import TrustedBaggagePropagator
from otel_mlflow_context.propagators.trusted_hosts import is_trusted_url


def outgoing_headers(url: str, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of a request that take the trace and its request facts to another service.

    For calls that no instrumentation of OpenTelemetry's sees, and for traces of MLflow's SDK,
    whose `get_tracing_context_headers_for_http_request` sends no baggage: ``traceparent`` of the
    current trace of either SDK, and baggage if the URL's host is among the `trusted_hosts`.

    Args:
        url: where the request goes.
        headers: of the request, which are taken along.

    Example:

    >>> from otel_mlflow_context import trace_context
    >>> with trace_context(session_id="s-1"):
    ...     outgoing_headers("http://localhost:8001/search")
    {'baggage': 'session.id=s-1'}
    """
    from otel_mlflow_context.mlflow_client.sdk import internals as sdk_internals

    result = {key: value for key, value in (headers or {}).items() if key.lower() != "baggage"}
    mlflow_headers = _of_mlflow("get_tracing_context_headers_for_http_request")
    if mlflow_headers is not None and sdk_internals.active_trace_id():
        result.update(mlflow_headers())
    else:
        TraceContextTextMapPropagator().inject(result)
    context = context_api.get_current()
    inject_baggage(result, context, default_setter, lambda: is_trusted_url(url))
    return result


@contextmanager
def incoming_headers(headers: Mapping[str, str]) -> Generator[None, None, None]:
    """Continue the trace, with its request facts, from the headers of `outgoing_headers`.

    For services that no instrumentation of OpenTelemetry's serves, and for traces of MLflow's
    SDK, whose `set_tracing_context_from_http_request_headers` it calls where that is loaded. Spans
    that start inside are part of the caller's trace.

    Args:
        headers: of the request, in any case.

    Example:

    >>> from opentelemetry import baggage
    >>> with incoming_headers({"Baggage": "session.id=s-1"}):
    ...     baggage.get_baggage("session.id")
    's-1'
    """
    carrier = {key.lower(): value for key, value in headers.items()}
    context = TraceContextTextMapPropagator().extract(carrier)
    for propagator in (TrustedBaggagePropagator(), MlflowHeadersPropagator()):
        context = propagator.extract(carrier, context)
    mlflow_context = _of_mlflow("set_tracing_context_from_http_request_headers")
    has_caller = get_current_span(context).get_span_context().is_valid
    with mlflow_context(carrier) if mlflow_context and has_caller else nullcontext():
        # MLflow's attaches a context without baggage: ours comes after.
        token = context_api.attach(context)
        try:
            yield
        finally:
            context_api.detach(token)


def _of_mlflow(name: str) -> Callable[..., Any] | None:
    """A public function of MLflow's SDK, where that is loaded and (since 3.9) has it."""
    return getattr(sys.modules.get("mlflow.tracing"), name, None)
