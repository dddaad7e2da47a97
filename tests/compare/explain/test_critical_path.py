"""The critical path: times that add up to the duration of the trace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from known_spans import MS, span

from otel_mlflow_context.compare.explain.critical_path import time_of_spans
from otel_mlflow_context.compare.sources.spans import Span


def milliseconds(*spans: Span) -> dict[str, float]:
    return {name: time / MS for name, time in time_of_spans(spans).items()}


def test_a_span_has_the_time_that_its_children_have_not() -> None:
    found = milliseconds(span("ask", None, 0, 10), span("a", "ask", 1, 4), span("b", "ask", 5, 9))
    assert found == {"ask": 3, "a": 3, "b": 4}


def test_of_spans_at_the_same_time_the_one_that_ends_last_counts() -> None:
    found = milliseconds(span("ask", None, 0, 10), span("a", "ask", 0, 10), span("b", "ask", 0, 8))
    assert found == {"ask": 0, "a": 10}


def test_a_child_that_outlives_its_parent_counts_until_the_parent_ends() -> None:
    found = milliseconds(span("root", None, 0, 20), span("ask", "root", 0, 10))
    found_late = milliseconds(
        *(span("root", None, 0, 20), span("ask", "root", 0, 10), span("late", "ask", 5, 15))
    )
    assert found == {"root": 10, "ask": 10}
    assert found_late == {"root": 10, "ask": 5, "late": 5}


def test_time_between_two_entry_spans_is_in_none() -> None:
    assert milliseconds(span("a", None, 0, 3), span("b", "missing", 7, 10)) == {"a": 3, "b": 3}


def test_spans_that_are_their_own_ancestors_end_nothing() -> None:
    assert milliseconds(span("a", "b", 0, 3), span("b", "a", 0, 3)) == {}
    assert milliseconds(span("a", "a", 0, 3)) == {}
    assert time_of_spans([]) == {}


def test_ten_thousand_spans_below_each_other_are_no_recursion() -> None:
    chain = [span(str(n), str(n - 1) if n else None, n, 20_000 - n) for n in range(10_000)]
    assert sum(time_of_spans(chain).values()) == 20_000 * MS


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 50), st.integers(0, 30)),
        max_size=30,
    )
)
def test_the_times_add_up_to_the_root_span(rows: list[tuple[int, int, int]]) -> None:
    spans = [Span("0", None, "root", 0, 100)]
    for number, (start, length, parent) in enumerate(rows, 1):
        spans.append(Span(str(number), str(parent % number), "x", start, start + length))
    times = time_of_spans(spans)
    assert all(time >= 0 for time in times.values())
    assert sum(times.values()) == 100
