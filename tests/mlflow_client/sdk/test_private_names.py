"""What of MLflow and OpenTelemetry is used without being public: an upgrade that breaks it is
seen by name."""

from __future__ import annotations

import inspect
from importlib import import_module

import mlflow
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext
from packaging.version import Version

from otel_mlflow_context.mlflow_client.sdk import internals as sdk_internals

MLFLOW = Version(mlflow.__version__)
MLFLOWS = [name for name in sdk_internals.PRIVATE_NAMES if name[0].startswith("mlflow.")]


# Of MLflow's models, with the newest SQLAlchemy.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
@pytest.mark.parametrize(("module", "name"), MLFLOWS, ids=str)
def test_mlflow_has(module: str, name: str) -> None:
    if module == "mlflow.tracing.context" and Version("3.10") > MLFLOW:
        pytest.skip(f"MLflow {MLFLOW} has no mlflow.tracing.context")
    it = import_module(module)
    for part in name.split("."):
        it = getattr(it, part)


def test_opentelemetry_has_a_tuple_of_processors() -> None:
    provider = TracerProvider()
    processor = SimpleSpanProcessor(InMemorySpanExporter())
    provider.add_span_processor(processor)
    assert provider._active_span_processor._span_processors == (processor,)


def test_opentelemetry_has_a_dictionary_of_attributes_that_an_ended_span_shares() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("test").start_span("root")
    span.end()
    span._attributes._dict["late"] = "yes"
    assert exporter.get_finished_spans()[0].attributes["late"] == "yes"


def test_a_span_context_of_opentelemetry_is_a_tuple_whose_third_item_is_is_remote() -> None:
    context = SpanContext(1, 2, is_remote=True)
    assert context[2] is context.is_remote is True


def test_the_list_of_private_names_is_complete() -> None:
    source = inspect.getsource(sdk_internals)
    used = {line.split("SLF001")[0] for line in source.splitlines() if "SLF001" in line}
    assert all("_span_processors" in line or "_attributes._dict" in line for line in used)
