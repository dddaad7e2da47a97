"""Headers, environments and answers that nobody means well: what they can do at most."""

from __future__ import annotations

import json
import logging
import string
from datetime import datetime, timezone
from typing import Any

import pytest
from fuzzing import anything, fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from otel_mlflow_context import settings
from otel_mlflow_context.facts.request import RequestFacts
from otel_mlflow_context.mlflow_client.span_attributes import decoded, encoded
from otel_mlflow_context.mlflow_client.time_range import start_of
from otel_mlflow_context.propagators import incoming_headers, outgoing_headers
from otel_mlflow_context.semconv import is_allowed_key
from otel_mlflow_context.settings import Settings, settings_from

TABLE = {"session.id", "user.id", "mlflow.client_request_id"}
NAMES = ("traceparent", "tracestate", "baggage", "x-session-id", "X-User-ID", "X-Request-ID")
SEEDS = (
    {"baggage": "session.id=a,session.id=b,user.id=%00%0d%0aX: y"},
    {"baggage": ",".join(f"feature_flag_{number}=x" for number in range(500))},
    {"baggage": "session.id=%ff%fe;p=1;q, user.id = a b ,=,;,%=%"},
    {"baggage": "session.id=" + "%F0%9F%98%80" * 2_000},
    {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "tracestate": "=,=" * 500},
    {"traceparent": "ff-" + "f" * 32 + "-" + "f" * 16 + "-ff", "X-Session-ID": "\ud800"},
    {"X-Session-ID": "s" * 100_000, "x-session-id": "t", "X-USER-ID": "\r\nSet-Cookie: a=b"},
)
headers = st.dictionaries(st.sampled_from(NAMES) | anything, anything, max_size=8)
pieces = st.lists(
    st.sampled_from(
        [*(f"{key}=" for key in TABLE), "feature_flag_", "%00", "%0d%0a", "%ff", "=", ",", ";", "x"]
    ),
    max_size=60,
).map("".join)
hostile = headers | st.fixed_dictionaries({"baggage": pieces, "x-session-id": anything | pieces})


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@fuzz
@given(hostile)
@example(SEEDS[0])
@example(SEEDS[1])
@example(SEEDS[2])
@example(SEEDS[3])
@example(SEEDS[4])
@example(SEEDS[5])
@example(SEEDS[6])
def test_headers_change_request_facts_and_nothing_else(given_headers: dict[str, str]) -> None:
    before = context_api.get_current()
    with incoming_headers(given_headers):
        facts = RequestFacts(Settings()).read(None)
        leaving = outgoing_headers("http://localhost/", given_headers)
        elsewhere = outgoing_headers("http://example.com/", given_headers)
        trace_id = get_current_span().get_span_context().trace_id
    assert context_api.get_current() == before
    assert 0 <= trace_id < 2**128
    for key, value in facts.items():
        assert key in TABLE or (key.startswith("feature_flag_") and is_allowed_key(key))
        assert 1 <= len(value) <= (50 if key == "mlflow.client_request_id" else 250)
        value.encode()
        assert not set(value) & set(map(chr, range(32)))
    assert len(facts) <= 67
    assert not [name for name in elsewhere if name.lower() == "baggage"]
    sent = leaving.get("baggage", "")
    assert sent.isascii()
    assert set(sent) <= set(string.printable) - set("\r\n")
    for name in ("traceparent", "tracestate"):
        assert "\n" not in leaving.get(name, "") or name in given_headers


VARIABLES = st.sampled_from([f"OTEL_MLFLOW_CONTEXT_{name.upper()}" for name in vars(Settings())])


@fuzz
@given(st.dictionaries(VARIABLES, anything | pieces, max_size=6))
@example({"OTEL_MLFLOW_CONTEXT_CLOSE_AFTER": "nan"})
@example({"OTEL_MLFLOW_CONTEXT_CLOSE_AFTER": "1e400"})
@example({"OTEL_MLFLOW_CONTEXT_METADATA_KEYS": ",".join(map(str, range(100)))})
@example({"OTEL_MLFLOW_CONTEXT_USER_ID": "HASH"})
def test_no_environment_makes_settings_that_are_not_allowed(environ: dict[str, str]) -> None:
    made = settings_from(environ)
    assert made == settings_from(environ)
    assert made.user_id in ("plain", "hash", "drop")
    assert made.user_id != "plain" or not environ.get("OTEL_MLFLOW_CONTEXT_USER_ID", "").strip()
    assert 0 <= made.close_after < 1e9
    assert len(made.metadata_keys) <= 32
    assert all(is_allowed_key(key, made.metadata_keys) for key in made.metadata_keys)


@fuzz
@given(st.dictionaries(st.sampled_from(["app_version", "environment", "user.id"]), anything))
@example({"app_version": '"1.10"', "user.id": "null", "environment": "[1]"})
def test_mlflow_s_json_and_plain_text_are_the_same_facts(facts: dict[str, str]) -> None:
    written = encoded(facts)
    for key, text in written.items():
        try:
            assert json.loads(text) == facts[key]
        except ValueError:
            assert text == facts[key]
    assert decoded(written) == facts


@fuzz
@given(anything | st.from_regex(r"[0-9]{1,7}[mhdw]", fullmatch=True) | st.datetimes().map(str))
@example("999999w")
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
@example("\u0661d")
def test_a_time_is_a_number_or_an_error_that_says_so(since: str) -> None:
    try:
        start = start_of(since, datetime.now(timezone.utc))
    except ValueError as error:
        assert "since must be" in str(error)  # noqa: PT017  # both are right
    else:
        assert isinstance(start, int)


@fuzz
@given(anything, anything)
def test_baggage_of_code_is_never_more_than_headers(key: str, value: str) -> None:
    context = baggage.set_baggage(key, value, Context())
    for name in RequestFacts(settings.current_settings()).read(context):
        assert name in TABLE or is_allowed_key(name)
