"""Filters say what is meant, to MLflow's own parser."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils import search_utils

from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.mlflow_client.time_range import start_of

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
TEXT = st.one_of(st.text(), st.text("ab'\"`\\ ;-./*%=\n"))
METRICS = getattr(search_utils, "SearchTraceMetricsUtils", None)


def parsed(text: str) -> list[tuple[str, str, str]]:
    terms = search_utils.SearchTraceUtils.parse_search_filter_for_search_traces(text)
    return [(it["key"], it["comparator"], str(it["value"])) for it in terms]


@given(TEXT, TEXT)
def test_what_can_be_said_is_understood_as_it_was_meant(key: str, value: str) -> None:
    try:
        term = filters.metadata_is(key, value)
    except filters.CannotBeQuoted:
        return
    whole = filters.all_of(term, filters.metadata_is("b", "x'y", operator="!="), "status = 'OK'")
    assert parsed(whole) == [(key, "=", value), ("b", "!=", "x'y"), ("status", "=", "OK")]


@pytest.mark.parametrize("value", ["1.1.0", "", "it's", 'a "b"', "a`b", "a\\b", "50 %", "é\n"])
def test_a_usual_value_can_be_said(value: str) -> None:
    assert parsed(filters.metadata_is("k", value)) == [("k", "=", value)]


@pytest.mark.parametrize("value", ['it\'s "so"', "ends with \\"])
def test_a_value_without_words_is_refused_by_name(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be written in a filter of MLflow"):
        filters.quoted_value(value)


@pytest.mark.skipif(METRICS is None, reason="MLflow before 3.10 computes nothing")
@given(TEXT, TEXT)
def test_aggregation_understands_a_groups_term_too(key: str, value: str) -> None:
    try:
        term = filters.group_is(key, value)
    except filters.CannotBeQuoted:
        return
    said = METRICS.parse_search_filter(term)
    assert (said.view_type, said.entity) == ("trace", "metadata")
    assert (said.key, said.value) == (key, value)


@pytest.mark.parametrize(
    ("where", "terms"),
    [
        ("", []),
        ("status = 'OK'", ["trace.status = 'OK'"]),
        (
            "metadata.a = 'x' AND tags.`b.c` = \"y\" and trace.status='ERROR'",
            ["trace.metadata.`a` = 'x'", 'trace.tag.`b.c` = "y"', "trace.status = 'ERROR'"],
        ),
        ("metadata.a != 'x'", None),
        ("metadata.a = 'x' AND", None),
        ("metadata.a = 'x' OR metadata.a = 'y'", None),
        ("timestamp_ms > 5", None),
        ("name = 'ask'", None),
    ],
)
def test_equalities_and_nothing_else_are_said_to_aggregation(
    where: str, terms: list[str] | None
) -> None:
    assert filters.equalities(where) == terms


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("7d", datetime(2026, 11, 17, 12, tzinfo=timezone.utc)),
        ("12h", datetime(2026, 11, 24, 0, tzinfo=timezone.utc)),
        (" 30m ", datetime(2026, 11, 24, 11, 30, tzinfo=timezone.utc)),
        ("2w", datetime(2026, 11, 10, 12, tzinfo=timezone.utc)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=timezone.utc)),
        ("2026-11-01T10:00:00Z", datetime(2026, 11, 1, 10, tzinfo=timezone.utc)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=timezone.utc)),
        (timedelta(days=1), datetime(2026, 11, 23, 12, tzinfo=timezone.utc)),
        (datetime(2026, 11, 1), datetime(2026, 11, 1, tzinfo=timezone.utc)),  # noqa: DTZ001
    ],
)
def test_since_is_a_time_back_or_a_time(since: object, start: datetime) -> None:
    assert start_of(since, NOW) == start.timestamp() * 1000


@pytest.mark.parametrize("since", ["", "7", "yesterday", "7y", "-1d", "2026-13-01"])
def test_another_since_is_refused_by_name(since: str) -> None:
    with pytest.raises(ValueError, match="since must be"):
        start_of(since, NOW)
