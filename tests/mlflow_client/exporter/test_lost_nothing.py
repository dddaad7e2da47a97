"""Many traces, and a server that fails in the middle: what is counted at the end.

Counted in the server's own database: traces, and traces that have the metadata.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from packaging.version import Version
from servers import Front

from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter

pytestmark = pytest.mark.slow

COUNT = 600


class Application:
    """A provider as an application has it, with room for all that the test makes."""

    def __init__(self, uri: str, **options: Any) -> None:
        exporter = MlflowSpanExporter(uri, experiment_name="lost-nothing", **options)
        self.provider = TracerProvider()
        self.provider.add_span_processor(
            MlflowContextSpanProcessor(Resource({"service.version": "1.10"}))
        )
        self.provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=200, max_queue_size=4 * COUNT)
        )
        self._tracer = self.provider.get_tracer("test")

    def traces(self, count: int) -> None:
        for number in range(count):
            with self._tracer.start_as_current_span(f"root-{number}"):
                pass

    def end(self) -> None:
        assert self.provider.force_flush(120_000)
        self.provider.shutdown()


def stored(database: Path) -> tuple[int, int]:
    """Traces, and those of them that say which version made them."""
    with sqlite3.connect(database) as connection:
        [(traces,)] = connection.execute("SELECT count(*) FROM trace_info")
        [(versions,)] = connection.execute(
            "SELECT count(*) FROM trace_request_metadata WHERE key = 'app_version'"
            " AND value = '1.10'"
        )
    return traces, versions


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "server.db"


def test_a_server_that_is_killed_in_the_middle_and_started_again(
    own_server: Any, database: Path
) -> None:
    application = Application(own_server.uri, timeout=60)
    application.traces(COUNT // 2)
    while stored(database)[0] == 0:
        time.sleep(0.05)
    own_server.stop()
    in_the_middle = stored(database)
    application.traces(COUNT // 2)
    own_server.start()
    application.end()
    assert 0 < in_the_middle[0] < COUNT
    assert stored(database) == (COUNT, COUNT)


def test_a_server_that_is_unavailable_for_ten_seconds(own_front: Front, database: Path) -> None:
    application = Application(own_front.uri, timeout=30)
    application.traces(100)
    application.provider.force_flush()
    until = time.monotonic() + 10
    own_front.answer = lambda *_: 503 if time.monotonic() < until else None
    application.traces(100)
    application.end()
    assert stored(database) == (200, 200)


def test_metadata_calls_that_fail_while_spans_pass(own_front: Front, database: Path) -> None:
    application = Application(own_front.uri, timeout=10)
    own_front.answer = lambda method, _: 503 if method == "PATCH" else None
    application.traces(200)
    while stored(database)[0] < 200:
        time.sleep(0.1)
    in_the_middle = stored(database)
    own_front.answer = lambda *_: None
    application.end()
    assert in_the_middle == (200, 0)
    assert stored(database) == (200, 200)


def test_one_trace_of_two_hundred_that_is_refused(
    own_front: Front, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    application = Application(own_front.uri)
    tracer = application.provider.get_tracer("test")
    application.traces(120)
    with tracer.start_as_current_span("bad") as bad:
        if Version(mlflow.__version__) >= Version("3.17"):
            bad.set_attribute("mlflow.llm.cost", "no cost")
        else:  # which older servers take: so this one is refused before it
            own_front.refused = b"no cost"
            bad.set_attribute("note", "no cost")
    application.traces(79)
    application.end()
    assert stored(database) == (199, 199)
    assert f"tr-{bad.get_span_context().trace_id:032x}" in caplog.text


APP = """
import os
import time
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter

provider = TracerProvider()
provider.add_span_processor(MlflowContextSpanProcessor(Resource({"service.version": "1.10"})))
provider.add_span_processor(BatchSpanProcessor(MlflowSpanExporter(experiment_name="lost-nothing")))

def app(environ, start_response):
    with provider.get_tracer("app").start_as_current_span("request"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        time.sleep(0.02)
    return [str(os.getpid()).encode()]
"""


@pytest.mark.skipif(os.name != "posix", reason="gunicorn runs on POSIX only")
@pytest.mark.parametrize("preload", [["--preload"], []], ids=["preload", "each-worker"])
def test_gunicorn_with_two_workers(
    own_server: Any, database: Path, tmp_path: Path, preload: list[str]
) -> None:
    (tmp_path / "app.py").write_text(APP)
    with (tmp_path / "gunicorn.log").open("wb") as log:
        gunicorn = subprocess.Popen(
            [
                Path(sysconfig.get_path("scripts")) / "gunicorn",
                *("app:app", "--workers", "2", "--bind", "127.0.0.1:0", *preload),
            ],
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_TRACKING_URI": own_server.uri},
            stdout=log,
            stderr=log,
        )
    try:
        uri = _listening_at(tmp_path / "gunicorn.log")
        with ThreadPoolExecutor(6) as threads:
            workers = set(threads.map(_read, [uri] * 60))
    finally:
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.wait(60) == 0
    assert len(workers) == 2
    assert stored(database) == (60, 60)


def _read(uri: str) -> bytes:
    with urllib.request.urlopen(uri, timeout=30) as answer:
        return answer.read()


def _listening_at(log: Path) -> str:
    for _ in range(300):
        for line in log.read_text().splitlines():
            if "Listening at: " in line:
                return line.split("Listening at: ")[1].split()[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_a_process_that_ends_with_spans_in_its_queue(own_server: Any, database: Path) -> None:
    code = f"{APP}\nfor _ in range(100):\n    app(None, lambda *_: None)\n"
    subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": own_server.uri,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
        },
        check=True,
        timeout=120,
    )
    assert stored(database) == (100, 100)
