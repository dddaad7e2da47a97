"""Request facts from code, from now on: who asks, once that is known inside the request."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from otel_mlflow_context.context import active_traces
from otel_mlflow_context.context.trace_context import trace_context

active_traces.watch()


def update_trace_context(
    *,
    session_id: str | int | UUID | None = None,
    user_id: str | int | UUID | None = None,
    request_id: str | int | UUID | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Say of the trace that is open what became known only inside it: who has logged in.

    The trace's metadata gets it, the entry span of this service, and the baggage of all calls
    that the trace makes from now on, also where this is called in a nested function, task or
    thread that has the context (a call from another thread's context takes it along with the
    propagator ``trusted_baggage`` only). It wins over all that was known before, until the trace
    ends. Outside of any trace it changes the current context alone, as if a `trace_context`
    was entered and never left.

    Args:
        session_id: as in `trace_context`, like all others.
        user_id: the same.
        request_id: the same.
        metadata: the same.

    Raises:
        ValueError: an argument of another form; the message names it.

    Example:

    >>> from opentelemetry.sdk.trace import TracerProvider
    >>> from otel_mlflow_context import MlflowContextSpanProcessor
    >>> provider = TracerProvider()
    >>> provider.add_span_processor(MlflowContextSpanProcessor())
    >>> with provider.get_tracer("app").start_as_current_span("answer") as span:
    ...     update_trace_context(user_id="ada")
    ...     print(span.attributes["user.id"])
    ada
    """
    said = trace_context(
        session_id=session_id, user_id=user_id, request_id=request_id, metadata=metadata
    )
    active_traces.update(said.entries(), said.metadata)
