"""One session through three services, and what a stranger gets to see of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import free_port
from shared import shared_mlflow_server

HERE = Path(__file__).parent / "services"
SCRIPTS = Path(sysconfig.get_path("scripts"))
CLIENTS = ["httpx", "httpx-async", "requests", "aiohttp", "urllib3", "urllib"]


class Vendor(ThreadingHTTPServer):
    """Somebody else's model: it answers, and keeps the headers that it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _VendorHandler)
        self.seen: dict[str, dict[str, str]] = {}


class _VendorHandler(BaseHTTPRequestHandler):
    server: Vendor

    def do_GET(self) -> None:
        self.server.seen[self.path] = {name.lower(): self.headers[name] for name in self.headers}
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"answer")

    def log_message(self, *_: object) -> None:
        pass


class Services:
    """The three services and the vendor, each a process (or thread) that really listens."""

    def __init__(self, mlflow_uri: str, experiment: str, logs: Path) -> None:
        self._logs = logs
        self._processes: list[subprocess.Popen[bytes]] = []
        self.uri, self.experiment = mlflow_uri, experiment
        self.vendor = Vendor()
        threading.Thread(target=self.vendor.serve_forever, daemon=True).start()
        ports = {name: free_port() for name in ("front", "retrieval", "queue")}
        # Ours have a name, and the vendor has an address: only the name is trusted.
        self.front, self.retrieval, self.queue = (
            f"http://localhost:{port}" for port in ports.values()
        )
        self._environment = {
            **os.environ,
            "OTEL_TRACES_EXPORTER": "mlflow",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PROPAGATORS": "tracecontext,trusted_baggage,mlflow_headers",
            "OTEL_MLFLOW_CONTEXT_TRUSTED_HOSTS": "localhost",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_PYTHON_EXCLUDED_URLS": "openapi.json,ready,background",
            "MLFLOW_TRACKING_URI": mlflow_uri,
            "MLFLOW_EXPERIMENT_NAME": experiment,
            "VENDOR": f"http://127.0.0.1:{self.vendor.server_port}",
            "ARCHIVE": f"http://localhost:{self.vendor.server_port}",
            "RETRIEVAL": self.retrieval,
            "QUEUE": self.queue,
        }
        port = {name: str(number) for name, number in ports.items()}
        self._start("uvicorn", "front:app", "--port", port["front"], "--log-level", "warning")
        self._start("flask", "--app", "retrieval", "run", "--port", port["retrieval"])
        self._start(sys.executable, "queue_worker.py", port["queue"])
        for url in (f"{self.front}/openapi.json", f"{self.retrieval}/ready", f"{self.queue}/ready"):
            self._wait_for(url)

    def _start(self, command: str, *arguments: str) -> None:
        path = command if os.sep in command else str(SCRIPTS / command)
        with (self._logs / f"{Path(command).name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [str(SCRIPTS / "opentelemetry-instrument"), path, *arguments],
                    cwd=HERE,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _wait_for(self, url: str) -> None:
        for _ in range(600):
            try:
                with urllib.request.urlopen(url, timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("\n".join(log.read_text() for log in self._logs.glob("*.log")))

    def close(self) -> None:
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.vendor.shutdown()
        self.vendor.server_close()


@pytest.fixture(scope="module")
def services(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    from mlflow import MlflowClient

    experiment = f"services-{time.time_ns()}"
    server = shared_mlflow_server("services", empty_store)  # of 400 traces at once: for them alone
    MlflowClient(server.uri).create_experiment(experiment)
    made = Services(server.uri, experiment, tmp_path_factory.mktemp("services"))
    yield made
    made.close()


def get(url: str, **headers: str) -> str:
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


Find = Callable[..., list[Any]]


@pytest.fixture
def find(services: Services, traces: Any) -> Find:
    """Finds so many traces by a query, once they are there: a batch is sent when it is old."""

    def find(query: str, count: int) -> list[Any]:
        def there(**options: Any) -> list[Any]:
            return traces(services.uri, services.experiment, query, **options)

        for _ in range(300):  # a busy machine takes a minute
            if len(there(include_spans=False)) >= count:
                break
            time.sleep(0.4)
        return there()

    return find


@pytest.mark.parametrize("client", CLIENTS)
def test_every_service_knows_who_asks_and_the_vendor_does_not(
    services: Services, find: Find, client: str
) -> None:
    session, user = f"session {client}", f"user-{client}"
    answer = json.loads(get(f"{services.front}/ask/{client}", X_Session_ID=session, X_User_ID=user))
    received = json.loads(json.loads(answer["found"])["queue"])["baggage"]
    assert received == f"session.id={quoted(session)},user.id={user}"
    # The last one's own call, to a name that is trusted.
    assert services.vendor.seen[f"/archive-{client}"]["baggage"] == received
    for path in (f"/front-{client}", f"/retrieval-{client}"):
        seen = services.vendor.seen[path]
        assert "traceparent" in seen
        assert "baggage" not in seen
        assert not any(said in str(seen) for said in (session, user, quoted(session)))

    [by_user] = find(f"metadata.`mlflow.trace.user` = '{user}'", 1)
    for _ in range(100):  # the other services send their spans when theirs are old enough
        [by_session] = find(f"metadata.`mlflow.trace.session` = '{session}'", 1)
        if len(entry_spans(by_session)) == 3:
            break
        time.sleep(0.2)
    assert by_session.info.trace_id == by_user.info.trace_id
    assert len(entry_spans(by_session)) == 3
    for span in entry_spans(by_session):
        assert (span.attributes["session.id"], span.attributes["user.id"]) == (session, user)


def quoted(text: str) -> str:
    return text.replace(" ", "+")


def entry_spans(stored: Any) -> list[Any]:
    return [span for span in stored.data.spans if "session.id" in span.attributes]


def test_who_logs_in_late_is_known_to_all_services_from_then_on(
    services: Services, find: Find
) -> None:
    url = f"{services.front}/ask/httpx?login=late-ada"
    answer = json.loads(get(url, X_Session_ID="late", X_User_ID="guest"))
    received = json.loads(json.loads(answer["found"])["queue"])["baggage"]
    assert received == "session.id=late,user.id=late-ada"
    query = "metadata.`mlflow.trace.user` = 'late-ada'"
    [stored] = find(query, 1)
    assert stored.info.trace_metadata["mlflow.trace.session"] == "late"
    seen = services.vendor.seen["/front-httpx"]
    assert "late-ada" not in str(seen)
    assert "traceparent" in seen


COUNT = 100


def users_by_path(found: list[Any], path: str) -> dict[str, str]:
    """By the user in the request's path, the user that the trace's metadata says."""
    return {
        user: stored.info.trace_metadata["mlflow.trace.user"]
        for stored in found
        for user in re.findall(
            rf"/{path}/(\w+-\d+)", str([span.attributes for span in stored.data.spans])
        )
    }


def test_no_trace_of_many_at_once_has_anothers_user_over_asyncio(
    services: Services, find: Find
) -> None:
    names = [f"async-{number}" for number in range(COUNT)]

    async def ask_all() -> list[str]:
        limits = httpx.Limits(max_connections=COUNT)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:

            async def ask(name: str) -> str:
                url = f"{services.front}/stream/{name}"
                return (await client.get(url, headers={"X-User-ID": name})).text

            return await asyncio.gather(*map(ask, names))

    assert asyncio.run(ask_all()) == [f"{name} " * 3 for name in names]
    background = json.loads(get(f"{services.front}/background"))
    assert background == {name: name for name in names}
    query = "metadata.`mlflow.trace.user` LIKE 'async-%'"
    found = find(query, 2 * COUNT)
    assert len(found) == 2 * COUNT
    assert users_by_path(found, "stream") == {name: name for name in names}
    for stored in found:
        name = stored.data.spans[0].name
        if name.startswith("background "):
            assert name == f"background {stored.info.trace_metadata['mlflow.trace.user']}"


def test_no_trace_of_many_at_once_has_anothers_user_over_threads(
    services: Services, find: Find
) -> None:
    names = [f"thread-{number}" for number in range(COUNT)]
    with ThreadPoolExecutor(50) as threads:
        answers = threads.map(
            lambda name: get(f"{services.retrieval}/slow/{name}", X_User_ID=name), names
        )
    assert list(answers) == [f"{name} {name}" for name in names]
    query = "metadata.`mlflow.trace.user` LIKE 'thread-%'"
    found = find(query, COUNT)
    assert users_by_path(found, "slow") == {name: name for name in names}
