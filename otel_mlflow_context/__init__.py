"""Adds code version, deployment, user and session to the metadata of every MLflow trace.

Importing this package imports neither mlflow nor git: a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_mlflow_context.context.trace_context import trace_context
    from otel_mlflow_context.context.update import update_trace_context
    from otel_mlflow_context.detectors import (
        DeploymentResourceDetector,
        GitResourceDetector,
        SourceResourceDetector,
        detect_resource,
    )
    from otel_mlflow_context.mlflow_client.exporter import MlflowSpanExporter
    from otel_mlflow_context.processor.instrumentor import MlflowContextInstrumentor
    from otel_mlflow_context.processor.span_processor import MlflowContextSpanProcessor

__all__ = [
    "MlflowContextSpanProcessor",
    "MlflowSpanExporter",
    "MlflowContextInstrumentor",
    "GitResourceDetector",
    "SourceResourceDetector",
    "DeploymentResourceDetector",
    "detect_resource",
    "trace_context",
    "update_trace_context",
]

_MODULES = {
    "MlflowContextSpanProcessor": "processor.span_processor",
    "MlflowSpanExporter": "mlflow_client.exporter",
    "MlflowContextInstrumentor": "processor.instrumentor",
    "GitResourceDetector": "detectors",
    "SourceResourceDetector": "detectors",
    "DeploymentResourceDetector": "detectors",
    "detect_resource": "detectors",
    "trace_context": "context.trace_context",
    "update_trace_context": "context.update",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
