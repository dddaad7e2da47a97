"""Servers with the plugin, and services that have nothing of this package."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from servers import MlflowServer
from shared import shared_mlflow_server

# Programs that a test, or somebody by hand, starts.
collect_ignore = ["programs"]
APP = ("--app-name", "otel-mlflow-context")


@pytest.fixture(scope="session")
def plugin_sqlite(empty_store):
    return shared_mlflow_server("plugin-sqlite", empty_store, *APP)


@pytest.fixture(scope="session")
def plugin_postgresql(postgresql, shared_postgresql_server):
    """Four workers, on the database that a plain server has too."""
    return shared_mlflow_server("plugin-postgresql", postgresql, *APP, "--workers", "4")


@pytest.fixture(params=["sqlite", "postgresql"])
def plugin(request):
    """A server with the plugin, with each database that it can have."""
    return request.getfixturevalue(f"plugin_{request.param}")


@pytest.fixture(params=["sqlite", "postgresql"])
def plugin_with_versions(request, empty_store):
    """The same, which links traces to LoggedModels; with PostgreSQL it has four workers."""
    environment = {"OTEL_MLFLOW_CONTEXT_VERSIONS": "true"}
    if request.param == "sqlite":
        return shared_mlflow_server("versions-sqlite", empty_store, *APP, environment=environment)
    store = request.getfixturevalue("postgresql")
    request.getfixturevalue("shared_postgresql_server")  # which has made the tables
    options = (*APP, "--workers", "4")
    return shared_mlflow_server("versions-postgresql", store, *options, environment=environment)


def starter(empty_store, folder):
    servers = []

    def start(*options, app=APP, **environment):
        shutil.copy(empty_store, folder / "own.db")
        store = f"sqlite:///{folder / 'own.db'}"
        server = MlflowServer(folder, store, *app, *options, environment=environment)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def new_plugin(empty_store, tmp_path):
    """Starts a server with the plugin, and options of its own."""
    yield from starter(empty_store, tmp_path)


@pytest.fixture(scope="module")
def module_plugin(empty_store, tmp_path_factory):
    """The same, for all tests of a module."""
    yield from starter(empty_store, tmp_path_factory.mktemp("plugin"))


class Service:
    """Makes spans of a service that has nothing of this package."""

    def __init__(self, **resource):
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(
            resource=Resource({key.replace("__", "."): value for key, value in resource.items()})
        )
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self._provider.get_tracer("test")

    def take(self):
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans


@pytest.fixture
def service():
    return Service


@pytest.fixture
def send():
    """Sends spans as any OTLP exporter does; the answer."""

    def send(server, experiment_id, spans, *, body=None, **headers):
        body = encode_spans(spans).SerializeToString() if body is None else body
        return requests.post(
            f"{server.uri}/v1/traces",
            data=body,
            headers={
                "x-mlflow-experiment-id": experiment_id,
                "content-type": "application/x-protobuf",
                **{key.replace("_", "-"): value for key, value in headers.items()},
            },
            timeout=60,
        )

    return send


@pytest.fixture
def new_experiment(experiment):
    """Makes the test's experiment on a server; its id."""

    def new_experiment(server):
        answer = requests.post(
            f"{server.uri}/api/2.0/mlflow/experiments/create",
            json={"name": experiment},
            timeout=30,
        )
        return answer.json()["experiment_id"]

    return new_experiment


@pytest.fixture
def order():
    """The same disorder each time."""
    return random.Random(7)


@pytest.fixture
def log(tmp_path):
    """What the test's own server wrote."""
    return lambda: Path(tmp_path, "server.log").read_text()
