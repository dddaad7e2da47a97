"""The plugin's metrics, by OpenTelemetry's API: nothing is kept where no meter provider is set."""

from __future__ import annotations

from opentelemetry import metrics

_meter = metrics.get_meter("otel_mlflow_context.server")

traces = _meter.create_counter(
    "otel_mlflow_context.server.traces",
    unit="{trace}",
    description="Traces whose spans were stored, by whether the request set their metadata",
)
"""Attribute ``metadata``: true or false."""
partial_successes = _meter.create_counter(
    "otel_mlflow_context.server.partial_successes",
    unit="{request}",
    description="Requests of which some traces were rejected",
)
rejected_traces = _meter.create_counter(
    "otel_mlflow_context.server.rejected_traces",
    unit="{trace}",
    description="Traces that MLflow rejected, in requests of which others were stored",
)
rejected_requests = _meter.create_counter(
    "otel_mlflow_context.server.rejected_requests",
    unit="{request}",
    description="Requests that exceeded a limit",
)
duration = _meter.create_histogram(
    "otel_mlflow_context.server.duration",
    unit="s",
    description="Time that the plugin added to a request",
)
