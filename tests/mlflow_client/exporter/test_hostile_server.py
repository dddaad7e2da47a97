"""Servers that answer something else than MLflow does: the application goes on, with one log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_mlflow_context import MlflowSpanExporter, trace_context
from otel_mlflow_context.mlflow_client.backfill import CannotBackfill, backfill

ANSWERS: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<html>Please log in</html>",
    "no UTF-8": b"\xff\xfe\x00",
    "null": b"null",
    "a number": b"3",
    "a text": b'"version"',
    "a list": b'["version"]',
    "nested": b"[" * 100_000,
    "an open object": b'{"experiment": ',
    "no experiment": b'{"experiment": null, "traces": null, "trace": null}',
    "an id of another type": b'{"experiment": {"experiment_id": {"a": []}}, "version": "9"}',
    "an id that splits a header": b'{"experiment": {"experiment_id": "1\\r\\nX-Evil: 1"}}',
    "an id that leads elsewhere": b'{"experiment": {"experiment_id": "../../../admin?x=#"}}',
    "a number too long": b"9" * 5_000 + b"." + b"9" * 5_000,
    "NaN": b'{"experiment": {"experiment_id": NaN}, "traces": [NaN]}',
    "traces of another form": b'{"traces": [{}, 1, null], "next_page_token": 7}',
    "the same page for ever": b'{"traces": [], "next_page_token": "x", "experiment": {}}',
    "a key twice": b'{"experiment": {}, "experiment": {"experiment_id": "1"}, "traces": {}}',
}


class Hostile(ThreadingHTTPServer):
    daemon_threads = True
    body = b""
    headers: tuple[tuple[str, str], ...] = ()
    status = 200
    seen: list[str]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that has gone away."""


class Handler(BaseHTTPRequestHandler):
    server: Hostile

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(self.path)
        self.send_response(self.server.status)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST = do_PATCH = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile(("127.0.0.1", 0), Handler) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("experiment_id", [None, "1"], ids=["by name", "by id"])
def test_no_answer_gets_into_the_application_or_floods_its_log(
    hostile: Hostile,
    recorded: Any,
    caplog: pytest.LogCaptureFixture,
    answer: bytes,
    experiment_id: str | None,
) -> None:
    hostile.body = answer
    caplog.set_level(logging.WARNING, "otel_mlflow_context")
    exporter = MlflowSpanExporter(hostile.uri, experiment_id=experiment_id, timeout=1)
    start = time.monotonic()
    for _ in range(3):
        with trace_context(request_id="r-1"):
            recorded.trace()
        result = exporter.export(recorded.take())
        assert result in (SpanExportResult.SUCCESS, SpanExportResult.FAILURE)
    exporter.force_flush(200)
    exporter.shutdown()
    assert time.monotonic() - start < 20
    ours = [it for it in caplog.records if it.name.startswith("otel_mlflow_context")]
    assert len(ours) <= 3, [it.getMessage()[:200] for it in ours]
    # Whatever it names as an experiment, spans go to the one route and metadata to another.
    for path in hostile.seen:
        assert path.startswith(("/v1/traces", "/version", "/api/2.0/mlflow/", "/api/3.0/"))
        assert "admin" not in path


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_no_answer_ends_a_backfill_with_a_traceback(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    hostile.body = answer
    monkeypatch.setenv("MLFLOW_TRACKING_URI", hostile.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "1")
    try:
        pages = list(backfill(timeout=2))
    except CannotBackfill as error:
        assert hostile.uri in str(error)  # noqa: PT017  # both are right
    else:
        assert pages == []


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (302, (("Location", "http://127.0.0.1:9/"),)),
        (307, (("Location", "/v1/traces"),)),
        (503, (("Retry-After", "9" * 400),)),
        (503, (("Retry-After", "-1"),)),
        (429, (("Retry-After", "Wed, 21 Oct 2099 07:28:00 GMT"),)),
        (200, (("Content-Encoding", "gzip"),)),
        (200, (("Set-Cookie", "a=b"), ("Content-Type", "text/html; charset=utf-99"))),
        (999, ()),
        (100, ()),
        (204, ()),
        (304, ()),
        (400, ()),
        (418, ()),
        (500, ()),
    ],
    ids=str,
)
def test_no_status_or_header_makes_it_wait_or_follow(
    hostile: Hostile,
    recorded: Any,
    status: int,
    headers: tuple[tuple[str, str], ...],
) -> None:
    hostile.status, hostile.headers, hostile.body = status, headers, b"x" * 300
    exporter = MlflowSpanExporter(hostile.uri, experiment_id="1", timeout=1)
    recorded.trace()
    start = time.monotonic()
    exporter.export(recorded.take())
    exporter.shutdown()
    assert time.monotonic() - start < 8
