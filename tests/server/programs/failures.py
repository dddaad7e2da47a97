"""Everything fails now and then: connections, workers, the database. Nothing that was answered 200
is lost or rejected, and no trace is stored without its metadata.

    python failures.py [SECONDS] [RATE]

starts a PostgreSQL and a server with the plugin, of four workers, and has RATE (0.05) of all
requests and connections to the database fail for SECONDS (1800), kills a worker every few seconds,
and stops the database once a minute.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import socketserver
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import requests
import sqlalchemy
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp import HAS_REMOTE_PARENT, otlp_request
from servers import MlflowServer, PostgreSQL

RESOURCE = {"service.name": "qa", "service.version": "1", "cloud.region": "eu"}
KEYS = {"app_version": "1", "region": "eu", "service_name": "qa"}
SENDERS = 8
TRACES = 5
"""In a request: each a root and a child, or a single entry span."""


class Proxy(socketserver.ThreadingTCPServer):
    """Stands before the database, and drops some of its connections between two messages."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, rate: float) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.behind = port
        self.rate = rate
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """A connection that breaks is what it is for."""


class _Connection(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.behind)) as database:
            back = threading.Thread(target=self._copy, args=(database, self.request), daemon=True)
            back.start()
            self._copy(self.request, database)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                if random.random() < self.server.rate:
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Sender(threading.Thread):
    """Sends requests, each until it is answered with 200."""

    def __init__(self, uri: str, rate: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._uri, self._rate, self._stop_event = uri, rate, stop
        self.stored: dict[str, int] = {}
        """The traces that were answered with 200, with their spans."""
        self.rejected = 0
        self.failures = 0

    def run(self) -> None:
        while not self._stop_event.is_set():
            spans: dict[str, int] = {}
            fields = []
            for number in range(TRACES):
                trace_id = os.urandom(16)
                entry = {"parent_span_id": b"p" * 8, "flags": HAS_REMOTE_PARENT}
                fields.append({"trace_id": trace_id, **(entry if number == 0 else {})})
                if number:
                    child = {"parent_span_id": b"p" * 8, "flags": 0x100}
                    fields.append({"trace_id": trace_id, **child})
                spans[f"tr-{trace_id.hex()}"] = 2 if number else 1
            random.shuffle(fields)
            body = otlp_request(*fields, **RESOURCE).SerializeToString()
            while not self._stop_event.is_set():
                if self._send(body, spans):
                    break
                self.failures += 1
                time.sleep(0.2)

    def _send(self, body: bytes, spans: dict[str, int]) -> bool:
        # A sender that is gone before it has its answer.
        timeout = 0.05 if random.random() < self._rate else 30
        try:
            answer = requests.post(
                f"{self._uri}/v1/traces",
                data=body,
                headers={"x-mlflow-experiment-id": "0", "content-type": "application/x-protobuf"},
                timeout=timeout,
            )
        except requests.RequestException:
            return False
        if answer.status_code != 200:
            return False
        response = ExportTraceServiceResponse()
        if answer.content.startswith(b"{"):  # MLflow 3.6's, under the name of protobuf
            Parse(answer.content, response, ignore_unknown_fields=True)
        else:
            response.ParseFromString(answer.content)
        partial = response.partial_success
        self.rejected += partial.rejected_spans
        if not partial.rejected_spans:
            self.stored.update(spans)
        return True


def workers_of(server: MlflowServer) -> list[int]:
    """The processes of a server that have no children: its workers."""
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == server.group:
            parents[int(process.name)] = int(fields[1])
    return [pid for pid in parents if pid not in parents.values() and pid != server.group]


def run(seconds: float, rate: float, folder: Path) -> dict[str, int]:
    """Have everything fail, then look at what is stored; the figures, of which `rejected`, `lost`,
    `without metadata` and `without spans` must be 0."""
    database = PostgreSQL()
    database.start()
    # A request has some forty statements, each with two messages or more.
    proxy = Proxy(database.port, 0.0)
    uri = database.uri.replace(str(database.port), str(proxy.server_address[1]))
    server = MlflowServer(
        folder, uri, "--app-name", "otel-mlflow-context", "--workers", "4", "--host", "127.0.0.1"
    )
    try:
        server.start()
        proxy.rate = rate / 100
        senders, figures = _fail(server, database, proxy, seconds, rate)
        return {**figures, **_look(database, senders)}
    finally:
        server.close()
        database.close()


def _fail(server, database, proxy, seconds, rate):
    stop = threading.Event()
    senders = [Sender(server.uri, rate, stop) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    killed = stopped = 0
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(min(5, seconds / 4))
        if len(workers := workers_of(server)) > 1:
            os.kill(random.choice(workers), signal.SIGKILL)
            killed += 1
        if (time.monotonic() - began) // min(60, seconds / 2) > stopped:
            database.stop()
            time.sleep(1)
            database.start()
            stopped += 1
    proxy.rate = 0.0
    time.sleep(2)
    stop.set()
    for sender in senders:
        sender.join(timeout=60)
    return senders, {"workers killed": killed, "database stopped": stopped}


def _look(database, senders):
    answered: dict[str, int] = {}
    for sender in senders:
        answered |= sender.stored
    rejected = sum(sender.rejected for sender in senders)
    spans: dict[str, int] = {}
    metadata: dict[str, dict[str, str]] = {}
    # The server may still store what a sender is no longer there for.
    engine = sqlalchemy.create_engine(database.uri, isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        for query, found in (
            ("SELECT trace_id, count(*) FROM spans GROUP BY trace_id", spans),
            ("SELECT request_id, 0 FROM trace_info", {}),
        ):
            found.update(dict(connection.execute(sqlalchemy.text(query)).all()))
        there = set(found)
        rows = connection.execute(
            sqlalchemy.text("SELECT request_id, key, value FROM trace_request_metadata")
        )
        for trace_id, key, value in rows:
            metadata.setdefault(trace_id, {})[key] = value
    return {
        "traces": len(there),
        "answered 200": len(answered),
        "failed requests": sum(sender.failures for sender in senders),
        "rejected": rejected,
        "lost": sum(spans.get(it) != count for it, count in answered.items()),
        "without metadata": sum(not KEYS.items() <= metadata.get(it, {}).items() for it in there),
        "without spans": len((there | metadata.keys()) - spans.keys()),
    }


if __name__ == "__main__":
    seconds, rate = ([*map(float, sys.argv[1:]), *(1800.0, 0.05)[len(sys.argv) - 1 :]])[:2]
    with tempfile.TemporaryDirectory() as scratch:
        for name, figure in run(seconds, rate, Path(scratch)).items():
            print(f"{name:20}{figure:>10}")
