"""`update_trace_context`: request facts that become known inside the request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from uuid import UUID

from opentelemetry import context as context_api

from otel_mlflow_context.context.active_traces import (
    ACTIVE_TRACES,
    BaggageUpdates,
    current_trace_ids,
    record,
)
from otel_mlflow_context.context.trace_context import trace_context
from otel_mlflow_context.facts.metadata import attributes_from_metadata
from otel_mlflow_context.facts.request import set_request_facts

ACTIVE_TRACES.enabled = True
_logger = logging.getLogger(__name__)
_logged: set[type[Exception]] = set()


def update_trace_context(
    *,
    session_id: str | int | UUID | None = None,
    user_id: str | int | UUID | None = None,
    request_id: str | int | UUID | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Set facts of the current trace that become known only inside it: who has logged in.

    They are written to the trace's metadata and to the entry span of this service, and go with
    all calls that the trace makes from now on as baggage, also where this is called in a nested
    function, task or thread that has the context (calls from another thread's context get them
    from the propagator ``trusted_baggage`` only). They win over all earlier values until the trace
    ends. Outside of any trace only the current context changes, as if a `trace_context` was
    entered and never left.

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
    new = trace_context(
        session_id=session_id, user_id=user_id, request_id=request_id, metadata=metadata
    )
    try:
        _update(new.entries(), new.metadata)
    except Exception as error:
        if type(error) not in _logged:
            _logged.add(type(error))
            _logger.warning("update_trace_context failed; the trace goes on", exc_info=error)


def _update(entries: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    trace_ids = current_trace_ids()
    context = context_api.get_current()
    for trace_id in trace_ids & ACTIVE_TRACES.entry_spans.keys() if entries else ():
        ACTIVE_TRACES.baggage_updates.setdefault(trace_id, BaggageUpdates()).add(entries, context)
    record({**entries, **attributes_from_metadata(metadata)}, trace_ids)
    # The metadata of an active trace is with the trace; the next one must not get it.
    context_api.attach(set_request_facts(context, entries, {} if trace_ids else metadata))
