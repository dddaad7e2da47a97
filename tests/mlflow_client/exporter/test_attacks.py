"""What a stranger gets who writes a span's attributes, and what the server is like afterwards."""

from __future__ import annotations

from typing import Any

import mlflow
import pytest
from attacks import KEYS, LISTED, MLFLOW_KEYS, READ_KEYS, VALUES, claiming
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from shared import shared_mlflow_server
from table import FACTS

from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter

# Attributes with which any exporter, a plain one too, makes a trace unreadable for some MLflow.
NOT_OURS = ("mlflow.traceRequestId", "mlflow.traceTag.mlflow.trace.spansLocation")
# What MLflow writes of each trace by itself.
BY_MLFLOW = (
    *("mlflow.trace.sizeStats", "mlflow.trace.sizeBytes", "mlflow.trace.infoFinalized"),
    *("mlflow.trace_schema.version", "mlflow.traceInputs", "mlflow.traceOutputs"),
    *("mlflow.trace.session", "mlflow.trace.user", "mlflow.trace.tokenUsage", "mlflow.trace.cost"),
)


@pytest.fixture
def server(empty_store: Any) -> Any:
    """Others would wait while it stores what is sent here: megabytes in a span."""
    return shared_mlflow_server("attacked", empty_store)


def spans_with(attacks: dict[str, dict[str, Any]], facts: dict[str, Any]) -> list[ReadableSpan]:
    """A root span for each, named after it, as the processor and the SDK leave it."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(MlflowContextSpanProcessor(Resource(facts)))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test")
    for name, attributes in attacks.items():
        at_start = {key: value for key, value in attributes.items() if key}
        tracer.start_span(f"{name} at start", attributes=at_start).end()
        span = tracer.start_span(f"{name} later")
        span.set_attributes(at_start)
        span.end()
    return list(memory.get_finished_spans())


ATTACKS = {
    **{f"key {number}": claiming(key) for number, key in enumerate(KEYS) if key not in NOT_OURS},
    **{
        f"value {name}": claiming(*(key for key in MLFLOW_KEYS if key not in NOT_OURS), value=value)
        for name, value in VALUES.items()
    },
    "many keys": claiming(*(f"key-{number}" for number in range(90)), value="x" * 10_000),
    "many flags": {f"feature_flag_{number:0230}": "\U0001f600" * 250 for number in range(100)},
    "a long list": {LISTED: ",".join(["mlflow.trace.cost"] * 50_000)},
    "flags of mlflow's": {f"feature_flag_/../{key}": "{not json" for key in MLFLOW_KEYS},
}


def test_nobody_gets_anything_and_everything_stays_readable(
    server: Any, experiment: str, traces: Any
) -> None:
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment, timeout=60)
    benign = spans_with({"benign": {}}, FACTS)
    assert exporter.export(benign) is SpanExportResult.SUCCESS
    attacks = spans_with(ATTACKS, FACTS)
    for start in range(0, len(attacks), 50):
        exporter.export(attacks[start : start + 50])
    assert exporter.force_flush()

    stored = {trace.data.spans[0].name: trace for trace in traces(server.uri, experiment)}
    assert stored.keys() >= {span.name for span in benign}
    assert len(stored) > 2 * len(ATTACKS) - 10
    expected = own(stored["benign later"])
    client = mlflow.MlflowClient(server.uri)
    for name, trace in stored.items():
        assert client.get_trace(trace.info.trace_id).info.trace_id == trace.info.trace_id
        found = own(trace)
        free = {key for key in found.keys() - expected.keys() if key.startswith("key-")}
        flags = {key for key in found if key.startswith("feature_flag_")}
        # The two that push at the number have some of what they want, and no more.
        assert len(free) <= 32 if name.startswith("many keys") else not free
        assert len(flags) <= 64 if name.startswith("many flags") else not flags
        rest = {key: value for key, value in found.items() if key not in free | flags}
        assert rest == expected, name
        assert sum(len(f"{key}{value}".encode()) for key, value in found.items()) <= 33_000
        assert trace.info.token_usage in (None, {}), name
    for key in (*MLFLOW_KEYS, *READ_KEYS):
        if key.isascii() and key not in BY_MLFLOW:
            assert not traces(server.uri, experiment, f"metadata.`{key}` = '{{not json'"), key


def own(trace: Any) -> dict[str, str]:
    """The metadata but for what MLflow itself makes of the spans."""
    return {k: v for k, v in trace.info.trace_metadata.items() if k not in BY_MLFLOW}


@pytest.mark.parametrize("name", ["session.id", "user.id", "mlflow.client_request_id"])
@pytest.mark.parametrize(
    "value", [*VALUES.values(), "\ud800", "' OR 1=1 --"], ids=[*VALUES, "surrogate", "SQL"]
)
def test_a_value_of_the_table_is_text_of_bounded_length(
    server: Any, experiment: str, traces: Any, name: str, value: Any
) -> None:
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment)
    exporter.export(spans_with({"attack": {name: value}}, {}))
    for trace in traces(server.uri, experiment):
        metadata = trace.info.trace_metadata
        for text in (metadata.get("mlflow.trace.session"), metadata.get("mlflow.trace.user")):
            assert text is None or (len(text) <= 250 and "\x00" not in text and "\n" not in text)
        assert len(trace.info.client_request_id or "") <= 50
