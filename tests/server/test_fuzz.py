"""Requests that nobody means well: what they can do to the decoder, the metadata and the route."""

import gzip
import logging
import zlib
from contextlib import suppress

import mlflow
import pytest
import requests
from fuzzing import anything, fuzz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otlp import otlp_request
from otlp_corpus import REQUESTS

from otel_mlflow_context.facts.metadata import MAX_SIZE
from otel_mlflow_context.semconv import (
    METADATA_KEYS,
    PROCESS_FACTS,
    REQUEST_FACTS,
    is_allowed_key,
)
from otel_mlflow_context.server.otlp.entry_spans import entry_spans
from otel_mlflow_context.server.otlp.http_body import RequestTooLargeError, decompress
from otel_mlflow_context.server.otlp.request import (
    JSON,
    PROTOBUF,
    parse,
    spans_of,
    split_by_trace,
    trace_ids_of,
)
from otel_mlflow_context.server.trace_metadata import ENTRY_SPAN_KEY, abandoned, trace_update
from otel_mlflow_context.settings import Settings

LIMIT = 100_000
TABLE = {fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS)}
ENCODINGS = ("", "gzip", "deflate", "identity", "br")
SEEDS = [body for body, _ in REQUESTS.values() if len(body) < 20_000]


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@st.composite
def bodies(draw):
    """A request of the corpus with some of its bytes changed, cut out, or said twice."""
    body = bytearray(draw(st.sampled_from(SEEDS) | st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(body)))
        piece = draw(st.binary(max_size=8) | st.sampled_from([b"\xff" * 9, b"\x0a", b"{", b'"']))
        end = at + draw(st.integers(0, 8))
        body[at:end] = piece * draw(st.sampled_from([1, 1, 1, 50]))
    packed = draw(st.sampled_from(["", "gzip", "deflate"]))
    if packed == "gzip":
        return gzip.compress(bytes(body), 1)
    return zlib.compress(bytes(body), 1) if packed else bytes(body)


def check_metadata(request):
    trace_ids = set(trace_ids_of(request))
    for trace_id, entry in entry_spans(request, Settings(metadata_keys=("tenant",))).items():
        assert trace_id in trace_ids
        for key, value in entry.metadata.items():
            assert key in TABLE or is_allowed_key(key)
            assert 1 <= len(value) <= 250
            value.encode()
        assert sum(len(key) + len(value.encode()) for key, value in entry.metadata.items()) <= (
            MAX_SIZE
        )
        assert len(entry.client_request_id or "") <= 50
        for stored in ({}, {"mlflow.trace.sizeStats": "{}"}, {ENTRY_SPAN_KEY: "{}"}):
            update = trace_update(entry, stored, "IN_PROGRESS", None)
            changed = (update.added.keys() | update.removed) if update else set()
            assert "mlflow.trace.sizeStats" not in changed


@fuzz
@given(bodies(), st.sampled_from(ENCODINGS), st.sampled_from([PROTOBUF, JSON, "text/plain"]))
def test_a_body_is_a_request_within_its_limits_or_refused(body, encoding, media_type):
    try:
        unpacked = decompress(body, encoding, LIMIT)
    except RequestTooLargeError:
        return
    except Exception:  # MLflow's answer says what is wrong
        return
    assert len(unpacked) <= LIMIT
    try:
        request = parse(unpacked, media_type)
    except Exception:  # the same
        return
    check_metadata(request)
    parts = split_by_trace(request, 3, 500)
    assert sum(len(list(spans_of(part))) for part in parts) == len(list(spans_of(request)))


values = anything | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans() | st.binary()
names = st.sampled_from(
    [
        *("session.id", "user.id", "mlflow.client_request_id", "mlflow.traceRequestId"),
        *("mlflow.trace.sizeStats", "feature_flag_x", "tenant", "service.name", ENTRY_SPAN_KEY),
    ]
)
attributes = st.dictionaries(names | anything, values, max_size=8)


@fuzz
@given(attributes, attributes, st.lists(names | anything, max_size=5))
def test_attributes_are_metadata_of_allowed_keys_only(of_span, of_resource, declared):
    def encodable(values):
        """Protobuf has no lone surrogates."""
        return {
            key.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
            if isinstance(value, str)
            else value
            for key, value in values.items()
        }

    of_span = encodable({**of_span, METADATA_KEYS: ",".join(declared)})
    check_metadata(otlp_request({"attributes": of_span}, **encodable(of_resource)))


@fuzz
@given(anything | st.sampled_from(["[" * 8_000, '{"keys": 1}', '{"keys": [[]], "start_ns": 1}']))
def test_damaged_metadata_of_an_entry_span_is_no_crash(stored):
    [entry] = entry_spans(otlp_request({}), Settings()).values()

    update = trace_update(entry, {ENTRY_SPAN_KEY: stored}, "IN_PROGRESS", None)

    assert update.removed == {ENTRY_SPAN_KEY}
    assert abandoned(stored)[0] in ("OK", "ERROR")


headers = st.dictionaries(
    st.sampled_from(["content-type", "content-encoding", "x-mlflow-experiment-id", "user-agent"])
    | st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    max_size=3,
).filter(lambda it: not it.keys() & {"host", "connection", "content-length", "expect", "upgrade"})


@settings(parent=fuzz, suppress_health_check=list(HealthCheck))
@given(bodies(), headers, st.sampled_from([PROTOBUF, JSON]), st.sampled_from(ENCODINGS))
def test_the_route_answers_and_the_server_lives(plugin_sqlite, body, headers, type_, encoding):
    sent = {"content-type": type_, "content-encoding": encoding, "x-mlflow-experiment-id": "0"}

    answer = requests.post(
        f"{plugin_sqlite.uri}/v1/traces", data=body, headers=sent | headers, timeout=60
    )

    assert answer.status_code in (200, 400, 404, 413, 415, 422, 500)
    assert requests.get(f"{plugin_sqlite.uri}/health", timeout=10).text == "OK"


def test_after_all_that_the_experiment_can_be_read(new_plugin, send):
    server = new_plugin()
    for body, headers in REQUESTS.values():
        with suppress(requests.RequestException):
            send(server, "0", [], body=body, **headers)

    found = mlflow.MlflowClient(server.uri).search_traces(
        ["0"], max_results=500, include_spans=False
    )

    assert len(found) > 20
