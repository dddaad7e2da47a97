"""The traces that are open in this process, for what becomes known of them only on the way.

An entry span (a trace's root, or a service's first span of one) is here from its start to its end.
What `update_trace_context` says of a trace is kept beside it: the context in which it was said may
be gone, with a thread pool's or a nested task's, before the next call goes out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import get_current_span

from otel_mlflow_context.facts.metadata import attributes_from_metadata, merge_facts, tag_attributes
from otel_mlflow_context.facts.request import MAX_FEATURE_FLAGS, set_request_facts
from otel_mlflow_context.mlflow_client import sdk_internals
from otel_mlflow_context.semconv import FEATURE_FLAG_PREFIX, METADATA_KEYS, REQUEST_FACTS
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)

# Spans that never end must not fill the memory; so many are never open at once.
MAX_OPEN: Final = 10_000


@dataclass
class Late:
    """What `update_trace_context` has said of a trace."""

    baggage: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, list[object]] = field(default_factory=dict)
    """By baggage key, what the context said before each time; None where it said nothing."""


# By the trace's id. One trace may enter a process twice: then the spans that came later are in
# `more`.
first: dict[int, Span] = {}
more: dict[int, list[Span]] = {}
late: dict[int, Late] = {}
_lock = threading.Lock()


watching = False


def watch() -> None:
    """Keep entry spans from now on: for modules that need them, when they are imported."""
    global watching  # noqa: PLW0603  # a process has one answer
    watching = True


def opened(span: Span) -> None:
    """An entry span has started."""
    trace_id = span.context.trace_id
    if first.setdefault(trace_id, span) is not span:
        with _lock:
            more.setdefault(trace_id, []).append(span)
    elif len(first) > MAX_OPEN:
        with _lock:
            _forget(next(iter(first)))


def ended(span: ReadableSpan) -> None:
    """An entry span has ended; with its trace's last one goes what was said of the trace."""
    trace_id, span_id = span.context.trace_id, span.context.span_id
    if not late and not more:
        first.pop(trace_id, None)
        return
    with _lock:
        spans = [first[trace_id], *more.pop(trace_id, ())] if trace_id in first else []
        rest = [it for it in spans if it.context.span_id != span_id]
        said = late.get(trace_id) if not rest else None
        if not rest:
            _forget(trace_id)
        else:
            first[trace_id] = rest[0]
            if rest[1:]:
                more[trace_id] = rest[1:]
    if said is not None:
        _restore_context(said)


def _forget(trace_id: int) -> None:
    first.pop(trace_id, None)
    more.pop(trace_id, None)
    late.pop(trace_id, None)


def update(entries: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    """Say something of the current traces, over what is there: `update_trace_context`.

    Args:
        entries: request facts, by baggage key.
        metadata: more trace metadata, by name.
    """
    try:
        trace_ids = _current_traces()
        _remember(trace_ids, entries)
        record({**entries, **attributes_from_metadata(metadata)}, trace_ids)
        # Of an open trace the metadata is with the trace; what comes after must not have it.
        context = set_request_facts(
            context_api.get_current(), entries, {} if trace_ids else metadata
        )
        context_api.attach(context)
    except Exception as error:
        _log_once(error)


_logged: set[type[Exception]] = set()


def _log_once(error: Exception) -> None:
    if type(error) not in _logged:
        _logged.add(type(error))
        _logger.warning("a trace goes on without what was said of it", exc_info=error)


def record(facts: Mapping[str, str], trace_ids: Iterable[int] | None = None) -> None:
    """Write facts, as attributes of a root span, to traces: by default to those that are current.

    To their entry spans in this process, and where MLflow's SDK holds the trace, to its metadata.
    """
    for trace_id in _current_traces() if trace_ids is None else trace_ids:
        held = sdk_internals.update_trace(trace_id, facts)
        for span in (first.get(trace_id), *more.get(trace_id, ())):
            if span is not None and span.is_recording():
                span.set_attributes(_attributes(span, facts, held=held))


def _attributes(span: Span, facts: Mapping[str, str], *, held: bool) -> Mapping[str, str]:
    settings = current_settings()
    present = span.attributes or {}
    declared = present.get(METADATA_KEYS)
    if METADATA_KEYS in facts and isinstance(declared, str):
        facts = merge_facts({METADATA_KEYS: declared}, facts)
    flags = [key for key in facts if key.startswith(FEATURE_FLAG_PREFIX) and key not in present]
    if flags and sum(key.startswith(FEATURE_FLAG_PREFIX) for key in present) >= MAX_FEATURE_FLAGS:
        facts = {key: value for key, value in facts.items() if key not in flags}
    if settings.tags and (span.parent is None or settings.trace_boundary == "service"):
        facts = {**facts, **tag_attributes(facts)}
    return sdk_internals.encoded(facts) if held else facts


def _current_traces() -> set[int]:
    """OpenTelemetry's current trace and that of MLflow's SDK, which may be another."""
    trace_ids = {get_current_span().get_span_context().trace_id, sdk_internals.active_trace_id()}
    return {trace_id for trace_id in trace_ids if trace_id}


# --- What was said late, for outgoing calls ----------------------------------------------------


def _remember(trace_ids: set[int], entries: Mapping[str, str]) -> None:
    context = context_api.get_current()
    for trace_id in trace_ids & first.keys() if entries else ():
        said = late.setdefault(trace_id, Late())
        for key, value in entries.items():
            before = said.baggage.get(key) or baggage.get_baggage(key, context)
            said.replaced.setdefault(key, []).append(before)
            said.baggage[key] = value


def with_baggage_of_trace(context: Context) -> Context:
    """The context with what is known of who asks for its trace, but not in this context.

    That is what was said elsewhere since, if no `trace_context` that was entered later says
    something else; and, where the context says nothing, what the entry span says: some servers'
    instrumentations (aiohttp's) start a span with the baggage of the request but do not attach it.
    """
    trace_id = get_current_span(context).get_span_context().trace_id
    if trace_id not in first:
        trace_id = sdk_internals.active_trace_id() or 0
    said = late.get(trace_id)
    if said is not None:
        for key, value in list(said.baggage.items()):
            present = baggage.get_baggage(key, context)
            if present is None or present in said.replaced[key]:
                context = baggage.set_baggage(key, value, context)
    entry = first.get(trace_id)
    attributes = sdk_internals.decoded((entry and entry.attributes) or {})
    for fact in REQUEST_FACTS:
        if fact.attribute in attributes and baggage.get_baggage(fact.source, context) is None:
            context = baggage.set_baggage(fact.source, attributes[fact.attribute], context)
    return context


def _restore_context(said: Late) -> None:
    """Take what was said of a trace out of the context that goes on after it.

    A span that is current in OpenTelemetry's context has taken it along when it ended. MLflow's
    SDK has a context of its own: there, the next trace would be the last one's user's.
    """
    context = current = context_api.get_current()
    for key, value in said.baggage.items():
        before = said.replaced[key][0]
        if before != value and baggage.get_baggage(key, context) == value:
            context = (
                baggage.remove_baggage(key, context)
                if before is None
                else baggage.set_baggage(key, before, context)
            )
    if context is not current:
        context_api.attach(context)
