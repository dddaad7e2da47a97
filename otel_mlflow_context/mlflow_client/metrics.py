"""What the exporter does, as OpenTelemetry metrics: nothing where no meter provider is set."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from opentelemetry.metrics import MeterProvider, get_meter

SPANS: Final = "otel_mlflow_context.exporter.spans"
METADATA: Final = "otel_mlflow_context.exporter.metadata"
WAITING: Final = "otel_mlflow_context.exporter.metadata.waiting"
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/
ERROR_TYPE: Final = "error.type"

UNAVAILABLE: Final = "unavailable"
OVERFLOW: Final = "overflow"
SHUTDOWN: Final = "shutdown"
"""Values of `error.type` beside the statuses of HTTP, such as "403"."""


class ExporterMetrics:
    """Counts each span once, and the metadata of each trace once, when it is sent or dropped.

    Args:
        meter_provider: by default the global one, also if it is set later.
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        name = "otel_mlflow_context"
        meter = get_meter(name, version("otel-mlflow-context"), meter_provider)
        self._spans = meter.create_counter(
            SPANS, "{span}", "Spans that were sent to MLflow, or dropped (with error.type)"
        )
        self._metadata = meter.create_counter(
            METADATA, "{trace}", "Traces whose metadata was written, or dropped (with error.type)"
        )
        self._waiting = meter.create_up_down_counter(
            WAITING, "{trace}", "Traces whose metadata is in the retry queue"
        )

    def spans(self, count: int, error_type: str | None = None) -> None:
        if count:
            self._spans.add(count, {ERROR_TYPE: error_type} if error_type else None)

    def metadata(self, count: int = 1, error_type: str | None = None) -> None:
        if count:
            self._metadata.add(count, {ERROR_TYPE: error_type} if error_type else None)

    def waiting(self, change: int) -> None:
        if change:
            self._waiting.add(change)
