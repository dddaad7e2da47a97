"""The span processor: facts of the process and of the request, onto root spans."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_mlflow_context.context.active_traces import ACTIVE_TRACES
from otel_mlflow_context.facts.metadata import (
    attributes_from_metadata,
    merge_facts,
    metadata_from_attributes,
    tag_attributes,
)
from otel_mlflow_context.facts.process import process_facts
from otel_mlflow_context.facts.request import RequestFacts
from otel_mlflow_context.mlflow_client import sdk_internals
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)

_IS_REMOTE: Final = 2
# Spans that never end must not fill the memory; so many roots are never open at once.
_MAX_UNHELD: Final = 10_000


class MlflowContextSpanProcessor(SpanProcessor):
    """Writes who made a trace, and who asked for it, onto its root span.

    A span with a parent in this process is left alone. Every other, a trace's root or a service's
    entry, gets the facts of the table in `names` as attributes; an attribute that is already there
    stays. Where MLflow's SDK holds the trace in memory, its metadata is written too.

    Session and user come from baggage. **Baggage leaves with every outgoing request**, to
    wherever that goes, unless a propagator keeps it back.

    Args:
        resource: what is known of the process. By default it is detected
            (`detect_resource`), below the resource of the provider that the processor is added to.
            A resource that is given is not completed by detection, and wins over the provider's.
        metadata_keys: more resource attributes and baggage keys to carry, by name.
        trace_boundary: "root" - only a span without a parent speaks for the trace; or "service" -
            the entry span of this service does.
        source_type: "environment" - `mlflow.source.type` says the deployment environment where
            one is known; or "kind" - always LOCAL, NOTEBOOK or JOB.
        tags: write `mlflow.traceTag.<key>` attributes too, for traces that go through a Collector.

    What is not given is taken from the ``OTEL_MLFLOW_CONTEXT_*`` variables.

    Raises:
        ValueError: an argument that is not allowed; the message names it and what is.

    Example:

    >>> from opentelemetry.sdk.resources import Resource
    >>> from opentelemetry.sdk.trace import TracerProvider
    >>> provider = TracerProvider()
    >>> provider.add_span_processor(
    ...     MlflowContextSpanProcessor(Resource({"service.version": "1.2.0"}))
    ... )
    >>> with provider.get_tracer("app").start_as_current_span("answer") as span:
    ...     print(span.attributes["app_version"])
    1.2.0
    """

    def __init__(
        self,
        resource: Resource | None = None,
        *,
        metadata_keys: Iterable[str] | None = None,
        trace_boundary: str | None = None,
        source_type: str | None = None,
        tags: bool | None = None,
    ) -> None:
        if not isinstance(resource, (Resource, type(None))):
            raise ValueError(  # noqa: TRY004
                f"resource must be a Resource or None, not {type(resource).__name__}"
            )
        self._settings = current_settings().with_options(
            metadata_keys=metadata_keys,
            trace_boundary=trace_boundary,
            source_type=source_type,
            tags=tags,
        )
        self._request_facts = RequestFacts(self._settings)
        self._given = resource
        self._detected = _detected() if resource is None else None
        # The provider's resource and the facts that follow from it: one tuple, so that a thread
        # never sees the facts of another resource.
        self._process: tuple[Resource | None, dict[str, str]] = (None, {})
        # Span ids of open root spans whose traces MLflow's SDK may come to hold only after our
        # `on_start`, its processor being behind this one.
        self._unheld: set[int] = set()
        self._enabled = True
        self._failed = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        # By its place in the tuple that a span context is: most spans are children, and this is all
        # that one costs.
        parent = span.parent
        if parent is not None and not parent[_IS_REMOTE]:
            return
        if not self._enabled:
            return
        # In one piece, because this is what a root span costs.
        try:
            facts: Mapping[str, str]
            resource, facts = self._process
            if span.resource is not resource:
                facts = self._learn(span.resource)
            if request := self._request_facts.read(parent_context):
                facts = merge_facts(facts, request)
            present = span.attributes
            if (
                sdk_internals.MANAGER_MODULE in sys.modules
                or self._settings.tags
                or (present and not facts.keys().isdisjoint(present))
            ):
                facts = self._with_others(span, facts)
            span.set_attributes(facts)
            if ACTIVE_TRACES.enabled:
                ACTIVE_TRACES.add(span)
        except Exception as error:
            self._log_once(error)

    def on_end(self, span: ReadableSpan) -> None:
        if not (ACTIVE_TRACES.enabled or self._unheld):
            return
        parent = span.parent
        if parent is not None and not parent[_IS_REMOTE]:
            return
        try:
            if ACTIVE_TRACES.enabled:
                ACTIVE_TRACES.remove(span)
            if span.context.span_id in self._unheld:
                self._unheld.discard(span.context.span_id)
                sdk_internals.update_trace_on_end(span)
        except Exception as error:
            self._log_once(error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Nothing waits here. True, without which older SDKs do not flush the processors behind."""
        return True

    def disable(self) -> None:
        """Do nothing from now on. OpenTelemetry cannot remove a processor from its provider."""
        self._enabled = False

    def _with_others(self, span: Span, facts: Mapping[str, str]) -> Mapping[str, str]:
        """The facts where the span or MLflow has something to say too, or tags are wanted."""
        present = span.attributes or {}
        facts = merge_facts(facts, attributes_from_metadata(metadata_from_attributes(present)))
        speaks = span.parent is None or self._settings.trace_boundary == "service"
        held = False
        if sdk_internals.is_loaded():
            facts, held = sdk_internals.update_trace_on_start(span, facts, speaks=speaks)
            if not held and span.parent is None and len(self._unheld) < _MAX_UNHELD:
                self._unheld.add(span.context.span_id)
        if self._settings.tags and speaks:
            facts = {**facts, **tag_attributes(facts)}
        if held:
            facts = sdk_internals.encoded(facts)
        return {key: value for key, value in facts.items() if key not in present}

    def _learn(self, resource: Resource) -> dict[str, str]:
        if self._given is not None:
            layers = [self._given.attributes, resource.attributes]
        else:
            detected = self._detected.attributes if self._detected is not None else {}
            layers = [OTELResourceDetector().detect().attributes, resource.attributes, detected]
        facts = process_facts(layers, self._settings)
        self._process = (resource, facts)
        return facts

    def _log_once(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            _logger.warning("a trace goes on without its context", exc_info=error)


def _detected() -> Resource:
    # Imported here: who gives a resource does not pay for the detectors.
    from otel_mlflow_context.detectors import detect_resource

    return detect_resource()
