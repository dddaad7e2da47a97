"""What a real MLflow server has of a trace that the exporter has sent."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from packaging.version import Version
from servers import Front
from table import ATTRIBUTES

from otel_mlflow_context import MlflowSpanExporter, settings, trace_context

MLFLOW = Version(mlflow.__version__)
METADATA = ATTRIBUTES | {"mlflow.trace.session": "s", "mlflow.trace.user": "ada"}


@pytest.fixture
def server(any_server: Any) -> Any:
    return any_server


def test_every_fact_is_metadata_and_found_by_search(
    server: Any, experiment: str, recorded: Any, traces: Any
) -> None:
    recorded.trace()
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    [stored] = traces(server.uri, experiment)
    assert stored.info.trace_metadata.items() >= METADATA.items()
    for key, value in METADATA.items():
        assert len(traces(server.uri, experiment, f"metadata.`{key}` = '{value}'")) == 1, key
        assert not traces(server.uri, experiment, f"metadata.`{key}` = 'other'")


@pytest.mark.parametrize("request_id", [None, "r-1"])
def test_the_trace_is_otherwise_as_a_plain_exporter_stores_it(
    server: Any, experiment: str, recorded: Any, traces: Any, request_id: str | None
) -> None:
    with trace_context(request_id=request_id):
        recorded.trace(**{"mlflow.chat.tokenUsage": '{"input_tokens": 3, "output_tokens": 4}'})
    spans = recorded.take()
    ours = MlflowSpanExporter(server.uri, experiment_name=experiment)
    ours.export(spans)
    [with_ours] = traces(server.uri, experiment)
    # The same spans, with the same ids, to another experiment: so the first trace goes away.
    client = mlflow.MlflowClient(server.uri)
    client.delete_traces(with_ours.info.experiment_id, trace_ids=[with_ours.info.trace_id])
    plain_experiment = client.create_experiment(f"{experiment}-plain")
    plain = OTLPSpanExporter(
        f"{server.uri}/v1/traces", headers={"x-mlflow-experiment-id": plain_experiment}
    )
    assert plain.export(spans) is SpanExportResult.SUCCESS
    [without] = traces(server.uri, f"{experiment}-plain")

    for field in ("state", "execution_duration", "request_time", "request_preview"):
        assert getattr(with_ours.info, field) == getattr(without.info, field), field
    assert with_ours.info.response_preview == without.info.response_preview
    assert with_ours.info.token_usage == without.info.token_usage
    assert _own(with_ours.info.tags) == _own(without.info.tags)
    assert [span.to_dict() for span in with_ours.data.spans] == [
        span.to_dict() for span in without.data.spans
    ]
    more = with_ours.info.trace_metadata.keys() - without.info.trace_metadata.keys()
    assert more <= METADATA.keys() | {"mlflow.trace.infoFinalized"}


def _own(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key != "mlflow.artifactLocation"}


@pytest.mark.parametrize("request_id", [None, "r-1"])
def test_a_span_that_comes_late_still_extends_the_trace(
    server: Any, experiment: str, recorded: Any, traces: Any, request_id: str | None
) -> None:
    with (
        trace_context(request_id=request_id),
        recorded.tracer.start_as_current_span("root") as root,
    ):
        late = recorded.tracer.start_span("late", context=trace.set_span_in_context(root))
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment)
    exporter.export(recorded.take())
    [before] = traces(server.uri, experiment)
    late.end(late.start_time + 5_000_000_000)
    exporter.export(recorded.take())
    [after] = traces(server.uri, experiment)
    assert len(after.data.spans) == 2
    assert before.info.execution_duration < 1_000
    assert 4_990 <= after.info.execution_duration <= 5_010
    assert after.info.trace_metadata["app_version"] == "1.10"


def test_the_client_request_id_is_the_traces(
    server: Any, experiment: str, recorded: Any, traces: Any
) -> None:
    with trace_context(request_id="r-1"):
        recorded.trace()
    with trace_context(request_id="r-2"), recorded.tracer.start_as_current_span("bare"):
        pass
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    [stored] = traces(server.uri, experiment, "client_request_id = 'r-1'")
    assert stored.info.client_request_id == "r-1"
    assert stored.info.trace_metadata.items() >= METADATA.items()
    assert "mlflow.client_request_id" not in stored.info.trace_metadata
    [bare] = traces(server.uri, experiment, "client_request_id = 'r-2'")
    assert bare.info.state == "OK"


@pytest.mark.parametrize("path", ["/version", "/api/3.0/mlflow/traces"])
def test_spans_are_stored_where_the_request_id_cannot_be(
    shared_server: Any, experiment: str, recorded: Any, traces: Any, path: str
) -> None:
    with Front(shared_server.port) as front:
        threading.Thread(target=front.serve_forever, daemon=True).start()
        front.answer = lambda _, asked: time.sleep(4) or 503 if asked == path else None
        with trace_context(request_id="r-1"):
            recorded.trace()
        exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=4)
        assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
        [stored] = traces(shared_server.uri, experiment)
        assert len(stored.data.spans) == 2
        front.answer = lambda *_: None
        assert exporter.force_flush()
        front.shutdown()
    [stored] = traces(shared_server.uri, experiment)
    assert stored.info.trace_metadata["app_version"] == "1.10"


def test_an_error_stays_an_error(server: Any, experiment: str, recorded: Any, traces: Any) -> None:
    with pytest.raises(KeyError), recorded.tracer.start_as_current_span("root"):
        raise KeyError
    MlflowSpanExporter(server.uri, experiment_name=experiment).export(recorded.take())
    [stored] = traces(server.uri, experiment)
    assert stored.info.state == "ERROR"


def test_a_missing_experiment_is_made_once_by_many(
    server: Any, experiment: str, recorded: Any, traces: Any
) -> None:
    batches = []
    for _ in range(4):
        recorded.trace()
        batches.append(recorded.take())
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(
            lambda spans: MlflowSpanExporter(server.uri, experiment_name=experiment).export(spans),
            batches,
        )
        assert set(results) == {SpanExportResult.SUCCESS}
    assert len(traces(server.uri, experiment)) == 4


def test_a_service_behind_a_front_end_that_sends_no_spans_has_its_metadata(
    server: Any, experiment: str, recorded: Any, traces: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY", "service")
    settings.forget()
    parent = trace.SpanContext(1 << 100, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    with recorded.tracer.start_as_current_span("entry", context=context):
        pass
    MlflowSpanExporter(server.uri, experiment_name=experiment).export(recorded.take())
    [stored] = traces(server.uri, experiment)
    assert stored.info.trace_metadata["app_version"] == "1.10"
    assert stored.info.state == "OK"


@pytest.mark.skipif(
    Version("3.12") > MLFLOW, reason="MLflow before 3.12 does not refuse a batch as a whole"
)
def test_one_bad_trace_takes_no_other_with_it(
    server: Any, experiment: str, recorded: Any, traces: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(20):
        bad = {"mlflow.llm.cost": "broken"} if n == 13 else {}
        recorded.trace(session=f"s-{n}", **bad)
    spans = recorded.take()
    [bad_id] = {
        f"tr-{span.context.trace_id:032x}" for span in spans if "mlflow.llm.cost" in span.attributes
    }
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment)
    assert exporter.export(spans) is SpanExportResult.FAILURE
    stored = traces(server.uri, experiment)
    sessions = {found.info.trace_metadata["mlflow.trace.session"] for found in stored}
    assert sessions == {f"s-{n}" for n in range(20)} - {"s-13"}
    assert all(found.info.trace_metadata["app_version"] == "1.10" for found in stored)
    assert [bad_id in record.getMessage() for record in caplog.records] == [True]


def test_one_character_that_the_database_refuses_takes_one_trace_only(
    shared_postgresql_server: Any, experiment: str, recorded: Any, traces: Any
) -> None:
    """PostgreSQL takes no NUL; MLflow then answers 500."""
    for n in range(8):
        recorded.trace(session=f"s-{n}")
    with recorded.tracer.start_as_current_span("a\0b"):
        pass
    exporter = MlflowSpanExporter(shared_postgresql_server.uri, experiment_name=experiment)
    exporter.export(recorded.take())
    stored = traces(shared_postgresql_server.uri, experiment)
    sessions = [found.info.trace_metadata.get("mlflow.trace.session") for found in stored]
    assert {f"s-{n}" for n in range(8)} <= set(sessions)


def test_it_needs_no_mlflow(server: Any, experiment: str, traces: Any) -> None:
    code = f"""
import sys
sys.modules["mlflow"] = None  # as if it were not installed: importing it fails
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter
provider = TracerProvider()
provider.add_span_processor(MlflowContextSpanProcessor(Resource({{"service.version": "1.10"}})))
provider.add_span_processor(
    BatchSpanProcessor(MlflowSpanExporter({server.uri!r}, experiment_name={experiment!r}))
)
with provider.get_tracer("test").start_as_current_span("root"):
    pass
# The provider flushes when the process ends, and no thread can be started any more.
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    [stored] = traces(server.uri, experiment)
    assert stored.info.trace_metadata["app_version"] == "1.10"


def test_no_line_of_code_is_needed(
    server: Any, experiment: str, traces: Any, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "from opentelemetry import trace\n"
        "with trace.get_tracer('app').start_as_current_span('root'):\n    print('hello')\n"
    )
    result = subprocess.run(
        [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, app],
        env={
            "PATH": "",
            "OTEL_TRACES_EXPORTER": "mlflow",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "MLFLOW_TRACKING_URI": server.uri,
            "MLFLOW_EXPERIMENT_NAME": experiment,
            "APP_VERSION": "1.10",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "hello\n"
    [stored] = traces(server.uri, experiment)
    assert stored.info.trace_metadata["app_version"] == "1.10"
    assert stored.info.trace_metadata["mlflow.source.name"] == "app.py"


@pytest.mark.parametrize("policy", ["hash", "drop"])
def test_no_span_carries_a_user_in_plain_where_the_setting_says_so(
    server: Any, experiment: str, recorded: Any, traces: Any, policy: str
) -> None:
    settings.override(user_id=policy, user_id_key="not in the source code")
    recorded.trace(**{"user.id": "grace"})
    with recorded.tracer.start_as_current_span("root", attributes={"user.id": "grace"}) as root:
        root.set_attribute("user.id", "heidi")
    MlflowSpanExporter(server.uri, experiment_name=experiment).export(recorded.take())
    stored = traces(server.uri, experiment)
    assert len(stored) == 2
    for trace_ in stored:
        user = trace_.info.trace_metadata.get("mlflow.trace.user", "")
        assert user.startswith("hmac-sha256:") if policy == "hash" else not user
        everything = str([span.to_dict() for span in trace_.data.spans]) + str(trace_.info.tags)
        # As words: the ids of spans are hexadecimal, and may have "ada" in them.
        assert re.findall(r"\b(ada|grace|heidi)\b", everything) == []


def test_hostile_baggage_costs_no_trace(
    server: Any, experiment: str, recorded: Any, traces: Any
) -> None:
    values = ["x" * 8_192, "a\x00b", "a\r\nX-Admin: 1", "\ud800", "%zz", "", "👩‍🚀" * 300, "'`\""]
    keys = ["session.id", "user.id", "feature_flag_a", "mlflow.client_request_id"]
    reserved = ["mlflow.source.git.commit", "mlflow.trace.sizeStats", "service.name"]
    contexts = [
        functools.reduce(
            lambda context, key, value=value: baggage.set_baggage(key, value, context),
            [*keys, *reserved, *(f"feature_flag_{n}\n" for n in range(180))],
            Context(),
        )
        for value in values
    ]
    for context in contexts:
        recorded.tracer.start_span("root", context=context).end()
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    stored = traces(server.uri, experiment)
    assert len(stored) == len(values)
    for trace_ in stored:
        metadata = trace_.info.trace_metadata
        assert metadata["mlflow.source.git.commit"] == "c0ffee"
        assert metadata["service_name"] == "qa"
        assert all(len(value) <= 250 and "\x00" not in value for value in metadata.values())


def test_two_long_ids_that_begin_alike_stay_two_sessions(
    server: Any, experiment: str, recorded: Any, traces: Any
) -> None:
    for end in "ab":
        recorded.trace(session="s" * 299 + end)
    MlflowSpanExporter(server.uri, experiment_name=experiment).export(recorded.take())
    sessions = {
        trace_.info.trace_metadata["mlflow.trace.session"]
        for trace_ in traces(server.uri, experiment)
    }
    assert len(sessions) == 2
    for session in sessions:
        found = traces(server.uri, experiment, f"metadata.`mlflow.trace.session` = '{session}'")
        assert len(found) == 1


def test_the_exporters_own_calls_are_not_traced(
    server: Any, experiment: str, recorded: Any, traces: Any
) -> None:
    exporter = MlflowSpanExporter(server.uri, experiment_name=experiment)
    recorded.provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentors = [RequestsInstrumentor(), URLLib3Instrumentor()]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=recorded.provider)
    try:
        with trace_context(session_id="s"), recorded.tracer.start_as_current_span("root"):
            requests.get(f"{server.uri}/health", timeout=10)
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
    names = [span.name for span in recorded.take()]
    assert names[-1] == "root"
    # The application's own call is traced, by both at most, and none of ours is.
    assert set(names[:-1]) == {"GET"}
    assert len(names) <= 3
    [stored] = traces(server.uri, experiment)
    assert len(stored.data.spans) == len(names)
    assert stored.info.trace_metadata["app_version"] == "1.10"
