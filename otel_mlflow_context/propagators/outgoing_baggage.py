"""Injects baggage into outgoing requests."""

from __future__ import annotations

import logging
from collections.abc import Callable

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import CarrierT, Setter
from opentelemetry.trace import get_current_span

from otel_mlflow_context.facts.values import request_value
from otel_mlflow_context.semconv import REQUEST_FACTS, USER_ID
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)
_logged: set[str] = set()


def inject_baggage(
    carrier: CarrierT, context: Context, setter: Setter[CarrierT], is_trusted: Callable[[], bool]
) -> bool:
    """Write the baggage of a context into the headers of a request to a trusted host.

    Returns:
        Whether it was written; errors are logged once.
    """
    try:
        if not is_trusted():
            return False
        W3CBaggagePropagator().inject(carrier, _with_allowed_user(_with_facts(context)), setter)
    except Exception as error:
        log_once("a call goes out without its baggage: %s", error)
        return False
    return True


def log_once(message: str, error: Exception) -> None:
    """Log the kind of error: its text may contain an id."""
    if message not in _logged:
        _logged.add(message)
        _logger.warning(message, type(error).__name__)


def _with_facts(context: Context) -> Context:
    """The context with request facts that are known of its trace, but not in this context.

    First those of `update_trace_context`; then the entry span's, where the context has none: some
    servers' instrumentations (aiohttp's) start a span with the baggage of the request but do not
    attach it.
    """
    # Imported here: an application that only reads headers does without MLflow's internals.
    from otel_mlflow_context.context.active_traces import ACTIVE_TRACES
    from otel_mlflow_context.mlflow_client.sdk.internals import active_trace_id
    from otel_mlflow_context.mlflow_client.span_attributes import decoded

    trace_id = get_current_span(context).get_span_context().trace_id
    if trace_id not in ACTIVE_TRACES.entry_spans:
        trace_id = active_trace_id() or 0
    if (updates := ACTIVE_TRACES.baggage_updates.get(trace_id)) is not None:
        context = updates.apply(context)
    for entry in list(ACTIVE_TRACES.entry_spans.get(trace_id, {}).values())[:1]:
        attributes = decoded(entry.attributes or {})
        for fact in REQUEST_FACTS:
            if fact.attribute in attributes and baggage.get_baggage(fact.source, context) is None:
                context = baggage.set_baggage(fact.source, attributes[fact.attribute], context)
    return context


def _with_allowed_user(context: Context) -> Context:
    settings = current_settings()
    if settings.user_id == "plain" or (user_id := baggage.get_baggage(USER_ID, context)) is None:
        return context
    allowed = request_value(USER_ID, user_id, settings)
    context = baggage.remove_baggage(USER_ID, context)
    return context if allowed is None else baggage.set_baggage(USER_ID, allowed, context)
