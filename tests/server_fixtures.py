"""Fixtures: real MLflow servers, and traces that are the same each time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from servers import Front, MlflowServer, PostgreSQL
from shared import shared_mlflow_server, shared_postgresql
from table import FACTS

from otel_mlflow_context import MlflowContextSpanProcessor, trace_context


@pytest.fixture(scope="session")
def shared_server(empty_store: Path) -> Any:
    return shared_mlflow_server("mlflow-sqlite", empty_store)


@pytest.fixture(scope="session")
def postgresql() -> str:
    """The address of a database in a PostgreSQL, from Debian's package."""
    if not PostgreSQL.BINARIES:
        pytest.skip("PostgreSQL (Debian's package postgresql) is not installed")
    return str(shared_postgresql("postgresql").uri)


@pytest.fixture(scope="session")
def shared_postgresql_server(postgresql: str) -> Any:
    return shared_mlflow_server("mlflow-postgresql", postgresql)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_server(request: pytest.FixtureRequest) -> Any:
    """A server that runs, with each database that it can have."""
    name = "shared_server" if request.param == "sqlite" else "shared_postgresql_server"
    return request.getfixturevalue(name)


@pytest.fixture
def server(shared_server: Any) -> Any:
    """A server that runs."""
    return shared_server


@pytest.fixture
def front(server: Any) -> Iterator[Front]:
    """What stands before the server: it counts, and may refuse."""
    with Front.before(server.port) as front:
        yield front


@pytest.fixture
def own_server(empty_store: Path, tmp_path: Path) -> Iterator[MlflowServer]:
    """A server that the test may kill."""
    shutil.copy(empty_store, tmp_path / "server.db")
    server = MlflowServer(tmp_path, f"sqlite:///{tmp_path / 'server.db'}")
    server.start()
    yield server
    server.close()


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """The name of an experiment for this test alone."""
    return f"{request.node.name}-{time.time_ns()}"


Traces = Callable[..., list[Any]]


@pytest.fixture
def traces() -> Traces:
    """The traces that MLflow's client finds in an experiment, the oldest first."""
    from mlflow import MlflowClient

    def traces(
        uri: str, experiment: str, filter_string: str | None = None, *, include_spans: bool = True
    ) -> list[Any]:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        return list(
            client.search_traces(
                [found.experiment_id],
                filter_string=filter_string,
                order_by=["timestamp_ms ASC"],
                max_results=500,
                include_spans=include_spans,
            )
        )

    return traces


class Recorded:
    """Spans that have ended, made with our processor and not exported yet."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource({"service.name": "qa"}))
        self.provider.add_span_processor(MlflowContextSpanProcessor(Resource(FACTS)))
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def trace(self, session: str = "s", **attributes: Any) -> None:
        with (
            trace_context(session_id=session, user_id="ada"),
            self.tracer.start_as_current_span("ask") as root,
        ):
            root.set_attribute("mlflow.spanInputs", '{"question": "why"}')
            root.set_attribute("mlflow.spanOutputs", '"because"')
            with self.tracer.start_as_current_span("retrieve") as child:
                child.set_attributes(attributes)

    def take(self) -> list[ReadableSpan]:
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()
