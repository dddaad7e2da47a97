"""What whoever may send spans to an experiment gets by it: nothing, in each of these variants."""

import functools
import gzip
import io
import json
import os
import re
import threading
import time
import zlib
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.tracing.constant import TraceMetadataKey, TraceTagKey
from otlp import HAS_REMOTE_PARENT, add_span, as_json, otlp_request
from packaging.version import Version

from otel_mlflow_context.semconv import METADATA_KEYS, MLFLOW_METADATA
from otel_mlflow_context.server.trace_metadata import ENTRY_SPAN_KEY

MLFLOW = Version(mlflow.__version__)
EVIL = "evil"


class Place:
    """A server with the plugin, and an experiment on it with a trace of somebody else."""

    def __init__(self, server, send, name):
        self.server, self._send = server, send
        self.id = self.new_experiment(name)
        self.victim = os.urandom(16)
        span = {"trace_id": self.victim, "attributes": {"session.id": "s-1"}}
        answer = self.send(otlp_request(span, **{"service.name": "victim"}))
        assert answer.status_code == 200
        self.before = self.trace(self.victim)

    def new_experiment(self, name):
        answer = requests.post(
            f"{self.server.uri}/api/2.0/mlflow/experiments/create", json={"name": name}, timeout=30
        )
        return answer.json()["experiment_id"]

    def send(self, request, experiment_id=None, **headers):
        body = request if isinstance(request, bytes) else request.SerializeToString()
        return self._send(self.server, experiment_id or self.id, [], body=body, **headers)

    def trace(self, trace_id):
        return mlflow.MlflowClient(self.server.uri).get_trace(f"tr-{trace_id.hex()}")

    def list(self, experiment_id=None):
        """As the UI lists traces: without their spans."""
        location = {"mlflow_experiment": {"experiment_id": experiment_id or self.id}}
        answer = requests.post(
            f"{self.server.uri}/api/3.0/mlflow/traces/search",
            json={"locations": [{"type": "MLFLOW_EXPERIMENT", **location}], "max_results": 500},
            timeout=30,
        )
        answer.raise_for_status()
        return {it["trace_id"]: it for it in answer.json()["traces"]}

    def check(self, *, tags=True):
        """The victim's trace is as it was, and everything can be read; the experiment's traces.

        Without its tags where MLflow itself lets anybody's spans change them.
        """
        client = mlflow.MlflowClient(self.server.uri)
        found = {it.info.trace_id: it for it in client.search_traces([self.id], max_results=500)}
        assert found.keys() == self.list().keys()
        after = self.trace(self.victim)
        assert after.info.trace_metadata == self.before.info.trace_metadata
        assert found[after.info.trace_id].info.trace_metadata == after.info.trace_metadata
        assert after.info.state == self.before.info.state
        assert not tags or after.info.tags == self.before.info.tags
        return found


@pytest.fixture
def place(plugin_sqlite, send):
    return Place(plugin_sqlite, send, f"attacked {time.time_ns()}")


@pytest.fixture
def place_postgresql(plugin_postgresql, send):
    return Place(plugin_postgresql, send, f"attacked {time.time_ns()}")


# --- 1: metadata that MLflow reads itself ---------------------------------------------------------

KEYS_OF_MLFLOW = sorted(
    {
        value
        for names in (TraceMetadataKey, TraceTagKey)
        for name, value in vars(names).items()
        if name.isupper()
    }
    | {
        *("mlflow.trace_schema.version", "mlflow.artifactLocation", "mlflow.trace.cost"),
        *("mlflow.trace.infoFinalized", "mlflow.user", "mlflow.runName", "mlflow.sourceRun"),
        *("mlflow.auth.userId", "mlflow.gateway.caller", "mlflow.trace.sizeStats"),
        *("mlflow.trace.linkedPrompts", "mlflow.invented", ENTRY_SPAN_KEY, METADATA_KEYS),
    }
)
VALUES = ("evil", "{", "[1]", '{"a": ', "null", "\\", "NaN", "9" * 240)


def declared_by_root(key, value):
    return otlp_request({"attributes": {METADATA_KEYS: f"tenant,{key}", key: value}})


def declared_by_entry_span(key, value):
    attributes = {METADATA_KEYS: key, key: value}
    fields = {"parent_span_id": os.urandom(8), "flags": HAS_REMOTE_PARENT}
    return otlp_request({**fields, "attributes": attributes})


def declared_by_resource(key, value):
    return otlp_request({"attributes": {METADATA_KEYS: key}}, **{key: value, METADATA_KEYS: key})


def declared_as_json(key, value):
    """As MLflow's SDK writes attributes."""
    attributes = {
        "mlflow.traceRequestId": '"tr-0"',
        METADATA_KEYS: json.dumps(f"tenant, {key}"),
        key: json.dumps(value),
    }
    return otlp_request({"attributes": attributes})


CARRIERS = (declared_by_root, declared_by_entry_span, declared_by_resource, declared_as_json)


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda it: it.__name__)
def test_no_sender_sets_metadata_that_mlflow_reads(place, carrier):
    if Version("3.13") > MLFLOW and carrier is declared_as_json:
        pytest.skip("MLflow before 3.13 takes the trace's id from mlflow.traceRequestId")
    sent = {}
    for number, key in enumerate(KEYS_OF_MLFLOW, CARRIERS.index(carrier)):
        value = VALUES[number % len(VALUES)]
        request = carrier(key, value)
        assert place.send(request).status_code == 200, key
        sent[trace_id_of(request)] = key, value

    found = place.check()

    for trace_id, (key, value) in sent.items():
        metadata = found[trace_id].info.trace_metadata
        if key in MLFLOW_METADATA:  # of the table: that is what they are for
            assert metadata.get(key, value).strip() == value.strip()
        elif key == ENTRY_SPAN_KEY:
            assert value not in metadata.get(key, "{}").strip('"') or "start_ns" in metadata[key]
        else:
            assert key not in metadata


def trace_id_of(request):
    """The trace of its first span."""
    return f"tr-{request.resource_spans[0].scope_spans[0].spans[0].trace_id.hex()}"


DISGUISES = (
    "MLFLOW.trace.sizeStats",
    "Mlflow.Trace.SizeStats",
    "mlflow.trace.sizeStats ",
    " mlflow.trace.sizeStats",
    "mlflow.trace.sizeStats\0",
    "mlflow.trace.sizeStats\n",
    "mlflow\u2024trace\u2024sizeStats",
    "\uff4dlflow.trace.sizeStats",
    "mlflow.trace.s\u0131zeStats",
    "mlflow.trace.sizeStats\u200b",
    "ml\u00adflow.trace.sizeStats",
    "mlflow.trace.si\u0301zeStats",
    "feature_flag_\0",
    "feature_flag_x\r\nset-cookie: a",
    "feature_flag_" + "f" * 300,
    "k" * 251,
    "../../etc/passwd",
    "/",
    ".",
    "",
    "'; DROP TABLE trace_info; --",
    "tenant`",
    "\ud7ff\U0010ffff",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "%s%s%n",
    "App_Version",
    "SERVICE_NAME",
    "gen_ai.conversation.id",
    "client_request_id",
    "session.id",
)


def test_no_disguise_of_a_key_is_read(place):
    sent = {}
    for key in DISGUISES:
        request = otlp_request(
            {"attributes": {METADATA_KEYS: f"{key},tenant", key: EVIL, "tenant": "acme"}},
            **{"service.version": "1"},
        )
        assert place.send(request).status_code == 200, ascii(key)
        sent[trace_id_of(request)] = key

    found = place.check()

    allowed = {"app_version", "tenant", "mlflow.trace.session", "mlflow.trace_schema.version"}
    sizes = {"mlflow.trace.sizeStats", "mlflow.trace.sizeBytes"}
    for trace_id, key in sent.items():
        metadata = found[trace_id].info.trace_metadata
        assert metadata.keys() <= allowed | sizes, ascii(key)
        assert metadata["app_version"] == "1"
        if key not in ("gen_ai.conversation.id", "session.id"):
            assert EVIL not in metadata.values(), ascii(key)


def test_metadata_of_a_trace_does_not_grow_without_end(place):
    trace_id = os.urandom(16)
    for number in range(12):
        flags = {f"feature_flag_{number}_{flag}": "x" * 250 for flag in range(60)}
        request = otlp_request({"trace_id": trace_id, "attributes": flags})
        assert place.send(request).status_code == 200

    metadata = place.trace(trace_id).info.trace_metadata

    assert len(metadata) <= 130
    place.check()


def test_one_hostile_span_leaves_the_metadata_of_others_alone(place):
    """A Collector may put them into one request."""
    nested = "[" * 100_000
    evil = {"attributes": {"mlflow.traceRequestId": '"tr-0"', "x": nested, "session.id": nested}}
    good = os.urandom(16)
    request = otlp_request(evil, {"trace_id": good}, **{"service.version": "1"})

    place.send(request)

    assert place.trace(good).info.trace_metadata["app_version"] == "1"


# --- 2: traces of another experiment --------------------------------------------------------------

PLAIN = {"service.version": "evil", "service.name": "evil"}
LIES = {
    "a second root": {},
    "an earlier root": {"start_time_unix_nano": 1},
    "a root of the future": {"start_time_unix_nano": 2**62, "end_time_unix_nano": 2**62 + 1},
    "an entry span": {"parent_span_id": b"p" * 8, "flags": HAS_REMOTE_PARENT},
    "an earlier entry span": {
        "parent_span_id": b"p" * 8,
        "flags": HAS_REMOTE_PARENT,
        "start_time_unix_nano": 1,
    },
    "a child": {"parent_span_id": b"p" * 8, "flags": 0x100},
    "a consumer": {"parent_span_id": b"p" * 8, "kind": 5},
    "an error": {"status": {"code": 2}},
    "an internal root": {"kind": 1},
}


@pytest.mark.parametrize("where", ["place", "place_postgresql"])
@pytest.mark.parametrize("lie", LIES)
def test_spans_of_another_experiment_s_trace_set_no_metadata(request, where, lie):
    place = request.getfixturevalue(where)
    other = place.new_experiment(f"other {time.time_ns()}")
    attributes = {METADATA_KEYS: "tenant", "tenant": EVIL, "mlflow.client_request_id": EVIL}
    span = {"trace_id": place.victim, "attributes": attributes, **LIES[lie]}
    own = os.urandom(16)

    answer = place.send(otlp_request(span, {"trace_id": own}, **PLAIN), other)

    assert answer.status_code == 200
    place.check(tags=False)
    assert place.trace(place.victim).info.client_request_id != EVIL
    assert place.trace(own).info.trace_metadata["app_version"] == EVIL  # in the sender's own


HEADERS = {
    "the experiment's name": lambda place, other: {"x_mlflow_experiment_id": "attacks"},
    "both": lambda place, other: {"x_mlflow_experiment_id": f"{other}, {place.id}"},
    "a zero before": lambda place, other: {"x_mlflow_experiment_id": f"0{place.id}"},
    "a plus": lambda place, other: {"x_mlflow_experiment_id": f"+{place.id}"},
    "space": lambda place, other: {"x_mlflow_experiment_id": f"{place.id} "},
    "a fraction": lambda place, other: {"x_mlflow_experiment_id": f"{place.id}.0"},
    "negative": lambda place, other: {"x_mlflow_experiment_id": "-1"},
    "huge": lambda place, other: {"x_mlflow_experiment_id": "9" * 30},
    "no number": lambda place, other: {"x_mlflow_experiment_id": "None"},
    "empty": lambda place, other: {"x_mlflow_experiment_id": ""},
    "SQL": lambda place, other: {"x_mlflow_experiment_id": "0 OR 1=1"},
    "a run": lambda place, other: {"x_mlflow_run_id": "0" * 32},
    "a workspace": lambda place, other: {"X_MLFLOW_WORKSPACE": "other"},
    "MLflow's SDK": lambda place, other: {"user_agent": "mlflow-python-client/3.17.2"},
    "the plugin's own key": lambda place, other: {"otel_mlflow_context.forwarded": "true"},
    "a forwarded host": lambda place, other: {"x_forwarded_prefix": "/v1"},
    "another method": lambda place, other: {"x_http_method_override": "GET"},
}


@pytest.mark.parametrize("header", HEADERS)
def test_no_header_helps(place, header):
    other = place.new_experiment(f"other {time.time_ns()}")
    attributes = {METADATA_KEYS: "tenant", "tenant": EVIL}
    body = otlp_request({"trace_id": place.victim, "attributes": attributes}, **PLAIN)
    sent = {"x_mlflow_experiment_id": other, **HEADERS[header](place, other)}

    requests.post(
        f"{place.server.uri}/v1/traces",
        data=body.SerializeToString(),
        headers={
            "content-type": "application/x-protobuf",
            **{key.replace("_", "-"): value for key, value in sent.items()},
        },
        timeout=30,
    )

    if sent["x_mlflow_experiment_id"].strip() != place.id:  # else it is the victim's own service
        place.check(tags=False)


@pytest.mark.parametrize("form", ["json", "gzip", "deflate", "raw deflate", "in two resources"])
def test_no_form_of_a_request_helps(place, form):
    other = place.new_experiment(f"other {time.time_ns()}")
    attributes = {METADATA_KEYS: "tenant", "tenant": EVIL}
    request = otlp_request({"trace_id": place.victim, "attributes": attributes}, **PLAIN)
    headers = {}
    if form == "in two resources":
        add_span(request.resource_spans.add().scope_spans.add(), trace_id=place.victim)
    body = request.SerializeToString()
    if form == "json":
        body = json.dumps(as_json(request)).encode()
        headers["content_type"] = "application/json"
    elif form == "gzip":
        body = gzip.compress(body)
        headers["content_encoding"] = "gzip"
    elif form == "deflate":
        body = zlib.compress(body)
        headers["content_encoding"] = "deflate"
    elif form == "raw deflate":
        body = zlib.compress(body, wbits=-15)
        headers["content_encoding"] = "deflate"

    assert place.send(body, other, **headers).status_code == 200

    place.check(tags=False)


@pytest.mark.parametrize("link", ["a link", "the parent's id", "a tag", "the trace's id"])
def test_no_reference_to_a_trace_changes_it(place, link):
    other = place.new_experiment(f"other {time.time_ns()}")
    span_id = bytes.fromhex(place.before.data.spans[0].span_id)
    victim = f"tr-{place.victim.hex()}"
    span = {
        "a link": {"links": [(place.victim, span_id)]},
        "the parent's id": {"parent_span_id": span_id, "flags": HAS_REMOTE_PARENT},
        "a tag": {"attributes": {"mlflow.traceTag.mlflow.note": victim}},
        "the trace's id": {"attributes": {"mlflow.traceId": victim, "trace_id": victim}},
    }[link]

    assert place.send(otlp_request(span, **PLAIN), other).status_code == 200

    place.check(tags=False)


def test_the_log_says_so_in_one_line(new_plugin, send, log, tmp_path):
    place = Place(new_plugin(), send, "victims")
    other = place.new_experiment("other")

    place.send(otlp_request({"trace_id": place.victim}, **PLAIN), other)

    lines = [line for line in log().splitlines() if "of another experiment" in line]
    assert len(lines) == 1
    assert f"no metadata for tr-{place.victim.hex()}" in lines[0]


# --- 3: work before bounds ------------------------------------------------------------------------

MANY = 300 * 1024 * 1024


@functools.cache
def gzip_bomb():
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        for _ in range(MANY // 2**20):
            file.write(b"\0" * 2**20)
    return packed.getvalue()


def bomb_of_valid_protobuf():
    """A field that no message knows, again and again."""
    return gzip.compress(b"\xfa\x01\xff\x3f" + b"\0" * 8191 + b"\xfa\x01\xff\x3f" * 30_000_000)


def members():
    one = gzip.compress(b"\0" * 2**20)
    return one * (MANY // 2**20)


@functools.cache
def deflate_bomb():
    return zlib.compress(b"\0" * MANY)


def json_bomb():
    return gzip.compress(b'{"resourceSpans": [' + b" " * MANY + b"]}")


BOMBS = {
    "gzip": (gzip_bomb, "gzip", "application/x-protobuf"),
    "gzip, in capitals": (gzip_bomb, "GZIP", "application/x-protobuf"),
    "many members": (members, "gzip", "application/x-protobuf"),
    "deflate": (deflate_bomb, "deflate", "application/x-protobuf"),
    "raw deflate": (
        lambda: deflate_bomb()[2:-4],  # without the header and the checksum
        "deflate",
        "application/x-protobuf",
    ),
    "JSON": (json_bomb, "gzip", "application/json"),
    "no type": (gzip_bomb, "gzip", "text/plain"),
}


def memory_of(server):
    """The peak of the server's processes, in MB."""
    peak = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            group = int((process / "stat").read_text().rpartition(")")[2].split()[2])
            if group == server.group:
                [line] = re.findall(r"VmHWM:\s+(\d+)", (process / "status").read_text())
                peak = max(peak, int(line) // 1024)
        except (OSError, ValueError):  # it has ended, or is a thread of the kernel
            continue
    return peak


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_with_its_reason(place, bomb):
    make, encoding, media_type = BOMBS[bomb]
    body = make()
    before = memory_of(place.server)
    began = time.monotonic()

    answer = place.send(body, content_encoding=encoding, content_type=media_type)

    assert answer.status_code == 413
    assert "larger than 33554432 bytes when decompressed" in answer.json()["detail"]
    assert time.monotonic() - began < 5
    assert memory_of(place.server) - before < 400
    place.check()


@pytest.mark.parametrize("encoding", ["gzip, gzip", "x-gzip", "br", "zstd", "compress", "\xff"])
def test_an_encoding_that_nobody_knows_is_mlflow_s_to_refuse(place, encoding):
    answer = place.send(gzip_bomb(), content_encoding=encoding.encode("latin-1"))

    assert answer.status_code == 400
    place.check()


def too_many_spans():
    trace_id = os.urandom(16)
    return otlp_request(*[{"trace_id": trace_id} for _ in range(20_001)]).SerializeToString()


def too_many_traces():
    return otlp_request(*[{} for _ in range(10_001)]).SerializeToString()


@pytest.mark.parametrize("make", [too_many_spans, too_many_traces])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_request_of_too_many_is_refused(place, make, compressed):
    body = gzip.compress(make()) if compressed else make()
    headers = {"content_encoding": "gzip"} if compressed else {}

    answer = place.send(body, **headers)

    assert answer.status_code == 413
    assert "are allowed" in answer.json()["detail"]
    place.check()


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_of_too_many_bytes_is_refused(place, declared):
    size = 21 * 1024 * 1024
    body = b"\0" * size if declared else (b"\0" * 2**16 for _ in range(size // 2**16 + 1))

    answer = requests.post(
        f"{place.server.uri}/v1/traces",
        data=body,
        headers={"content-type": "application/x-protobuf", "x-mlflow-experiment-id": place.id},
        timeout=60,
    )

    assert answer.status_code == 413
    assert "larger than 20971520 bytes" in answer.json()["detail"]
    place.check()


@pytest.mark.parametrize("depth", [10, 40, 60, 500, 100_000])
def test_nested_values(place, depth):
    value = '{"arrayValue": {"values": [' * depth + '{"stringValue": "x"}' + "]}}" * depth
    attribute = '{"key": "deep", "value": ' + value + "}"
    span = {
        "traceId": os.urandom(16).hex(),
        "spanId": "b" * 16,
        "name": "n",
        "startTimeUnixNano": "1",
    }
    span = json.dumps(span)[:-1] + ', "attributes": [' + attribute + "]}"
    body = '{"resourceSpans": [{"scopeSpans": [{"spans": [' + span + "]}]}]}"

    answer = place.send(body.encode(), content_type="application/json")

    assert answer.status_code == 200 if depth <= 40 else answer.status_code in (400, 500)
    place.check()


def test_others_are_served_while_bombs_come(place):
    bomb = gzip_bomb()
    stop = threading.Event()

    def throw():
        while not stop.is_set():
            place.send(bomb, content_encoding="gzip")

    throwers = [threading.Thread(target=throw) for _ in range(4)]
    for thrower in throwers:
        thrower.start()
    try:
        for _ in range(10):
            began = time.monotonic()
            trace_id = os.urandom(16)
            answer = place.send(otlp_request({"trace_id": trace_id}, **{"service.version": "1"}))
            assert answer.status_code == 200
            assert place.trace(trace_id).info.trace_metadata["app_version"] == "1"
            assert time.monotonic() - began < 10
    finally:
        stop.set()
        for thrower in throwers:
            thrower.join()


def test_the_bounds_are_settings(new_plugin, send):
    bounds = {"BYTES": 2_000, "SPANS": 3, "TRACES": 2}
    server = new_plugin(
        OTEL_MLFLOW_CONTEXT_MAX_UNPACKED_BYTES="4000",
        **{f"OTEL_MLFLOW_CONTEXT_MAX_REQUEST_{key}": str(bound) for key, bound in bounds.items()},
    )
    trace_id = os.urandom(16)

    for body, headers, reason in (
        (bytes(2_001), {}, "larger than 2000 bytes"),
        (
            gzip.compress(bytes(4_001)),
            {"content_encoding": "gzip"},
            "larger than 4000 bytes when decompressed",
        ),
        (
            otlp_request(*[{"trace_id": trace_id}] * 4).SerializeToString(),
            {},
            "4 spans; 3 are allowed",
        ),
        (otlp_request({}, {}, {}).SerializeToString(), {}, "3 traces; 2 are allowed"),
    ):
        refused = send(server, "0", [], body=body, **headers)
        assert refused.status_code == 413, reason
        assert refused.json()["detail"].endswith(reason)
    stored = send(server, "0", [], body=otlp_request({}).SerializeToString())
    assert stored.status_code == 200
