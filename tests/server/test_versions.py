"""The server links the traces of every sender to one LoggedModel of their version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from mlflow import MlflowClient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter

VERSIONS = {"OTEL_MLFLOW_CONTEXT_VERSIONS": "true"}
COMMIT = "9f1c3aa0" * 5
SHOP = {"service.name": "shop", "service.version": "1.4.2", "vcs.ref.head.revision": COMMIT}
LOGGED_MODELS = "/api/2.0/mlflow/logged-models"


@pytest.fixture
def server(plugin_with_versions):
    return plugin_with_versions


@pytest.fixture
def experiment_id(server, new_experiment):
    return new_experiment(server)


def spans_of(service, **changes):
    made = service(**{**SHOP, **changes})
    made.tracer.start_span("ask").end()
    return made.take()


def links(server, experiment_id):
    found = MlflowClient(server.uri).search_traces(
        [experiment_id], order_by=["timestamp_ms ASC"], max_results=500
    )
    return [it.info.trace_metadata.get("mlflow.modelId") for it in found]


def models(server, experiment_id):
    return list(MlflowClient(server.uri).search_logged_models([experiment_id]))


def test_each_version_has_one_model(server, experiment_id, service, send):
    for changes in ({}, {}, {"service.name": "search"}, {"service.version": "2"}, {}):
        assert send(server, experiment_id, spans_of(service, **changes)).status_code == 200
    linked = links(server, experiment_id)
    assert linked[0] == linked[1] == linked[4]
    assert {it.model_id: it.name for it in models(server, experiment_id)} == {
        linked[0]: "shop-1_4_2",
        linked[2]: "search-1_4_2",
        linked[3]: "shop-2",
    }
    [shop] = [it for it in models(server, experiment_id) if it.model_id == linked[0]]
    identity = {
        "service.name": "shop",
        "app_version": "1.4.2",
        "mlflow.source.git.commit": COMMIT,
    }
    assert shop.status == "READY"
    assert shop.params == identity
    assert shop.tags == {**identity, "mlflow.model.isExternal": "true"}
    assert shop.artifact_location.endswith(f"/{experiment_id}/models/{shop.model_id}/artifacts")


def test_senders_that_start_together_share_one_model(server, experiment_id, service, send):
    batches = [spans_of(service) for _ in range(32)]
    with ThreadPoolExecutor(32) as senders:
        answers = list(senders.map(lambda batch: send(server, experiment_id, batch), batches))
    assert {it.status_code for it in answers} == {200}
    [model] = models(server, experiment_id)
    assert links(server, experiment_id) == [model.model_id] * 32


def test_a_deleted_model_is_made_anew_by_the_next_process(
    new_plugin, new_experiment, service, send
):
    server = new_plugin(**VERSIONS)
    id_ = new_experiment(server)
    for _ in range(2):
        send(server, id_, spans_of(service))
        send(server, id_, spans_of(service))
        [model] = models(server, id_)
        requests.delete(f"{server.uri}{LOGGED_MODELS}/{model.model_id}", timeout=30)
        server.stop()
        server.start()
    send(server, id_, spans_of(service))
    linked = links(server, id_)
    assert linked[0] == linked[1]
    assert linked[2] == linked[3]
    assert len(set(linked)) == 3
    assert [it.model_id for it in models(server, id_)] == [linked[4]]


def test_exporter_and_server_use_the_same_model(server, experiment_id, service, send):
    send(server, experiment_id, spans_of(service))
    provider = TracerProvider()
    provider.add_span_processor(MlflowContextSpanProcessor(Resource(SHOP)))
    exporter = MlflowSpanExporter(server.uri, experiment_id=experiment_id, versions=True)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("ask").end()
    provider.shutdown()
    [model] = models(server, experiment_id)
    assert links(server, experiment_id) == [model.model_id] * 2


def test_a_model_that_is_not_a_version_is_not_used(server, experiment_id, service, send):
    client = MlflowClient(server.uri)
    others = [{**SHOP, "app_version": "2"}, {"mlflow.source.git.commit": COMMIT[::-1]}, {}]
    for tags in others:
        client.create_logged_model(experiment_id, name="shop-1_4_2", tags=tags)
    send(server, experiment_id, spans_of(service))
    [linked] = links(server, experiment_id)
    made = {it.model_id for it in models(server, experiment_id)}
    assert linked in made
    assert len(made) == len(others) + 1


def test_traces_of_a_sdk_that_name_their_model_keep_it(server, experiment_id, service, send):
    made = service(**SHOP)
    made.tracer.start_span("ask", attributes={"mlflow.modelId": "m-1"}).end()
    send(server, experiment_id, made.take())
    assert links(server, experiment_id) == ["m-1"]
    assert models(server, experiment_id) == []


def test_without_the_setting_nothing_is_made(plugin_sqlite, new_experiment, service, send):
    id_ = new_experiment(plugin_sqlite)
    send(plugin_sqlite, id_, spans_of(service))
    assert links(plugin_sqlite, id_) == [None]
    assert models(plugin_sqlite, id_) == []


def test_hostile_versions_are_stored_as_they_are(server, experiment_id, service, send):
    for version in ("' OR name LIKE '%", "`;--", "x" * 5_000, "é\n\U0001f600"):
        answer = send(server, experiment_id, spans_of(service, **{"service.version": version}))
        assert answer.status_code == 200
    linked = links(server, experiment_id)
    assert len(set(linked)) == 4
    assert None not in linked
    assert len(models(server, experiment_id)) == 4
