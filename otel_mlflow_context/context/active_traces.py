"""The registry of the active traces of this process.

Entry spans are registered from their start to their end. What `update_trace_context` sets for a
trace is stored with its entry span, because the context in which it was set may already be
detached (in a thread pool, or a nested task) when the next request is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import get_current_span

from otel_mlflow_context.facts.metadata import MAX_FEATURE_FLAGS, merge_facts, with_tags
from otel_mlflow_context.mlflow_client.sdk import in_memory_trace
from otel_mlflow_context.mlflow_client.sdk.internals import active_trace_id
from otel_mlflow_context.mlflow_client.span_attributes import encoded
from otel_mlflow_context.semconv import FEATURE_FLAG_PREFIX, METADATA_KEYS
from otel_mlflow_context.settings import current_settings

# Spans that never end must not fill the memory; so many traces are never active at once.
MAX_TRACES: Final = 10_000


@dataclass
class BaggageUpdates:
    """The baggage entries that `update_trace_context` has set for a trace."""

    entries: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, list[object]] = field(default_factory=dict)
    """By key, the context's value before each update; None where it had none."""

    def add(self, entries: Mapping[str, str], context: Context) -> None:
        for key, value in entries.items():
            before = self.entries.get(key) or baggage.get_baggage(key, context)
            self.replaced.setdefault(key, []).append(before)
            self.entries[key] = value

    def apply(self, context: Context) -> Context:
        """The context with the entries; what an inner `trace_context` has set since wins."""
        for key, value in list(self.entries.items()):
            present = baggage.get_baggage(key, context)
            if present is None or present in self.replaced[key]:
                context = baggage.set_baggage(key, value, context)
        return context

    def undo(self, context: Context) -> Context:
        """The context as it was before."""
        for key, value in self.entries.items():
            before = self.replaced[key][0]
            if before != value and baggage.get_baggage(key, context) == value:
                context = baggage.remove_baggage(key, context)
                if before is not None:
                    context = baggage.set_baggage(key, before, context)
        return context


class ActiveTraces:
    """The entry spans that have started and not ended, by trace id and span id."""

    def __init__(self) -> None:
        self.enabled = False
        """Set by the modules that need the registry, when they are imported."""
        self.entry_spans: dict[int, dict[int, Span]] = {}
        self.baggage_updates: dict[int, BaggageUpdates] = {}

    def add(self, span: Span) -> None:
        """An entry span has started."""
        trace_id = span.context.trace_id
        # No lock: each step is atomic, and a lock that a fork copies would block the child.
        self.entry_spans.setdefault(trace_id, {})[span.context.span_id] = span
        if len(self.entry_spans) > MAX_TRACES:
            self._drop(next(iter(self.entry_spans)))

    def remove(self, span: ReadableSpan) -> None:
        """An entry span has ended; with the last one of its trace go the trace's updates.

        They also leave the context that goes on after the trace. A span that is current in
        OpenTelemetry's context has taken them along when it ended. MLflow's SDK has a context of
        its own: there, the next trace would get the last one's user.
        """
        trace_id = span.context.trace_id
        spans = self.entry_spans.get(trace_id, {})
        spans.pop(span.context.span_id, None)
        if spans:
            return
        if (updates := self._drop(trace_id)) is not None:
            current = context_api.get_current()
            restored = updates.undo(current)
            if restored is not current:
                context_api.attach(restored)

    def _drop(self, trace_id: int) -> BaggageUpdates | None:
        self.entry_spans.pop(trace_id, None)
        return self.baggage_updates.pop(trace_id, None)


ACTIVE_TRACES: Final = ActiveTraces()


def current_trace_ids() -> set[int]:
    """The ids of OpenTelemetry's current trace and of MLflow's SDK's, which may be another."""
    trace_ids = {get_current_span().get_span_context().trace_id, active_trace_id()}
    return {trace_id for trace_id in trace_ids if trace_id}


def record(facts: Mapping[str, str], trace_ids: Iterable[int] | None = None) -> None:
    """Write facts to traces, over what is there: to entry spans and to MLflow's in-memory trace.

    Args:
        facts: attributes of a root span.
        trace_ids: by default the current ones.
    """
    for trace_id in current_trace_ids() if trace_ids is None else trace_ids:
        is_in_memory = in_memory_trace.update(trace_id, facts)
        for span in list(ACTIVE_TRACES.entry_spans.get(trace_id, {}).values()):
            if span.is_recording():
                attributes = _attributes(span, facts)
                span.set_attributes(encoded(attributes) if is_in_memory else attributes)


def _attributes(span: Span, facts: Mapping[str, str]) -> Mapping[str, str]:
    settings = current_settings()
    present = span.attributes or {}
    declared = present.get(METADATA_KEYS)
    if METADATA_KEYS in facts and isinstance(declared, str):
        facts = merge_facts({METADATA_KEYS: declared}, facts)
    flags = [key for key in facts if key.startswith(FEATURE_FLAG_PREFIX) and key not in present]
    if flags and sum(key.startswith(FEATURE_FLAG_PREFIX) for key in present) >= MAX_FEATURE_FLAGS:
        facts = {key: value for key, value in facts.items() if key not in flags}
    if settings.tags and settings.is_trace_boundary(span.parent):
        return with_tags(facts, settings.metadata_keys)
    return facts
