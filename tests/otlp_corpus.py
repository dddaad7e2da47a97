"""OTLP requests of all kinds, valid and invalid: body and headers, by what is special."""

import gzip
import json
import os
import struct
import zlib

from otlp import HAS_REMOTE_PARENT, as_json, otlp_request

JSON = {"content_type": "application/json"}
NOW = 1_760_000_000_000_000_000
RUN = os.urandom(8)
"""Other processes of the tests send the corpus to the same servers."""
IDS = iter(range(1, 10_000))


def trace_id():
    """Another for each request of the corpus, the same on both servers."""
    return RUN + next(IDS).to_bytes(8, "big")


def plain(**fields):
    return {
        "trace_id": trace_id(),
        "span_id": b"s" * 8,
        "start_time_unix_nano": NOW,
        "end_time_unix_nano": NOW + 1_000_000,
        **fields,
    }


def one(**fields):
    return otlp_request(plain(**fields)).SerializeToString()


def attribute(value, key="key"):
    return one(attributes={key: value})


def json_with(*, at="attributes", value=None):
    request = as_json(otlp_request(plain()))
    span = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span[at] = value
    return json.dumps(request).encode()


def json_value(value):
    return json_with(value=[{"key": "deep", "value": value}])


def nested(depth, inner):
    for _ in range(depth):
        inner = {"arrayValue": {"values": [inner]}}
    return inner


def nested_protobuf(depth):
    request = otlp_request(plain())
    value = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="deep").value
    for _ in range(depth):
        value = value.array_value.values.add()
    value.string_value = "x"
    return request.SerializeToString()


def invalid_utf8():
    """In the name of a span."""
    return one(name="MARK").replace(b"MARK", b"\xff\xfe\xc0\x80")


def children_first():
    root = plain()
    child = plain(trace_id=root["trace_id"], span_id=b"c" * 8, parent_span_id=b"s" * 8)
    return otlp_request(child, root, plain(), child).SerializeToString()


def large_json(body):
    """Of more than a mebibyte."""
    return body + b" " * 1_100_000


VALID = one()
REQUESTS = {
    # Valid
    "a root": (VALID, {}),
    "a root again": (VALID, {}),
    "JSON": (json.dumps(as_json(otlp_request(plain()))).encode(), JSON),
    "JSON with a charset": (
        json.dumps(as_json(otlp_request(plain()))).encode(),
        {"content_type": "application/json; charset=utf-8"},
    ),
    "protobuf with a parameter": (one(), {"content_type": "application/x-protobuf; a=b"}),
    "gzip": (gzip.compress(one()), {"content_encoding": "gzip"}),
    "GZIP": (gzip.compress(one()), {"content_encoding": "GZIP"}),
    "two gzip members": (
        gzip.compress(one()) + gzip.compress(one()),
        {"content_encoding": "gzip"},
    ),
    "deflate": (zlib.compress(one()), {"content_encoding": "deflate"}),
    "raw deflate": (zlib.compress(one(), wbits=-15), {"content_encoding": "deflate"}),
    "identity": (one(), {"content_encoding": "identity"}),
    "children first, one twice": (children_first(), {}),
    "an entry span": (one(parent_span_id=b"p" * 8, flags=HAS_REMOTE_PARENT), {}),
    "a span that is its own parent": (one(parent_span_id=b"s" * 8), {}),
    "no attributes": (one(name=""), {}),
    "all kinds of values": (
        one(attributes={"a": "x", "b": True, "c": 1, "d": 1.5, "e": ["x", 1], "f": {"g": "h"}}),
        {},
    ),
    "bytes": (attribute(b"\0\xff"), {}),
    "no value": (json_value({}), JSON),
    "not a number": (attribute(float("nan")), {}),
    "infinite": (attribute(float("-inf")), {}),
    "the largest integer": (attribute(2**63 - 1), {}),
    "emoji": (attribute("\U0001f600", "\U0001f600"), {}),
    "a NUL character": (attribute("a\0b", "c\0d"), {}),
    "a large value": (attribute("x" * 1_000_000), {}),
    "a long key": (attribute("x", "k" * 10_000), {}),
    "a long name": (one(name="n" * 10_000), {}),
    "1,000 attributes": (one(attributes={f"key {n}": n for n in range(1_000)}), {}),
    "the same key twice": (
        json_with(value=[{"key": "a", "value": {"stringValue": text}} for text in "bc"]),
        JSON,
    ),
    "1,200 spans": (
        otlp_request(
            *[plain(name=f"{n}", span_id=n.to_bytes(8, "big")) for n in range(1, 1_201)]
        ).SerializeToString(),
        {},
    ),
    "1,200 spans of a trace": (
        otlp_request(
            *[
                plain(
                    trace_id=b"t" * 16,
                    span_id=n.to_bytes(8, "big"),
                    parent_span_id=(n - 1).to_bytes(8, "big") if n > 1 else b"",
                )
                for n in range(1, 1_201)
            ]
        ).SerializeToString(),
        {},
    ),
    "nested 10 deep": (nested_protobuf(10), {}),
    "nested 40 deep": (nested_protobuf(40), {}),
    "unknown fields": (VALID + b"\xfa\x01\x03abc", {}),
    "unknown fields in JSON": (json_with(at="invented", value={"a": [1]}), JSON),
    "large JSON": (json_value({"stringValue": "x" * 1_100_000}), JSON),
    # Times
    "no times": (one(start_time_unix_nano=0, end_time_unix_nano=0), {}),
    "an end before its start": (one(end_time_unix_nano=1), {}),
    "negative times": (json_with(at="startTimeUnixNano", value="-1"), JSON),
    "a start of text": (json_with(at="startTimeUnixNano", value="soon"), JSON),
    "a start in the year 2262": (one(start_time_unix_nano=2**63 - 1), {}),
    "a start that no column holds": (one(start_time_unix_nano=2**64 - 1), {}),
    # Ids
    "no trace id": (one(trace_id=b""), {}),
    "a trace id of zeros": (one(trace_id=bytes(16)), {}),
    "a short trace id": (one(trace_id=b"t"), {}),
    "a long trace id": (one(trace_id=b"t" * 32), {}),
    "no span id": (one(span_id=b""), {}),
    "a span id of zeros": (one(span_id=bytes(8)), {}),
    "a long span id": (one(span_id=b"s" * 16), {}),
    "a parent id of zeros": (one(parent_span_id=bytes(8)), {}),
    "an id that is no hex": (json_with(at="traceId", value="not hex"), JSON),
    "an id that is a number": (json_with(at="traceId", value=7), JSON),
    # Invalid
    "an empty body": (b"", {}),
    "an empty object": (b"{}", JSON),
    "an array": (b"[]", JSON),
    "null": (b"null", JSON),
    "no JSON": (b"{", JSON),
    "JSON of the wrong types": (b'{"resourceSpans": {"a": 1}}', JSON),
    "spans that are text": (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": "many"}]}]}',
        JSON,
    ),
    "protobuf as JSON": (VALID, JSON),
    "JSON as protobuf": (b'{"resourceSpans": []}', {}),
    "no protobuf": (b"\0\1nonsense", {}),
    "protobuf that ends early": (VALID[:-7], {}),
    "random bytes": (struct.pack(">64Q", *[0x9E3779B97F4A7C15 * n % 2**64 for n in range(64)]), {}),
    "invalid UTF-8": (invalid_utf8(), {}),
    "invalid UTF-8 in JSON": (
        json.dumps(as_json(otlp_request(plain(name="MARK")))).encode().replace(b"MARK", b"\xff"),
        JSON,
    ),
    "a lone surrogate in JSON": (json_value({"stringValue": "\ud800"}), JSON),
    "UTF-16": (json.dumps(as_json(otlp_request(plain()))).encode("utf-16"), JSON),
    "nested 60 deep": (nested_protobuf(60), {}),
    "nested 500 deep": (json_value(nested(200, {"stringValue": "x"})), JSON),
    "nested 500 deep, protobuf": (nested_protobuf(500), {}),
    "no resource": (b"\x0a\x00", {}),
    "no spans": (otlp_request().SerializeToString(), {}),
    "no gzip": (VALID, {"content_encoding": "gzip"}),
    "gzip that ends early": (gzip.compress(VALID)[:-9], {"content_encoding": "gzip"}),
    "gzip with a wrong checksum": (
        gzip.compress(VALID)[:-8] + bytes(8),
        {"content_encoding": "gzip"},
    ),
    "gzip and nonsense": (gzip.compress(VALID) + b"nonsense", {"content_encoding": "gzip"}),
    "deflate that ends early": (zlib.compress(VALID)[:-9], {"content_encoding": "deflate"}),
    "an unknown encoding": (VALID, {"content_encoding": "br"}),
    "two encodings": (VALID, {"content_encoding": "gzip, gzip"}),
    "an unknown type": (VALID, {"content_type": "text/plain"}),
    "large JSON that ends early": (
        json_value({"stringValue": "x" * 1_100_000})[:-1],
        JSON,
    ),
    "large JSON that is no object": (large_json(b"[]"), JSON),
    "large JSON of the wrong types": (large_json(b'{"resourceSpans": {"a": 1}}'), JSON),
    "large JSON without spans": (large_json(b"{}"), JSON),
    "large JSON of a resource": (large_json(b'{"resourceSpans": [{}]}'), JSON),
    "large JSON with an id that is no hex": (
        large_json(json_with(at="traceId", value="not hex")),
        JSON,
    ),
    "large JSON with times of text": (
        large_json(json_with(at="startTimeUnixNano", value="soon")),
        JSON,
    ),
    "large JSON, nested 100,000 deep": (large_json(b"[" * 100_000), JSON),
    # What makes MLflow refuse a span, or not
    "a long session": (attribute("s" * 251, "session.id"), {}),
    "a broken cost": (attribute("broken", "mlflow.llm.cost"), {}),
    "token counts as text": (
        attribute('{"input_tokens": "many"}', "mlflow.chat.tokenUsage"),
        {},
    ),
    "token counts that are none": (attribute("nonsense", "mlflow.chat.tokenUsage"), {}),
    "a long name as a tag": (attribute("n" * 5_000, "mlflow.traceTag.mlflow.traceName"), {}),
    "inputs that are no JSON": (attribute("{", "mlflow.spanInputs"), {}),
    "a span type that is long": (attribute("t" * 600, "mlflow.spanType"), {}),
    "a trace's id as MLflow's": (attribute('"tr-of-the-corpus"', "mlflow.traceRequestId"), {}),
    "bytes in the resource": (otlp_request(plain(), host=b"\xff").SerializeToString(), {}),
    # Headers
    "no such experiment": (one(), {"x_mlflow_experiment_id": "123456789"}),
    "an experiment that is no number": (one(), {"x_mlflow_experiment_id": "mine"}),
    "no such run": (one(), {"x_mlflow_run_id": "0" * 32}),
}
