"""Large JSON requests are decoded in another process."""

import asyncio
import json
import sys
import threading
import time
from itertools import pairwise

import pytest
from otlp import as_json, otlp_request
from starlette.exceptions import HTTPException
from starlette.requests import Request

from otel_mlflow_context.server.otlp.large_json import (
    LARGE_JSON,
    InvalidJsonError,
    parse_large_json,
)
from otel_mlflow_context.server.otlp.request import JSON, parse
from otel_mlflow_context.server.route import TracesRoute

BODY = json.dumps(as_json(otlp_request({}, {}))).encode()


def test_a_request_is_the_same_as_decoded_here():
    assert parse_large_json(BODY) == parse(BODY, JSON)


def test_it_has_our_modules_and_nothing_of_the_environment(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('automatic instrumentation')")
    (tmp_path / "json.py").write_text("raise SystemExit('of the working directory')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    assert parse_large_json(BODY) == parse(BODY, JSON)


def test_others_run_meanwhile():
    body = b'{"many": [' + b"[]," * 1_000_000 + b"[]]}"
    decoding = threading.Thread(
        target=pytest.raises, args=(InvalidJsonError, parse_large_json, body)
    )

    times = [time.process_time()]  # whatever else the machine does
    decoding.start()
    while decoding.is_alive():
        time.sleep(0.001)
        times.append(time.process_time())

    assert max(after - before for before, after in pairwise(times)) < 0.05


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
def test_without_another_process_senders_may_try_again(monkeypatch, python):
    headers = {"content-type": JSON, "x-mlflow-experiment-id": "0"}
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive():
        return {"type": "http.request", "body": BODY + b" " * LARGE_JSON}

    async def export():
        return await TracesRoute(None, None, is_strict=False).endpoint(Request(scope, receive))

    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(HTTPException) as raised:
        asyncio.run(export())
    assert raised.value.status_code == 503
