"""Propagators: request facts come in with headers, and baggage leaves for trusted hosts only."""

from otel_mlflow_context.propagators.http_headers import incoming_headers, outgoing_headers
from otel_mlflow_context.propagators.mlflow_headers import MlflowHeadersPropagator
from otel_mlflow_context.propagators.trusted_baggage import TrustedBaggagePropagator

__all__ = [
    "MlflowHeadersPropagator",
    "TrustedBaggagePropagator",
    "incoming_headers",
    "outgoing_headers",
]
