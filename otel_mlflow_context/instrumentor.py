"""The whole set-up in one call, or in none: `opentelemetry-instrument` finds it by itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry import trace

# The base class's module turns its type checking off.
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.sdk.trace import TracerProvider

from otel_mlflow_context import mlflow_sdk
from otel_mlflow_context.processor import MlflowContextSpanProcessor


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

    def _instrument(self, *, tracer_provider: TracerProvider | None = None, **options: Any) -> None:
        """Called by `instrument`.

        Args:
            tracer_provider: where to add the processor; by default the global provider.
            options: arguments of `MlflowContextSpanProcessor`.

        Raises:
            ValueError: an option that is not known, or not of its form.
        """
        self._processor = MlflowContextSpanProcessor(**options)
        mlflow_sdk.install(self._processor)
        provider = tracer_provider or trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            mlflow_sdk.add_to(provider)

    def _uninstrument(self, **_: Any) -> None:
        mlflow_sdk.uninstall()
        if self._processor is not None:
            self._processor.disable()
            self._processor = None
