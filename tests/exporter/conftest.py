"""A real MLflow server, and traces that are the same each time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from table import FACTS

from otel_mlflow_context import MlflowContextSpanProcessor, trace_context


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class MlflowServer:
    """An MLflow server in a process of its own, on a port of its own."""

    def __init__(self, folder: Path, store: str) -> None:
        self.port = _free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "server.log").open("wb")
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--backend-store-uri", store),
            *("--artifacts-destination", str(folder / "artifacts"), "--workers", "1"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            # Without the catalogue a span that names a model makes the server ask the network.
            env={**os.environ, "MLFLOW_MODEL_CATALOG_URI": ""},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.1)
        self.close()
        raise AssertionError(Path(self._log.name).read_text())

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._log.close()


@pytest.fixture(scope="session")
def shared_server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    server = MlflowServer(folder, f"sqlite:///{folder / 'mlflow.db'}")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a database in a PostgreSQL of its own, from Debian's package."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("PostgreSQL (Debian's package postgresql) is not installed")
    # PostgreSQL does not run as root; its own user cannot enter pytest's folders.
    as_owner = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    port = _free_port()
    if as_owner:
        shutil.chown(folder, "postgres")

    def run(command: str, *arguments: str) -> None:
        subprocess.run(
            [*as_owner, binaries[-1] / command, *arguments],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    data = str(folder / "data")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -F"
    run("initdb", "-D", data, "-A", "trust", "-U", "mlflow")
    run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-w", "-o", options, "start")
    yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_postgresql_server(
    postgresql: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"), postgresql)
    server.start()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_server(request: pytest.FixtureRequest) -> MlflowServer:
    """A server that runs, with each database that it can have."""
    name = "shared_server" if request.param == "sqlite" else "shared_postgresql_server"
    return request.getfixturevalue(name)


@pytest.fixture
def server(shared_server: MlflowServer) -> MlflowServer:
    """A server that runs."""
    return shared_server


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
