"""What goes wrong on the way to the server, and what is there at the end all the same."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import threading
import time
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from opentelemetry.sdk.trace.export import SpanExportResult
from packaging.version import Version
from servers import Front
from sqlalchemy import create_engine, exc
from sqlalchemy.pool import QueuePool

from otel_mlflow_context import MlflowSpanExporter, trace_context
from otel_mlflow_context.mlflow_client import retry_queue


def versions(stored: list[Any]) -> list[str | None]:
    return [trace.info.trace_metadata.get("app_version") for trace in stored]


def test_one_call_a_trace_is_all_that_the_server_gets(
    front: Front, experiment: str, recorded: Any
) -> None:
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    for _ in range(3):
        for _ in range(20):
            recorded.trace()
        exporter.export(recorded.take())
    calls = [(method, path.split("?")[0].rstrip("0123456789abcdef")) for method, path in front.seen]
    assert {call: calls.count(call) for call in calls} == {
        ("GET", "/api/2.0/mlflow/experiments/get-by-nam"): 1,
        ("POST", "/api/2.0/mlflow/experiments/creat"): 1,
        ("GET", "/api/3.0/otel-mlflow-context"): 1,  # whether it has the plugin
        ("POST", "/v1/traces"): 3,
        ("PATCH", "/api/2.0/mlflow/traces/tr-"): 60,
    }


def test_it_waits_for_a_server_that_is_not_ready(
    front: Front, experiment: str, recorded: Any, traces: Any
) -> None:
    ready = time.monotonic() + 2
    front.answer = lambda *_: 503 if time.monotonic() < ready else None
    recorded.trace()
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    assert versions(traces(front.uri, experiment)) == ["1.10"]


def test_a_database_without_a_free_connection_is_asked_again(
    front: Front, experiment: str, recorded: Any, traces: Any
) -> None:
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    engine = create_engine("sqlite://", poolclass=QueuePool, **options)
    with engine.connect(), pytest.raises(exc.TimeoutError) as no_connection:
        engine.connect()
    failed = MlflowException(str(no_connection.value), error_code=BAD_REQUEST)
    ready = time.monotonic() + 2
    front.answer = lambda *_: (
        (failed.get_http_status_code(), failed.serialize_as_json().encode())
        if time.monotonic() < ready
        else None
    )
    recorded.trace()
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    assert versions(traces(front.uri, experiment)) == ["1.10"]


def test_metadata_that_fails_while_spans_pass_is_written_later(
    front: Front, experiment: str, recorded: Any, traces: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=3)
    front.answer = lambda method, _: 503 if method == "PATCH" else None
    for _ in range(2):
        for _ in range(10):
            recorded.trace()
        assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    front.answer = lambda *_: None
    assert versions(traces(front.uri, experiment)) == [None] * 20
    assert exporter.force_flush()
    assert versions(traces(front.uri, experiment)) == ["1.10"] * 20
    assert len([record for record in caplog.records if "waits" in record.getMessage()]) == 1


def test_metadata_that_fails_is_written_without_another_export(
    front: Front,
    experiment: str,
    recorded: Any,
    traces: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry_queue, "FIRST_DELAY", 0.2)
    others = retry_threads()
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=3)
    front.answer = lambda method, _: 503 if method == "PATCH" else None
    for _ in range(20):
        recorded.trace()
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    front.answer = lambda *_: None
    for _ in range(600):
        if versions(traces(front.uri, experiment)) == ["1.10"] * 20:
            break
        time.sleep(0.1)
    assert versions(traces(front.uri, experiment)) == ["1.10"] * 20
    assert ends(retry_threads() - others)
    exporter.shutdown()


def test_a_flush_waits_for_what_is_tried_again_at_the_same_time(
    front: Front, experiment: str, recorded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_queue, "FIRST_DELAY", 0.1)
    others = retry_threads()
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=1)
    front.answer = lambda method, _: 503 if method == "PATCH" else None
    recorded.trace()
    exporter.export(recorded.take())
    begun, released = threading.Event(), threading.Event()
    front.answer = lambda *_: (begun.set(), released.wait(30), None)[-1]
    assert begun.wait(30)
    assert not exporter.force_flush(100)
    released.set()
    assert exporter.force_flush()
    assert ends(retry_threads() - others)
    exporter.shutdown()


def retry_threads() -> set[threading.Thread]:
    return {it for it in threading.enumerate() if it.name == "otel-mlflow-context-retry"}


def ends(threads: set[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(30)
    return not any(it.is_alive() for it in threads)


def test_a_server_that_fails_at_metadata_is_asked_again_but_not_for_ever(
    front: Front, experiment: str, recorded: Any, traces: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    failures = iter([500, 500, None])
    front.answer = lambda method, _: next(failures) if method == "PATCH" else None
    recorded.trace()
    exporter.export(recorded.take())
    assert not exporter.force_flush()
    assert exporter.force_flush()
    assert versions(traces(front.uri, experiment)) == ["1.10"]

    front.answer = lambda method, _: 500 if method == "PATCH" else None
    recorded.trace()
    exporter.export(recorded.take())
    for _ in range(3):
        exporter.force_flush()
    assert exporter.force_flush()
    assert "refused the metadata of tr-" in caplog.text


def test_the_applications_random_numbers_stay_as_they_are_seeded(
    front: Front, experiment: str, recorded: Any
) -> None:
    front.answer = lambda *_: 503
    recorded.trace()  # OpenTelemetry draws its ids
    spans = recorded.take()
    random.seed(1)
    expected = random.Random(1).random()
    MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=1).export(spans)
    assert len(front.seen) > 1
    assert random.random() == expected


def test_a_redirect_to_a_login_page_is_no_success(
    front: Front, experiment: str, recorded: Any
) -> None:
    front.answer = lambda *_: 302
    recorded.trace()
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE


def test_a_missing_permission_is_logged_once(
    front: Front, experiment: str, recorded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    front.answer = lambda method, _: 403 if method == "PATCH" else None
    for _ in range(5):
        recorded.trace()
    exporter.export(recorded.take())
    assert exporter.force_flush()
    assert [record.getMessage().split(" http")[0] for record in caplog.records] == [
        "no metadata is written to"
    ]


def test_metadata_that_waits_is_written_at_shutdown(
    front: Front, experiment: str, recorded: Any, traces: Any
) -> None:
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=1)
    front.answer = lambda method, _: 503 if method == "PATCH" else None
    recorded.trace()
    exporter.export(recorded.take())
    front.answer = lambda *_: None
    exporter.shutdown()
    assert versions(traces(front.uri, experiment)) == ["1.10"]
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE


def test_a_server_that_hangs_costs_no_more_than_the_timeout(
    front: Front, experiment: str, recorded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()
    front.answer = lambda *_: released.wait(30) and 503
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=1)
    recorded.trace()
    began = time.monotonic()
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    assert time.monotonic() - began < 5
    assert "spans are not stored in" in caplog.text
    released.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_processes_export_on_connections_of_their_own(
    server: Any, experiment: str, traces: Any
) -> None:
    code = f"""
import os
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter
provider = TracerProvider()
provider.add_span_processor(MlflowContextSpanProcessor(Resource({{"service.version": "1.10"}})))
provider.add_span_processor(
    BatchSpanProcessor(MlflowSpanExporter({server.uri!r}, experiment_name={experiment!r}))
)
def trace(n):
    for _ in range(n):
        with provider.get_tracer("test").start_as_current_span("root"):
            pass
    provider.force_flush()
trace(5)
children = [os.fork()]
if children[0]:
    children.append(os.fork())
trace(20)
if 0 not in children:
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
os._exit(0)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
    assert versions(traces(server.uri, experiment)) == ["1.10"] * 65


def test_a_wrong_address_in_the_environment_is_logged_once_and_costs_nothing_else(
    recorded: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    exporter = MlflowSpanExporter()
    recorded.trace()
    for _ in range(2):
        assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    exporter.force_flush()
    exporter.shutdown()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "MLFLOW_TRACKING_URI" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tracking_uri": "databricks-uc"}, "tracking_uri .* must be the http"),
        ({"tracking_uri": "http://h", "timeout": 0}, "timeout must be more than 0 seconds"),
        (
            {"tracking_uri": "http://h", "experiment_id": "1", "experiment_name": "a"},
            "only one of them",
        ),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MlflowSpanExporter(**arguments)


def test_credentials_are_sent_and_never_logged(
    front: Front,
    experiment: str,
    recorded: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2-secret")
    front.answer = lambda *_: 403
    recorded.trace()
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    assert front.headers[0]["Authorization"].startswith("Basic ")
    assert "403" in caplog.text
    assert "hunter2" not in caplog.text
    assert front.headers[0]["Authorization"].split()[1] not in caplog.text


def test_spans_that_were_stored_without_an_answer_get_their_metadata(
    front: Front, experiment: str, recorded: Any, traces: Any
) -> None:
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=4)
    recorded.trace()
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS  # the server is warm
    recorded.trace()
    front.answer_late = 5
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    assert versions(traces(front.uri, experiment)) == ["1.10", None]
    front.answer_late = 0
    assert exporter.force_flush()
    assert versions(traces(front.uri, experiment)) == ["1.10", "1.10"]


def test_metadata_of_spans_that_were_not_stored_is_forgotten(
    front: Front, experiment: str, recorded: Any, traces: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, timeout=2)
    front.answer = lambda _, path: 504 if path == "/v1/traces" else None
    # To older servers a request id goes ahead of the spans, and stays there.
    request_id = "r-1" if Version(mlflow.__version__) >= Version("3.11") else None
    with trace_context(request_id=request_id):
        recorded.trace()
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    while not exporter.force_flush():
        pass
    assert traces(front.uri, experiment) == []
    assert "PATCH" in {method for method, _ in front.seen}
    assert len(caplog.records) == 1
