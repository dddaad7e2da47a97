"""The numbers agree with a computation over all traces, whichever way they are asked for."""

from __future__ import annotations

from typing import Any

import mlflow
import pytest
from packaging.version import Version
from scipy import stats
from versions import ROWS, Row, brute_force, numbers_of, same, write

from otel_mlflow_context.compare import CannotCompare, compare_versions
from otel_mlflow_context.compare.sources import store as databases

AGGREGATES = Version(mlflow.__version__) >= Version("3.10")
VERSIONS = ("1.0.0", "1.1.0", "perfect", "failing", "one", "running")


def rows_with(version: str, **conditions: Any) -> list[Row]:
    metadata = set(conditions.items())
    return [row for row in ROWS if row.version == version and metadata <= set(row.metadata)]


def test_each_number_of_each_group_is_that_of_all_its_traces(uri: str) -> None:
    found = compare_versions(baseline="1.0.0", candidate=VERSIONS[1:], tracking_uri=uri)
    assert [group.value for group in found.groups] == list(VERSIONS)
    for group in found.groups:
        assert same(numbers_of(group), brute_force(rows_with(group.value))), group
        assert group.all_counted
        assert group.all_users


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
def test_a_server_that_can_compute_does(server: Any, old_server: str) -> None:
    asked = {"baseline": "1.0.0", "candidate": "1.1.0"}
    assert compare_versions(tracking_uri=server.uri, **asked).aggregated
    found = compare_versions(tracking_uri=old_server, **asked)
    assert not found.aggregated
    assert "405" in found.notes[0]


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
def test_with_a_small_sample_what_the_source_computes_is_still_of_all_traces(written: str) -> None:
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=written, sample=60)
    of_the_sample = ("cost", "users")
    for group in found.groups:
        expected = brute_force(rows_with(group.value))
        if Version(mlflow.__version__) < Version("3.13"):
            of_the_sample = ("cost", "users", "sessions")
        assert same(
            numbers_of(group), {k: v for k, v in expected.items() if k not in of_the_sample}
        )
        assert 30 <= group.sampled <= 60
        assert not group.all_users
        costs = [row.cost for row in rows_with(group.value)]
        assert min(costs) < group.cost < max(costs)
    assert "a random sample: " in found.notes[0]


def test_without_aggregation_a_small_sample_says_that_there_are_more(old_server: str) -> None:
    found = compare_versions(baseline="1.0.0", candidate="one", tracking_uri=old_server, sample=100)
    first, second = found.groups
    assert (first.traces, first.all_counted) == (100, False)
    assert (second.traces, second.all_counted) == (1, True)
    assert "100 of 1.0.0, which has more" in found.notes[0]
    assert ">= 100" in found.as_text()


def test_where_narrows_every_number(uri: str) -> None:
    found = compare_versions(
        baseline="1.0.0",
        candidate="1.1.0",
        where="metadata.environment = 'production'",
        tracking_uri=uri,
    )
    for group in found.groups:
        expected = brute_force(rows_with(group.value, environment="production"))
        assert same(numbers_of(group), expected)


def test_where_may_say_what_aggregation_cannot(written: str) -> None:
    where = "execution_time_ms > 400"
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", where=where, tracking_uri=written)
    assert not found.aggregated
    for group in found.groups:
        rows = [row for row in rows_with(group.value) if (row.latency_ms or 0) > 400]
        assert same(numbers_of(group), brute_force(rows))


def test_a_database_may_give_many_pages(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"baseline": "1.0.0", "candidate": "1.1.0", "tracking_uri": written}
    in_one = compare_versions(**asked)
    monkeypatch.setattr(databases, "DATABASE_PAGE", 7)
    assert compare_versions(**asked) == in_one


def test_since_leaves_out_what_is_older(uri: str) -> None:
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", since="1d", tracking_uri=uri)
    for group in found.groups:
        rows = [row for row in rows_with(group.value) if row.hours_ago < 24]
        assert same(numbers_of(group), brute_force(rows))


def test_without_a_candidate_every_other_value_is_one(uri: str) -> None:
    found = compare_versions(baseline="1.0.0", tracking_uri=uri)
    assert found.groups[0].value == "1.0.0"
    assert {it.value for it in found.differences} == set(VERSIONS[1:])


def test_any_metadata_tells_groups_apart(uri: str) -> None:
    found = compare_versions(
        "environment", baseline="staging", candidate="production", tracking_uri=uri
    )
    for group in found.groups:
        rows = [row for row in ROWS if ("environment", group.value) in row.metadata]
        assert same(numbers_of(group), brute_force(rows))


def test_a_fact_may_be_called_by_its_name(written: str) -> None:
    found = compare_versions("version", baseline="1.0.0", candidate="one", tracking_uri=written)
    assert found.by == "app_version"


def test_quotes_and_backticks_are_found_as_they_are(store: str) -> None:
    values = {"it's": 3, 'so "called"': 4, "a`b": 5, "a;b -- c": 6}
    for key in ("flag", "odd`key"):
        rows = [
            Row("1.0.0", metadata=((key, value),))
            for value, count in values.items()
            for _ in range(count)
        ]
        write(store, rows, experiment=key)
        found = compare_versions(key, baseline="it's", experiment=key, tracking_uri=store)
        assert {group.value: group.traces for group in found.groups} == values


def test_more_values_than_are_looked_for_are_said_to_be_there(store: str) -> None:
    write(store, [Row(f"{number}", hours_ago=number + 1) for number in range(25)])
    found = compare_versions(baseline="24", tracking_uri=store)
    assert [group.value for group in found.groups] == ["24", *map(str, range(20))]
    assert found.notes[-1] == "There are older values too."


def test_a_value_that_cannot_be_asked_for_is_left_out_and_said(store: str) -> None:
    write(store, [Row("1.0.0"), Row("1.1.0"), Row("both ' and \"")])
    found = compare_versions(baseline="1.0.0", tracking_uri=store)
    assert [group.value for group in found.groups] == ["1.0.0", "1.1.0"]
    assert found.notes[-1].startswith("Left out, because no filter of MLflow can have it in it: ")


def test_over_time_has_every_trace_that_ended(uri: str) -> None:
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=uri, sample=None)
    for group in found.groups:
        assert sum(it.finished for it in group.over_time) == group.finished
        assert sum(it.errors for it in group.over_time) == group.errors
        starts = [it.start_ms for it in group.over_time]
        assert starts == sorted(starts)
        assert 4 <= len(starts) <= 8


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
def test_over_time_has_every_trace_where_only_some_are_read(written: str) -> None:
    asked = {"baseline": "1.0.0", "candidate": "1.1.0", "tracking_uri": written}
    some, everything = compare_versions(sample=100, **asked), compare_versions(**asked)
    for group, expected in zip(some.groups, everything.groups, strict=True):
        assert sum(it.finished for it in group.over_time) == group.finished
        assert sum(it.errors for it in group.over_time) == group.errors
        if group.over_time[0].start_ms == expected.over_time[0].start_ms:
            assert group.over_time == expected.over_time


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
def test_a_sample_is_of_all_times_though_the_ids_begin_with_the_time(store: str) -> None:
    # It gets slower every hour.
    rows = [Row("1.0.0", latency_ms=500 - hours, hours_ago=hours + 1) for hours in range(400)]
    write(store, [*rows, Row("1.1.0")], timed_ids=True)
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", sample=150, tracking_uri=store)
    sample = found.baseline.latencies
    assert 100 <= len(sample) <= 150
    # The oldest or the newest 150 would be less likely than this by tens of orders of magnitude.
    assert stats.ks_2samp(sample, [row.latency_ms for row in rows]).pvalue > 1e-6


def test_a_group_without_traces_is_not_compared(written: str) -> None:
    with pytest.raises(
        CannotCompare, match=r"no trace has '9' as its app_version; they have .*'one'"
    ):
        compare_versions(baseline="9", candidate="1.1.0", tracking_uri=written)
