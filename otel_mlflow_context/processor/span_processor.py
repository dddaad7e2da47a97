"""The span processor: process facts and request facts to entry spans."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_mlflow_context import detectors
from otel_mlflow_context.context.active_traces import ACTIVE_TRACES
from otel_mlflow_context.facts.metadata import (
    attributes_from_metadata,
    merge_facts,
    metadata_from_attributes,
    with_tags,
)
from otel_mlflow_context.facts.process import process_facts
from otel_mlflow_context.facts.request import RequestFacts
from otel_mlflow_context.mlflow_client.sdk import in_memory_trace
from otel_mlflow_context.mlflow_client.sdk.internals import MANAGER_MODULE
from otel_mlflow_context.mlflow_client.span_attributes import encoded
from otel_mlflow_context.settings import current_settings

if TYPE_CHECKING:
    from otel_mlflow_context.mlflow_client.sdk.versions import VersionLinks

_logger = logging.getLogger(__name__)

_IS_REMOTE: Final = 2
# Spans that never end must not fill the memory; so many roots are never open at once.
_MAX_PENDING: Final = 10_000


class MlflowContextSpanProcessor(SpanProcessor):
    """Adds process facts and request facts to entry spans, and MLflow's trace metadata.

    A span with a parent in this process is left alone. Every other, a trace's root or a service's
    entry span, gets the facts of the tables in `semconv` as attributes; an attribute that is
    already there stays. Where MLflow's SDK has the trace in memory, its metadata is written too.

    Session and user come from baggage. **Baggage is sent with every outgoing request, to other
    companies' servers too.** The propagator ``trusted_baggage``, in place of ``baggage`` in
    ``OTEL_PROPAGATORS``, sends it to the hosts that are trusted only.

    Args:
        resource: the process facts. By default they are detected (`detect_resource`), and the
            resource of the provider that the processor is added to wins. A resource that is given
            is not completed by detection, and wins over the provider's.
        metadata_keys: more resource attributes and baggage keys to carry, by name.
        trace_boundary: "root" - only a span without a parent sets the trace's metadata; or
            "service" - the entry span of this service does.
        source_type: "environment" - `mlflow.source.type` is the deployment environment where one
            is known; or "kind" - always LOCAL, NOTEBOOK or JOB.
        tags: write `mlflow.traceTag.<key>` attributes too, for traces that go through a Collector.
        versions: link the traces that MLflow's SDK exports to the LoggedModel of their service,
            version and commit, which is made at first sight. `MlflowSpanExporter` has the same.

    The defaults are the ``OTEL_MLFLOW_CONTEXT_*`` variables'.

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

    def __init__(  # noqa: PLR0913  # by name, each with a default
        self,
        resource: Resource | None = None,
        *,
        metadata_keys: Iterable[str] | None = None,
        trace_boundary: str | None = None,
        source_type: str | None = None,
        tags: bool | None = None,
        versions: bool | None = None,
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
            versions=versions,
        )
        self._request_facts = RequestFacts(self._settings)
        self._given = resource
        self._detected: Mapping[str, Any] = {}
        if resource is None:
            self._detected = detectors.detect_resource().attributes
        # The provider's resource and its facts: one tuple, so that a thread never sees the facts
        # of another resource.
        self._process: tuple[Resource | None, dict[str, str]] = (None, {})
        # Span ids of open root spans whose in-memory traces MLflow's processor, behind this one,
        # may add after our `on_start`.
        self._pending: set[int] = set()
        self._links: VersionLinks | None = None
        self._enabled = True
        self._failed = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        # Most spans are children, and this is all that one costs: a span context is a tuple.
        parent = span.parent
        if parent is not None and not parent[_IS_REMOTE]:
            return
        if not self._enabled:
            return
        # In one piece: calls would cost a root span more.
        try:
            facts: Mapping[str, str]
            resource, facts = self._process
            if span.resource is not resource:
                facts = self._process_facts(span.resource)
            if request := self._request_facts.read(parent_context):
                facts = merge_facts(facts, request)
            present = span.attributes
            if (
                MANAGER_MODULE in sys.modules
                or self._settings.tags
                or (present and not facts.keys().isdisjoint(present))
            ):
                facts = self._merged(span, facts)
            span.set_attributes(facts)
            if ACTIVE_TRACES.enabled:
                ACTIVE_TRACES.add(span)
        except Exception as error:
            self._log_once(error)

    def on_end(self, span: ReadableSpan) -> None:
        links = self._links
        if not (ACTIVE_TRACES.enabled or self._pending or links):
            return
        parent = span.parent
        if parent is not None and not parent[_IS_REMOTE]:
            return
        try:
            if ACTIVE_TRACES.enabled:
                ACTIVE_TRACES.remove(span)
            if span.context.span_id in self._pending:
                self._pending.discard(span.context.span_id)
                in_memory_trace.update_on_end(span, self._settings.metadata_keys, links)
            if links is not None:
                links.end(span.context.span_id)
        except Exception as error:
            self._log_once(error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until the traces that have ended are linked to their versions, where that is asked.

        True where nothing is left, without which older SDKs do not flush the processors behind.
        """
        return self._links is None or self._links.flush(timeout_millis / 1_000)

    def disable(self) -> None:
        """Do nothing from now on. OpenTelemetry cannot remove a processor from its provider."""
        self._enabled = False

    def _merged(self, span: Span, facts: Mapping[str, str]) -> Mapping[str, str]:
        """The facts with those of the span and of MLflow's in-memory trace, and with tags."""
        present = span.attributes or {}
        declared = self._settings.metadata_keys
        own = metadata_from_attributes(present, declared)
        facts = merge_facts(facts, attributes_from_metadata(own, declared))
        sets_metadata = self._settings.is_trace_boundary(span.parent)
        is_in_memory = False
        if MANAGER_MODULE in sys.modules:
            facts, is_in_memory = in_memory_trace.update_on_start(
                span, facts, declared, sets_metadata=sets_metadata, links=self._version_links()
            )
            if not is_in_memory and span.parent is None and len(self._pending) < _MAX_PENDING:
                self._pending.add(span.context.span_id)
        if self._settings.tags and sets_metadata:
            facts = with_tags(facts, declared)
        if is_in_memory:
            facts = encoded(facts)
        return {key: value for key, value in facts.items() if key not in present}

    def _version_links(self) -> VersionLinks | None:
        if self._links is None and self._settings.versions:
            from otel_mlflow_context.mlflow_client.sdk.versions import VersionLinks

            self._links = VersionLinks()
        return self._links

    def _process_facts(self, resource: Resource) -> dict[str, str]:
        if self._given is not None:
            layers = [self._given.attributes, resource.attributes]
        else:
            environment = OTELResourceDetector().detect().attributes
            layers = [environment, resource.attributes, self._detected]
        facts = process_facts(layers, self._settings)
        self._process = (resource, facts)
        return facts

    def _log_once(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            _logger.warning("a trace goes on without its facts", exc_info=error)
