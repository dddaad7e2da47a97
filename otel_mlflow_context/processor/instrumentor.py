"""The whole set-up in one call, or in none: `opentelemetry-instrument` finds it by itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry import trace

# The base class's module turns its type checking off.
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_mlflow_context import settings
from otel_mlflow_context.mlflow_client.sdk import internals as sdk_internals
from otel_mlflow_context.processor.span_processor import MlflowContextSpanProcessor


class MlflowContextInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the same
    """Adds a `MlflowContextSpanProcessor` wherever traces are made in this process.

    That is the tracer provider that is there, if it is the SDK's, and every provider that MLflow's
    own SDK makes, now and later, whether MLflow is imported already or not.

    Example:

    >>> MlflowContextInstrumentor().instrument()
    >>> MlflowContextInstrumentor().uninstrument()
    """

    _processor: MlflowContextSpanProcessor | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: it serves OpenTelemetry alone, and MLflow where that is loaded."""
        return ()

    def _instrument(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        resource: Resource | None = None,
        skip_dep_check: bool = False,  # noqa: ARG002  # the base class passes it on
        **options: Any,
    ) -> None:
        """Called by `instrument`.

        Args:
            tracer_provider: where to add the processor; by default the global provider.
            resource: what is known of the process; by default it is detected.
            skip_dep_check: of OpenTelemetry's; there is nothing to check.
            options: settings of this process in place of the ``OTEL_MLFLOW_CONTEXT_*`` variables,
                by the variable's name in lower case and without the prefix: `metadata_keys`.

        Raises:
            ValueError: an option that is not known, or not of its form.
        """
        settings.override(**options)
        self._processor = MlflowContextSpanProcessor(resource)
        sdk_internals.install(self._processor)
        provider = tracer_provider or trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            sdk_internals.add_to(provider)

    def _uninstrument(self, **_: Any) -> None:
        sdk_internals.uninstall()
        settings.forget()
        if self._processor is not None:
            self._processor.disable()
            self._processor = None
