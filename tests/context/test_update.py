"""`update_trace_context`: what becomes known only inside the request."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from otel_mlflow_context import (
    MlflowContextSpanProcessor,
    settings,
    trace_context,
    update_trace_context,
)
from otel_mlflow_context.context import active_traces, update
from otel_mlflow_context.context.active_traces import ACTIVE_TRACES
from otel_mlflow_context.propagators import TrustedBaggagePropagator


class Traced:
    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(resource=Resource({}))
        provider.add_span_processor(MlflowContextSpanProcessor(Resource({}), **options))
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    def ended(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}

    def sent(self) -> str | None:
        """The baggage of a call to a trusted host."""
        carrier: dict[str, str] = {}
        url = {"url.full": "http://localhost/"}
        with self.tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes=url):
            TrustedBaggagePropagator().inject(carrier)
        return carrier.get("baggage")


@pytest.fixture
def traced() -> Traced:
    return Traced()


def test_the_root_span_has_what_is_said_inside_of_it(traced: Traced) -> None:
    with (
        trace_context(user_id="nobody"),
        traced.tracer.start_as_current_span("root"),
        traced.tracer.start_as_current_span("child"),
    ):
        update_trace_context(
            session_id="s", user_id="ada", request_id="r", metadata={"plan": "free"}
        )
    root = traced.ended()["root"].attributes
    assert dict(root or {}) == {
        "session.id": "s",
        "user.id": "ada",
        "mlflow.client_request_id": "r",
        "plan": "free",
        "otel_mlflow_context.metadata_keys": "plan",
    }
    assert not traced.ended()["child"].attributes


def test_metadata_that_is_said_twice_is_all_declared(traced: Traced) -> None:
    with trace_context(metadata={"a": "1"}), traced.tracer.start_as_current_span("root"):
        update_trace_context(metadata={"b": "2"})
    root = traced.ended()["root"].attributes or {}
    assert root["otel_mlflow_context.metadata_keys"] == "a,b"


def test_tags_are_written_late_too() -> None:
    settings.override(tags=True)
    traced = Traced()
    with traced.tracer.start_as_current_span("root"):
        update_trace_context(user_id="ada")
    assert (traced.ended()["root"].attributes or {})["mlflow.traceTag.mlflow.trace.user"] == "ada"


def test_the_entry_span_of_a_service_has_it(traced: Traced) -> None:
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    caller = trace.set_span_in_context(NonRecordingSpan(parent))
    with traced.tracer.start_as_current_span("entry", context=caller):
        update_trace_context(user_id="ada")
    assert (traced.ended()["entry"].attributes or {})["user.id"] == "ada"


def test_a_trace_that_enters_twice_has_it_on_both(traced: Traced) -> None:
    with traced.tracer.start_as_current_span("first") as first:
        own = first.get_span_context()
        again = SpanContext(own.trace_id, own.span_id, is_remote=True, trace_flags=TraceFlags(1))
        caller = trace.set_span_in_context(NonRecordingSpan(again))
        with traced.tracer.start_as_current_span("second", context=caller):
            update_trace_context(user_id="ada")
        update_trace_context(session_id="s")
    ended = traced.ended()
    assert dict(ended["second"].attributes or {}) == {"user.id": "ada"}
    assert dict(ended["first"].attributes or {}) == {"user.id": "ada", "session.id": "s"}


def test_calls_from_then_on_have_it(traced: Traced) -> None:
    with trace_context(session_id="s"), traced.tracer.start_as_current_span("root"):
        assert traced.sent() == "session.id=s"
        update_trace_context(user_id="ada")
        assert traced.sent() == "session.id=s,user.id=ada"


def test_calls_after_a_nested_span_have_it(traced: Traced) -> None:
    with traced.tracer.start_as_current_span("root"):
        with traced.tracer.start_as_current_span("login"):
            update_trace_context(user_id="ada")
        assert baggage.get_baggage("user.id") is None
        assert traced.sent() == "user.id=ada"


def test_a_call_has_what_was_said_in_a_thread_with_the_context(traced: Traced) -> None:
    with traced.tracer.start_as_current_span("root"), ThreadPoolExecutor(1) as threads:
        run = contextvars.copy_context().run
        threads.submit(run, lambda: update_trace_context(user_id="ada")).result()
        assert traced.sent() == "user.id=ada"


def test_a_call_has_what_was_said_in_a_task(traced: Traced) -> None:
    async def login() -> None:
        update_trace_context(user_id="ada")

    async def handle() -> str | None:
        with traced.tracer.start_as_current_span("root"):
            await asyncio.create_task(login())
            return traced.sent()

    assert asyncio.run(handle()) == "user.id=ada"


def test_an_inner_block_that_says_something_else_wins(traced: Traced) -> None:
    with traced.tracer.start_as_current_span("root"):
        with traced.tracer.start_as_current_span("login"):
            update_trace_context(session_id="late")
        with trace_context(session_id="inner"):
            assert traced.sent() == "session.id=inner"
        assert traced.sent() == "session.id=late"


def test_what_is_said_last_wins(traced: Traced) -> None:
    with trace_context(user_id="guest"), traced.tracer.start_as_current_span("root"):
        with traced.tracer.start_as_current_span("login"):
            update_trace_context(user_id="ada")
        with traced.tracer.start_as_current_span("switch"):
            update_trace_context(user_id="grace")
        assert traced.sent() == "user.id=grace"
    assert (traced.ended()["root"].attributes or {})["user.id"] == "grace"


def test_the_next_trace_knows_nothing_of_it(traced: Traced) -> None:
    with traced.tracer.start_as_current_span("root"):
        update_trace_context(user_id="ada", metadata={"plan": "free"})
    with traced.tracer.start_as_current_span("next"):
        assert traced.sent() is None
    assert not traced.ended()["next"].attributes


def test_a_trace_that_ends_in_its_own_context_takes_it_along(traced: Traced) -> None:
    token = context_api.attach(baggage.set_baggage("user.id", "guest"))
    root = traced.tracer.start_span("root")
    context_api.attach(trace.set_span_in_context(root))
    update_trace_context(user_id="ada", session_id="s")
    root.end()
    assert dict(baggage.get_all()) == {"user.id": "guest"}
    context_api.detach(token)


def test_outside_of_any_trace_it_sets_the_context() -> None:
    def say() -> dict[str, object]:
        update_trace_context(user_id="ada")
        return dict(baggage.get_all())

    assert contextvars.copy_context().run(say) == {"user.id": "ada"}


def test_a_trace_that_is_not_recorded_changes_the_context_alone() -> None:
    def say() -> dict[str, object]:
        parent = SpanContext(1, 2, is_remote=False)
        context_api.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
        update_trace_context(user_id="ada")
        return dict(baggage.get_all())

    assert contextvars.copy_context().run(say) == {"user.id": "ada"}
    assert not ACTIVE_TRACES.baggage_updates


@pytest.mark.parametrize("argument", ["session_id", "user_id", "request_id", "metadata"])
def test_a_wrong_argument_is_named(argument: str) -> None:
    with pytest.raises(ValueError, match=argument):
        update_trace_context(**{argument: b"x"})


def test_ids_are_no_metadata() -> None:
    with pytest.raises(ValueError, match="an argument of its own"):
        update_trace_context(metadata={"user.id": "ada"})


def test_nothing_is_raised_into_the_application(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(update, "record", fail)
    monkeypatch.setattr(update, "_logged", set())
    with traced.tracer.start_as_current_span("root"):
        for _ in range(3):
            update_trace_context(user_id="ada")
    assert len(caplog.records) == 1


def test_many_traces_leave_the_memory_where_it_was(traced: Traced) -> None:
    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(MlflowContextSpanProcessor(Resource({})))
    tracer = provider.get_tracer("test")

    def some(count: int) -> int:
        for number in range(count):
            with tracer.start_as_current_span("root"):
                update_trace_context(user_id=f"user-{number}")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = some(500)
    after = some(5_000)
    tracemalloc.stop()
    assert after - before < 50_000
    assert not ACTIVE_TRACES.entry_spans
    assert not ACTIVE_TRACES.baggage_updates


def test_spans_that_never_end_are_bounded(monkeypatch: pytest.MonkeyPatch, traced: Traced) -> None:
    monkeypatch.setattr(active_traces, "MAX_TRACES", 10)
    spans = [traced.tracer.start_span("root") for _ in range(50)]
    assert len(ACTIVE_TRACES.entry_spans) == 10
    for span in spans:
        span.end()
    assert not ACTIVE_TRACES.entry_spans
