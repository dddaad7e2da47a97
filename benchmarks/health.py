"""How fast does a server answer health checks while it stores the largest requests?

One worker, with the plugin: eight senders post the largest request of a form that the plugin
accepts, again and again, and a health check is made every 20 ms.
"""

import gzip
import json
import multiprocessing
import os
import random
import statistics
import threading
import time
from contextlib import suppress

import requests
from _servers import mlflow_server
from _tables import progress, table
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PLUGIN = ("--app-name", "otel-mlflow-context", "--workers", "1")
_SENDERS = 8
_INTERVAL = 0.02
_SPANS = 20_000
_BYTES = 20 * 1024 * 1024
_UNPACKED = 32 * 1024 * 1024


def run(*, quick: bool = False) -> str:
    """Measure, and return the table."""
    seconds = 3 if quick else 25
    forms = {"nothing else": (None, {}), **_requests()}
    rows = []
    for name, (body, headers) in list(forms.items())[slice(1, 2) if quick else slice(None)]:
        with mlflow_server(*PLUGIN) as uri:  # another each time: some take minutes to store
            rows.append((name, *_measure(uri, body, headers, seconds)))
    return table(
        f"Health checks while {_SENDERS} senders post the largest requests, in ms",
        ("", "median", "p99", "longest", "goal of p99"),
        [(*row, "< 100") for row in rows],
    )


def _requests() -> dict[str, tuple[bytes, dict[str, str]]]:
    many = _spans(_SPANS, _BYTES // _SPANS - 120).SerializeToString()
    few = _spans(20, _BYTES // 20 - 120)
    in_json = _as_json(_spans(20, _BYTES // 22 - 400))
    packed = gzip.compress(_spans(32, _UNPACKED // 32 - 120).SerializeToString(), 1)
    protobuf = {"content-type": "application/x-protobuf"}
    return {
        f"{_SPANS} spans": (many, protobuf),
        "20 spans of 1 MiB": (few.SerializeToString(), protobuf),
        "32 MiB in gzip": (packed, {**protobuf, "content-encoding": "gzip"}),
        "32 MiB of zeros in gzip": (
            gzip.compress(bytes(_UNPACKED)),
            {**protobuf, "content-encoding": "gzip"},
        ),
        "20 spans in JSON": (in_json, {"content-type": "application/json"}),
        "JSON that is cut off": (in_json[:-1], {"content-type": "application/json"}),
        "JSON of many objects": (_json_of_many_objects(), {"content-type": "application/json"}),
    }


def _spans(count: int, size: int) -> ExportTraceServiceRequest:
    """Traces of ten spans, each with an attribute of that many bytes."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    text = "".join(random.choices("abcdefghijklmnop {}\"'", k=max(size, 1)))
    for number in range(count):
        if number % 10 == 0:
            trace_id = os.urandom(16)
        span = spans.add(trace_id=trace_id, span_id=os.urandom(8), name="step")
        span.parent_span_id = b"" if number % 10 == 0 else b"p" * 8
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 1_000
        span.attributes.add(key="text").value.string_value = text
    return request


def _as_json(request: ExportTraceServiceRequest) -> bytes:
    found = MessageToDict(request)
    for span in found["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            span[name] = os.urandom(16 if name == "traceId" else 8).hex()
    return json.dumps(found).encode()


def _json_of_many_objects() -> bytes:
    value = {"arrayValue": {"values": [{}] * (_BYTES // 4 - 100)}}
    span = {
        "traceId": os.urandom(16).hex(),
        "spanId": os.urandom(8).hex(),
        "name": "step",
        "attributes": [{"key": "many", "value": value}],
    }
    request = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    return json.dumps(request, separators=(",", ":")).replace(" ", "").encode()


def _send(uri: str, body: bytes, headers: dict[str, str]) -> None:
    def post() -> None:
        with suppress(requests.RequestException):  # until the server is gone
            while True:
                _post(uri, body, headers)

    senders = [threading.Thread(target=post) for _ in range(_SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def _post(uri: str, body: bytes, headers: dict[str, str]) -> None:
    headers = {"x-mlflow-experiment-id": "0", **headers}
    requests.post(f"{uri}/v1/traces", data=body, headers=headers, timeout=600)


def _measure(
    uri: str, body: bytes | None, headers: dict[str, str], seconds: float
) -> tuple[str, str, str]:
    """The median, the 99th percentile and the longest of the health checks."""
    # MLflow imports a part of itself when it stores its first spans.
    _post(uri, _spans(1, 1).SerializeToString(), {"content-type": "application/x-protobuf"})
    # In a process of their own, so that none of them holds up a health check.
    senders = multiprocessing.get_context("spawn").Process(
        target=_send, args=(uri, body, headers), daemon=True
    )
    if body:
        senders.start()
        time.sleep(2)
    times = []
    until = time.monotonic() + seconds
    with requests.Session() as session:
        while time.monotonic() < until:
            progress(f"health: {len(times)} checks")
            began = time.perf_counter()
            session.get(f"{uri}/health", timeout=60).raise_for_status()
            times.append((time.perf_counter() - began) * 1_000)
            time.sleep(_INTERVAL)
    if body:
        senders.kill()
    times.sort()
    return tuple(
        f"{figure:.0f}"
        for figure in (statistics.median(times), times[int(len(times) * 0.99)], times[-1])
    )
