"""Every MLflow trace says which code, deployment, user and session produced it.

Importing this package imports neither mlflow nor git: a name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_mlflow_context.context import trace_context
    from otel_mlflow_context.detectors import (
        DeploymentResourceDetector,
        GitResourceDetector,
        SourceResourceDetector,
        detect_resource,
    )
    from otel_mlflow_context.exporter import MlflowSpanExporter
    from otel_mlflow_context.instrumentor import MlflowContextInstrumentor
    from otel_mlflow_context.late import update_trace_context
    from otel_mlflow_context.processor import MlflowContextSpanProcessor

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
    "MlflowContextSpanProcessor": "processor",
    "MlflowSpanExporter": "exporter",
    "MlflowContextInstrumentor": "instrumentor",
    "GitResourceDetector": "detectors",
    "SourceResourceDetector": "detectors",
    "DeploymentResourceDetector": "detectors",
    "detect_resource": "detectors",
    "trace_context": "context",
    "update_trace_context": "late",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
