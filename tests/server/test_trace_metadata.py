"""Which entry span wins, and what it changes: every order of requests, without a server."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_mlflow_context.server.otlp.entry_spans import EntrySpan, entry_spans
from otel_mlflow_context.server.otlp.request import (
    mlflow_trace_id,
    select_traces,
    spans_of,
    split_by_trace,
)
from otel_mlflow_context.server.trace_metadata import ENTRY_SPAN_KEY, abandoned, trace_update
from otel_mlflow_context.settings import Settings

TRACE = "tr-" + "a" * 32


class Stored:
    """What a database has of a trace."""

    def __init__(self, **metadata):
        self.metadata = metadata
        self.state = "IN_PROGRESS"
        self.request_id = None

    def take(self, entry):
        if entry.is_root and self.state == "IN_PROGRESS":
            self.state = entry.state  # as MLflow does with a root
        change = trace_update(entry, self.metadata, self.state, self.request_id)
        if change is None:
            return
        kept = {k: v for k, v in self.metadata.items() if k not in change.removed}
        assert not kept.keys() & change.added.keys()  # a row is there once
        self.metadata = kept | change.added
        self.request_id = change.client_request_id or self.request_id
        self.state = change.state or self.state

    def abandon(self):
        self.state, self.metadata[ENTRY_SPAN_KEY] = abandoned(self.metadata[ENTRY_SPAN_KEY])


def entry(name, start, *, is_root=False, state="OK", client_request_id=None, **metadata):
    metadata = {"service_name": name, **metadata}
    return EntrySpan(TRACE, is_root, start, state, metadata, client_request_id)


ROOT = entry("front", 1, is_root=True, app_version="1", client_request_id="r-1", region="eu")
FIRST = entry("middle", 2, app_version="2", deployment_id="m", client_request_id="m-1")
SECOND = entry("back", 3, environment="test", feature_flag_a="on")
FROM_ROOT = {"service_name": "front", "app_version": "1", "region": "eu"}


@pytest.mark.parametrize("order", list(itertools.permutations([ROOT, FIRST, SECOND])))
def test_the_root_wins_in_every_order(order):
    stored = Stored()
    for it in order:
        stored.take(it)

    assert stored.metadata == FROM_ROOT
    assert (stored.request_id, stored.state) == ("r-1", "OK")


@pytest.mark.parametrize("order", list(itertools.permutations([FIRST, SECOND])))
def test_without_a_root_the_earliest_entry_span_wins(order):
    stored = Stored()
    for it in order:
        stored.take(it)

    entry_span = json.loads(stored.metadata.pop(ENTRY_SPAN_KEY))
    assert stored.metadata == {"service_name": "middle", "app_version": "2", "deployment_id": "m"}
    assert entry_span["start_ns"] == 2
    assert stored.state == "IN_PROGRESS"


def test_a_request_that_comes_twice_changes_nothing():
    stored = Stored()
    stored.take(FIRST)
    before = dict(stored.metadata)
    stored.take(FIRST)
    assert stored.metadata == before
    stored.take(ROOT)
    stored.take(ROOT)
    assert stored.metadata == FROM_ROOT


def test_metadata_that_somebody_else_has_written_stays():
    stored = Stored(app_version="by hand", note="a")
    stored.take(ROOT)
    assert stored.metadata == {**FROM_ROOT, "app_version": "by hand", "note": "a"}


def test_the_root_s_session_replaces_the_one_that_mlflow_took_from_a_child():
    stored = Stored(**{"mlflow.trace.session": "child's"})
    stored.take(entry("front", 1, is_root=True, **{"mlflow.trace.session": "s"}))
    assert stored.metadata["mlflow.trace.session"] == "s"


@pytest.mark.parametrize("key", ["mlflow.trace_schema.version", "mlflow.trace.infoFinalized"])
def test_a_trace_with_complete_trace_info_is_left_alone(key):
    stored = Stored(**{key: "3"})
    stored.take(ROOT)
    assert stored.metadata == {key: "3"}


def test_a_root_that_comes_later_replaces_the_state_of_an_abandoned_trace():
    stored = Stored()
    stored.take(FIRST)
    stored.abandon()
    assert stored.state == "OK"
    root = entry("front", 1, is_root=True, state="ERROR")
    stored.take(root)
    assert (stored.state, stored.metadata) == ("ERROR", {"service_name": "front"})


def test_damaged_entry_span_metadata_is_no_crash():
    stored = Stored(**{ENTRY_SPAN_KEY: "nonsense"})
    stored.take(ROOT)
    assert stored.metadata == FROM_ROOT


def test_the_entry_span_metadata_never_outgrows_its_column():
    flags = {"feature_flag_" + "x" * 200 + str(number): "on" for number in range(64)}
    stored = Stored()
    stored.take(entry("back", 1, **flags))
    assert len(stored.metadata[ENTRY_SPAN_KEY]) <= 8_000


# --- Requests -------------------------------------------------------------------------------------

ids = st.sampled_from([bytes([number]) * 16 for number in range(1, 5)])
spans = st.lists(st.tuples(ids, st.binary(min_size=8, max_size=8), st.booleans()), max_size=6)


@st.composite
def requests(draw):
    request = ExportTraceServiceRequest()
    for resource in range(draw(st.integers(0, 3))):
        resource_spans = request.resource_spans.add()
        attribute = resource_spans.resource.attributes.add(key="service.name")
        attribute.value.string_value = f"service {resource}"
        for _ in range(draw(st.integers(0, 2))):
            scope_spans = resource_spans.scope_spans.add()
            for trace_id, span_id, is_root in draw(spans):
                span = scope_spans.spans.add(trace_id=trace_id, span_id=span_id, kind=2)
                span.parent_span_id = b"" if is_root else b"p" * 8
    return request


def content(request):
    """Each span with its resource."""
    return sorted(
        (span.trace_id, span.span_id, span.parent_span_id, str(resource_spans.resource))
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    )


@given(requests())
def test_a_request_in_order_has_the_same_spans_and_its_traces_one_after_the_other(request):
    parts = split_by_trace(request, 100, 100_000)

    assert len(parts) <= 1
    assert [row for part in parts for row in content(part)] == content(request)
    order = [span.trace_id for part in parts for span in spans_of(part)]
    assert order == sorted(order)


@given(requests(), st.integers(1, 5), st.integers(1, 200))
def test_a_request_is_split_between_traces(request, max_spans, max_bytes):
    parts = split_by_trace(request, max_spans, max_bytes)

    assert sorted(row for part in parts for row in content(part)) == content(request)
    traces = [{span.trace_id for span in spans_of(part)} for part in parts]
    assert sum(map(len, traces)) == len(set().union(*traces))
    for part, ids_of_part in zip(parts, traces, strict=True):
        assert len(list(spans_of(part))) < max_spans or len(ids_of_part) >= 1
        last = max(ids_of_part)
        before_last = [span for span in spans_of(part) if span.trace_id < last]
        assert len(before_last) < max_spans
        assert sum(span.ByteSize() for span in before_last) < max_bytes


@given(requests())
def test_parts_of_a_request_are_the_whole(request):
    traces = {mlflow_trace_id(span) for span in spans_of(request)}

    parts = [select_traces(request, {trace}) for trace in traces]

    assert sorted(row for part in parts for row in content(part)) == content(request)


@given(requests())
def test_a_root_wins_over_any_other_entry_span(request):
    found = entry_spans(request, Settings())

    roots = {mlflow_trace_id(span) for span in spans_of(request) if not span.parent_span_id}
    assert {trace for trace, it in found.items() if it.is_root} == roots
    assert found.keys() == {
        mlflow_trace_id(span) for span in spans_of(request)
    }  # all are SERVER spans


@pytest.mark.parametrize(
    ("flags", "kind", "is_entry"),
    [
        (0x300, 1, True),  # a remote parent
        (0x100, 2, False),  # a parent in the same process
        (0, 2, True),  # not said: SERVER
        (0, 5, True),  # CONSUMER
        (0, 3, False),  # CLIENT
        (0, 0, False),
    ],
)
def test_where_a_trace_enters_a_service(flags, kind, is_entry):
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"t" * 16, span_id=b"s" * 8, parent_span_id=b"p" * 8, flags=flags, kind=kind
    )

    assert bool(entry_spans(request, Settings())) is is_entry
