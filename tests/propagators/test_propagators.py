"""What comes in with a request's headers, and where baggage goes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from otel_mlflow_context import settings, trace_context
from otel_mlflow_context.facts.request import RequestFacts
from otel_mlflow_context.propagators import (
    MlflowHeadersPropagator,
    TrustedBaggagePropagator,
    incoming_headers,
    outgoing_headers,
)
from otel_mlflow_context.semconv import FEATURE_FLAG_PREFIX, RESERVED
from otel_mlflow_context.settings import Settings

tracer = TracerProvider().get_tracer("test")

HEADERS = {"X-Session-ID": "s-1", "X-User-ID": "ada", "X-Request-ID": "r-1"}


def received(headers: dict[str, Any], *propagators: Any) -> dict[str, object]:
    context = Context()
    for propagator in propagators or (MlflowHeadersPropagator(),):
        context = propagator.extract(headers, context)
    return dict(baggage.get_all(context))


def sent(attributes: dict[str, Any], kind: SpanKind = SpanKind.CLIENT, **carrier: str) -> Any:
    """The baggage header of a call that starts in a trace with a session."""
    with (
        trace_context(session_id="s-1"),
        tracer.start_as_current_span("call", kind=kind, attributes=attributes),
    ):
        TrustedBaggagePropagator().inject(carrier)
    return carrier.get("baggage")


# --- Headers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [str, str.lower])
def test_the_three_headers_become_baggage(spelled: Any) -> None:
    assert received({spelled(name): value for name, value in HEADERS.items()}) == {
        "session.id": "s-1",
        "user.id": "ada",
        "mlflow.client_request_id": "r-1",
    }


def test_the_names_of_the_headers_are_a_setting() -> None:
    settings.override(request_headers="session=X-Chat,user=x-user-id")
    assert received({"X-Chat": "c-1", **HEADERS}) == {"session.id": "c-1"}
    assert received({"x-user-id": "ada"}) == {"user.id": "ada"}


def test_baggage_wins_over_headers_in_either_order() -> None:
    headers = {"X-Session-ID": "header", "baggage": "session.id=baggage"}
    propagators = MlflowHeadersPropagator(), TrustedBaggagePropagator()
    assert received(headers, *propagators) == {"session.id": "baggage"}
    assert received(headers, *reversed(propagators)) == {"session.id": "baggage"}


def test_only_the_keys_of_the_setting_come_in() -> None:
    settings.override(inbound_keys="session.id,feature_flag_*")
    headers = {"baggage": "user.id=mallory,feature_flag_a=b,tenant=acme", **HEADERS}
    assert received(headers, MlflowHeadersPropagator(), TrustedBaggagePropagator()) == {
        "session.id": "s-1",
        "feature_flag_a": "b",
    }


def test_a_header_is_cleaned_and_a_blank_one_is_nothing() -> None:
    made = received(
        {"X-Session-ID": "s\r\nSet-Cookie: a", "X-User-ID": " ", "X-Request-ID": "r" * 60}
    )
    assert made["session.id"] == "s  Set-Cookie: a"
    assert "user.id" not in made
    assert len(str(made["mlflow.client_request_id"])) == 50


def test_who_only_reads_headers_sends_nothing() -> None:
    carrier: dict[str, str] = {}
    with trace_context(session_id="s"):
        MlflowHeadersPropagator().inject(carrier)
    assert not carrier
    assert not MlflowHeadersPropagator().fields


# --- Trusted hosts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("http://api.internal/v1", True),
        ("https://API.internal.:8443/v1", True),
        ("http://qa.svc.cluster.local", True),
        ("http://a.b.svc.cluster.local/x?y=z", True),
        ("http://10.1.2.3:8080/", True),
        ("http://[::ffff:10.1.2.3]/", True),
        ("http://[fd00::1]/", True),
        ("http://svc.cluster.local/", False),
        ("http://api.internal.evil.example.com/", False),
        ("http://notapi.internal/", False),
        ("http://evil.example.com/api.internal", False),
        ("http://api.internal@evil.example.com/", False),
        ("http://evil.example.com\\@api.internal/", False),
        ("http://evil.example.com#@api.internal/", False),
        ("http://a@evil.example.com@api.internal/", False),
        ("http://api.internal\t.evil.example.com/", False),
        ("http://11.1.2.3/", False),
        ("http://0x0a.1.2.3/", False),
        ("http://127.0.0.1/", False),
        ("http://[fe80::1%25eth0]/", False),
        ("http://[broken/", False),
        ("file:///api.internal", False),
        ("/relative", False),
        ("", False),
    ],
)
def test_baggage_goes_to_trusted_hosts_only(url: str, trusted: bool) -> None:  # noqa: FBT001
    settings.override(
        trusted_hosts=["api.internal", "*.svc.cluster.local", "10.0.0.0/8", "fd00::/8"]
    )
    expected = "session.id=s-1" if trusted else None
    assert sent({"url.full": url}) == expected
    assert sent({"http.url": url}) == expected
    assert outgoing_headers(url) == {}
    with trace_context(session_id="s-1"):
        assert outgoing_headers(url).get("baggage") == expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_this_machine_is_trusted_by_default(host: str) -> None:
    assert sent({"url.full": f"http://{host}:8000/"}) == "session.id=s-1"


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.1", "api.internal", "example.com"])
def test_nothing_else_is_trusted_by_default(host: str) -> None:
    assert sent({"url.full": f"http://{host}:8000/"}) is None


@pytest.mark.parametrize(
    ("attributes", "kind", "header"),
    [
        ({"server.address": "localhost", "rpc.system": "grpc"}, SpanKind.CLIENT, "session.id=s-1"),
        ({"net.peer.name": "localhost"}, SpanKind.CLIENT, "session.id=s-1"),
        ({"url.full": "http://localhost/", "server.address": "x.com"}, SpanKind.CLIENT, None),
        ({}, SpanKind.CLIENT, None),
        # A server's own URL says nothing of where its calls go.
        ({"url.full": "http://localhost/"}, SpanKind.SERVER, None),
        ({"url.full": "http://localhost/"}, SpanKind.INTERNAL, None),
        ({"messaging.system": "kafka", "server.address": "localhost"}, SpanKind.PRODUCER, None),
        ({"messaging.system": "kafka", "server.address": "localhost"}, SpanKind.CLIENT, None),
    ],
)
def test_the_client_span_says_where_a_call_goes(
    attributes: dict[str, str], kind: SpanKind, header: str | None
) -> None:
    assert sent(attributes, kind) == header


def test_messages_take_baggage_along_where_the_setting_says_so() -> None:
    settings.override(trusted_messaging=True)
    assert sent({"messaging.system": "kafka"}, SpanKind.PRODUCER) == "session.id=s-1"


def test_a_trace_that_is_not_sampled_sends_none() -> None:
    carrier: dict[str, str] = {}
    span = NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0)))
    TrustedBaggagePropagator().inject(
        carrier, baggage.set_baggage("session.id", "s", trace.set_span_in_context(span))
    )
    assert not carrier


def test_a_redirect_to_another_host_takes_no_baggage_along() -> None:
    assert sent({"url.full": "http://example.com/"}, Baggage="left", baggage="left") is None


def test_baggage_beside_trusted_baggage_is_warned_of() -> None:
    code = "import opentelemetry.propagate as p; print(type(p.get_global_textmap()).__name__)"
    environment = {**os.environ, "OTEL_PROPAGATORS": "tracecontext,baggage,trusted_baggage"}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert made.stdout == "CompositePropagator\n"
    assert 'leave "baggage" out' in made.stderr


# --- The user's id -------------------------------------------------------------------------------

KEY = "not in the source code"


def test_a_hash_is_all_that_is_written_or_sent_of_a_user() -> None:
    settings.override(user_id="hash", user_id_key=KEY)
    with trace_context(user_id="ada@example.com"):
        said = dict(baggage.get_all())
        leaves = outgoing_headers("http://localhost/")
    assert list(said) == ["user.id"]
    assert str(said["user.id"]).startswith("hmac-sha256:")
    assert "example.com" not in leaves["baggage"]
    # The next service hashes no hash, and header, baggage and code say the same.
    assert received(leaves, TrustedBaggagePropagator()) == said
    assert received({"X-User-ID": "ada@example.com"}) == said
    plain = RequestFacts(settings.current_settings()).read(
        baggage.set_baggage("user.id", "ada@example.com")
    )
    assert plain == said


def test_baggage_that_was_set_in_plain_leaves_as_a_hash() -> None:
    settings.override(user_id="hash", user_id_key=KEY)
    token = context_api.attach(baggage.set_baggage("user.id", "ada"))
    assert "user.id=hmac-sha256%3A" in outgoing_headers("http://localhost/")["baggage"]
    context_api.detach(token)


def test_a_user_that_is_dropped_is_nowhere() -> None:
    settings.override(user_id="drop")
    assert received(HEADERS).keys() == {"session.id", "mlflow.client_request_id"}
    token = context_api.attach(baggage.set_baggage("user.id", "ada"))
    with trace_context(user_id="grace", session_id="s"):
        assert outgoing_headers("http://localhost/") == {"baggage": "session.id=s"}
        assert dict(RequestFacts(settings.current_settings()).read(None)) == {"session.id": "s"}
    context_api.detach(token)


def test_two_keys_make_two_hashes_of_one_user() -> None:
    made = set()
    for key in (KEY, KEY.upper()):
        settings.override(user_id="hash", user_id_key=key)
        made.add(received({"X-User-ID": "ada"})["user.id"])
    assert len(made) == 2


# --- In code -------------------------------------------------------------------------------------


def test_what_goes_out_comes_in_again() -> None:
    with trace_context(session_id="s/1 ü", user_id="ada"), tracer.start_as_current_span("caller"):
        headers = outgoing_headers("http://localhost/", {"Accept": "*/*", "Baggage": "old=1"})
        caller = trace.get_current_span().get_span_context()
    assert headers.keys() == {"Accept", "traceparent", "baggage"}
    with incoming_headers({name.title(): value for name, value in headers.items()}):
        assert dict(baggage.get_all()) == {"session.id": "s/1 ü", "user.id": "ada"}
        with tracer.start_as_current_span("service") as span:
            assert span.get_span_context().trace_id == caller.trace_id
    assert not baggage.get_all()


# --- Hostile input -------------------------------------------------------------------------------

anything = st.text(max_size=300) | st.sampled_from(
    ["x" * 8_192, "\ud800", "a\x00b", "a\r\nX-Admin: 1", "%", "%zz", "%ff%fe", ";", "=", ",", '"']
)
keys = anything | st.sampled_from(
    ["mlflow.source.git.commit", "mlflow.trace.sizeStats", "service.name", "session.id", "user.id"]
    + ["feature_flag_" + end for end in ("a", "", "\n", "x" * 300)]
)


@given(st.dictionaries(keys, anything, max_size=200), st.lists(anything, max_size=3))
def test_no_header_breaks_anything_or_gets_past_the_limits(
    entries: dict[str, str], values: list[str]
) -> None:
    pairs = [
        f"{quote(key, errors='replace')}={quote(value, errors='replace')}"
        for key, value in entries.items()
    ]
    for header in (",".join(pairs), ",".join(f"{k}={v}" for k, v in entries.items())):
        carrier = {"baggage": [header], "x-session-id": values, "x-user-id": values[:1]}
        context = TrustedBaggagePropagator().extract(carrier, Context(), _Lists())
        context = MlflowHeadersPropagator().extract(carrier, context, _Lists())
        facts = RequestFacts(Settings()).read(context)
        for key, value in facts.items():
            assert key in {"session.id", "user.id", "mlflow.client_request_id"} or (
                key.startswith(FEATURE_FLAG_PREFIX) and key not in RESERVED
            )
            assert 1 <= len(value) <= 250
            assert "\x00" not in value
            assert "\n" not in value
            value.encode()
        assert len(facts) <= 67
        token = context_api.attach(baggage.set_baggage("raw", "".join(values), context))
        leaving = outgoing_headers("http://localhost/")
        context_api.detach(token)
        assert leaving.get("baggage", "").isascii()
        assert "\n" not in leaving.get("baggage", "")


class _Lists:
    """A getter as web frameworks have them: each header may be there many times."""

    def get(self, carrier: dict[str, list[str]], key: str) -> list[str] | None:
        return carrier.get(key)

    def keys(self, carrier: dict[str, list[str]]) -> list[str]:
        return list(carrier)


def test_two_long_ids_are_the_same_two_in_every_service() -> None:
    long = ["s" * 299 + end for end in "ab"]
    by_header = [received({"X-Session-ID": it})["session.id"] for it in long]
    by_code = []
    by_baggage = []
    for it in long:
        with trace_context(session_id=it):
            by_code.append(baggage.get_baggage("session.id"))
            headers = outgoing_headers("http://localhost/")
        by_baggage.append(received(headers, TrustedBaggagePropagator())["session.id"])
    raw = [received({"baggage": f"session.id={it}"}, TrustedBaggagePropagator()) for it in long]
    read = [
        RequestFacts(Settings()).read(baggage.set_baggage("session.id", it["session.id"]))
        for it in raw
    ]
    assert len(set(by_header)) == 2
    assert by_header == by_code == by_baggage == [it["session.id"] for it in read]


@pytest.mark.parametrize(
    ("carrier", "getter"),
    [
        # OpenTelemetry's, for WSGI (Flask), ASGI (FastAPI), and metadata in lower case (gRPC).
        ({"HTTP_X_SESSION_ID": "s-1"}, "opentelemetry.instrumentation.wsgi:WSGIGetter"),
        (
            {"headers": [(b"x-session-id", b"s-1")]},
            "opentelemetry.instrumentation.asgi:ASGIGetter",
        ),
        ({"x-session-id": "s-1"}, "opentelemetry.propagators.textmap:DefaultGetter"),
    ],
)
def test_each_frameworks_own_getter_finds_them(carrier: Any, getter: str) -> None:
    module, name = getter.split(":")
    made = getattr(importlib.import_module(module), name)()
    context = MlflowHeadersPropagator().extract(carrier, Context(), made)
    assert baggage.get_baggage("session.id", context) == "s-1"
