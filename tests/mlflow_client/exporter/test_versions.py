"""Traces are linked to one LoggedModel of their version, whoever comes first."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from servers import Front
from shared import shared_mlflow_server

from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter
from otel_mlflow_context.mlflow_client import logged_models

COMMIT = "9f1c3aa0" * 5
SHOP = {
    "service.name": "shop",
    "service.version": "1.4.2",
    "vcs.ref.head.revision": COMMIT,
    "vcs.ref.head.dirty": "false",
}
TOGETHER = textwrap.dedent(
    """
    import sys, time
    from otel_mlflow_context.mlflow_client.http.logged_models import RestCalls
    from otel_mlflow_context.mlflow_client.http.errors import ServerUnavailable
    from otel_mlflow_context.mlflow_client.http.rest import Client
    from otel_mlflow_context.mlflow_client.http.server import server_from
    from otel_mlflow_context.mlflow_client.logged_models import LoggedModels

    models = LoggedModels(RestCalls(Client(server_from({}, sys.argv[1]), connections=1)))
    print("ready", flush=True)
    sys.stdin.readline()
    metadata = {"service_name": "shop", "app_version": "2"}
    while True:
        try:
            print(models.link(metadata, sys.argv[2], time.monotonic() + 60))
            break
        except ServerUnavailable:  # as the exporter, which tries again at the next export
            time.sleep(0.5)
    """
)


@pytest.fixture
def server(any_server: Any) -> Any:
    return any_server


def trace(uri: str, experiment: str, resource: dict[str, str], **options: Any) -> None:
    """One trace, by an exporter of its own."""
    provider = TracerProvider()
    provider.add_span_processor(MlflowContextSpanProcessor(Resource(resource)))
    exporter = MlflowSpanExporter(
        uri, experiment_name=experiment, **{"versions": True, "timeout": 30, **options}
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("answer"):
        pass
    provider.shutdown()


def models_of(uri: str, experiment: str) -> list[Any]:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_logged_models([found.experiment_id]))


def links(stored: list[Any]) -> list[str | None]:
    return [trace.info.trace_metadata.get("mlflow.modelId") for trace in stored]


def test_each_version_has_one_model_that_every_process_finds(
    server: Any, experiment: str, traces: Any
) -> None:
    others: list[dict[str, str]] = [
        {"service.name": "search"},
        {"service.version": "1.4.3"},
        {"vcs.ref.head.revision": COMMIT[::-1]},
        {"vcs.ref.head.dirty": "true"},
    ]
    for resource in (SHOP, SHOP, *({**SHOP, **other} for other in others), SHOP):
        trace(server.uri, experiment, resource)
    linked = links(traces(server.uri, experiment))
    assert linked[0] == linked[1] == linked[6]
    assert len(set(linked)) == 5
    models = {it.model_id: it for it in models_of(server.uri, experiment)}
    assert models.keys() == set(linked)
    assert [models[it].name for it in linked[1:6]] == [
        *("shop-1_4_2", "search-1_4_2", "shop-1_4_3", "shop-1_4_2", "shop-1_4_2-dirty")
    ]
    first = models[linked[0]]
    assert first.status == "READY"
    identity = {
        "service.name": "shop",
        "app_version": "1.4.2",
        "mlflow.source.git.commit": COMMIT,
        "mlflow.source.git.dirty": "false",
    }
    assert first.params == identity
    assert first.tags == {**identity, "mlflow.model.isExternal": "true"}


def test_what_names_no_version_or_has_a_model_is_left_alone(
    server: Any, experiment: str, traces: Any
) -> None:
    trace(server.uri, experiment, {"service.name": "shop"})
    trace(server.uri, experiment, {**SHOP, "mlflow.modelId": "m-1"})
    trace(server.uri, experiment, SHOP, versions=False)
    assert links(traces(server.uri, experiment)) == [None, "m-1", None]
    assert models_of(server.uri, experiment) == []


def test_a_version_of_any_text_is_a_model(server: Any, experiment: str, traces: Any) -> None:
    version = 'it\'s 1/2: "100 %" `x` \\ é.1'
    for _ in range(2):
        trace(server.uri, experiment, {"service.version": version})
    [model] = models_of(server.uri, experiment)
    assert links(traces(server.uri, experiment)) == [model.model_id] * 2
    assert model.tags["app_version"] == version


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_processes_that_start_together_agree_on_one_model(
    request: pytest.FixtureRequest, database: str, empty_store: Any, experiment: str
) -> None:
    store = empty_store
    if database == "postgresql":
        request.getfixturevalue("shared_postgresql_server")  # which has made the tables
        store = request.getfixturevalue("postgresql")
    server = shared_mlflow_server(f"together-{database}", store)  # others would wait for it
    client = MlflowClient(server.uri)
    experiment_id = client.create_experiment(experiment)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, server.uri, experiment_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(20)  # more than the server has connections to its database
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = {process.communicate()[0].strip() for process in processes}
    assert found == {it.model_id for it in models_of(server.uri, experiment)}
    assert len(found) == 1


def test_the_model_of_mlflows_git_versioning_is_used(
    server: Any, run: Any, experiment: str, commit: str
) -> None:
    experiment_id = MlflowClient(server.uri).create_experiment(experiment)
    code = """
        import mlflow
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter
        from otel_mlflow_context import detect_resource

        context = mlflow.genai.enable_git_model_versioning()
        provider = TracerProvider()
        resource = detect_resource().merge(Resource({"service.name": "shop"}))
        provider.add_span_processor(MlflowContextSpanProcessor(resource))
        provider.add_span_processor(SimpleSpanProcessor(MlflowSpanExporter(timeout=30)))
        with provider.get_tracer("test").start_as_current_span("answer"):
            pass
        provider.shutdown()
        report(context.active_model.model_id)
    """
    environment = {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_EXPERIMENT_ID": experiment_id,
        "OTEL_MLFLOW_CONTEXT_VERSIONS": "true",
    }
    model_id = run(code, environment=environment)
    assert [it.model_id for it in models_of(server.uri, experiment)] == [model_id]
    [stored] = MlflowClient(server.uri).search_traces([experiment_id])
    assert stored.info.trace_metadata["mlflow.modelId"] == model_id
    assert stored.info.trace_metadata["mlflow.source.git.commit"] == commit


def test_only_the_link_waits_for_models_that_are_not_available(
    front: Front, server: Any, experiment: str, traces: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logged_models, "_PAUSE", 0.0)
    front.answer = lambda _, path: 503 if "logged-models" in path else None
    provider = TracerProvider()
    provider.add_span_processor(MlflowContextSpanProcessor(Resource(SHOP)))
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, versions=True, timeout=20)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("answer"):
        pass
    [stored] = traces(server.uri, experiment)
    assert stored.info.trace_metadata["app_version"] == "1.4.2"
    assert links([stored]) == [None]
    front.answer = lambda *_: None
    provider.shutdown()
    [model] = models_of(server.uri, experiment)
    assert links(traces(server.uri, experiment)) == [model.model_id]
    assert [path for _, path in front.seen].count("/v1/traces") == 1


def test_who_may_make_no_model_sends_traces_without_it(
    front: Front, server: Any, experiment: str, traces: Any, caplog: pytest.LogCaptureFixture
) -> None:
    front.answer = lambda _, path: 403 if "logged-models" in path else None
    provider = TracerProvider()
    provider.add_span_processor(MlflowContextSpanProcessor(Resource(SHOP)))
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment, versions=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(5):
        with provider.get_tracer("test").start_as_current_span("answer"):
            pass
    provider.shutdown()
    assert links(traces(server.uri, experiment)) == [None] * 5
    stored = traces(server.uri, experiment)
    assert {it.info.trace_metadata["app_version"] for it in stored} == {"1.4.2"}
    assert len([it for it in front.seen if "logged-models" in it[1]]) == 1
    [record] = caplog.records
    assert "shop-1_4_2" in record.getMessage()
    assert "403" in record.getMessage()


def test_a_deleted_model_is_made_anew_once(server: Any, experiment: str, traces: Any) -> None:
    trace(server.uri, experiment, SHOP)
    [deleted] = links(traces(server.uri, experiment))
    requests.delete(f"{server.uri}/api/2.0/mlflow/logged-models/{deleted}", timeout=30)
    for _ in range(2):
        trace(server.uri, experiment, SHOP)
    [model] = models_of(server.uri, experiment)
    assert links(traces(server.uri, experiment)) == [deleted, model.model_id, model.model_id]
    assert model.model_id != deleted
