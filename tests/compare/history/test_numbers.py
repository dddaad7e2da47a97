"""The versions of a history, their order and their numbers, whichever way they are asked for."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pytest
from judged import judged
from judged import write as write_judged
from packaging.version import Version
from scipy import stats
from versions import ROWS, Row, brute_force, numbers_of, rows_of, same, write

from otel_mlflow_context.compare import CannotCompare, Verdict, version_history
from otel_mlflow_context.compare.history import versions as versions_of_traces

AGGREGATES = Version(mlflow.__version__) >= Version("3.10")


def first_seen(version: str) -> float:
    return -max(row.hours_ago for row in ROWS if row.version == version)


def test_each_number_of_each_version_is_that_of_all_its_traces(uri: str) -> None:
    found = version_history(tracking_uri=uri)
    versions = sorted({row.version for row in ROWS}, key=first_seen)
    assert [it.value for it in found.versions] == versions
    for version, group in found.pairs():
        assert version.value == group.value
        rows = [row for row in ROWS if row.version == version.value]
        assert same(numbers_of(group), brute_force(rows))
        hours = [row.hours_ago for row in rows]
        between = version.last_seen_ms - version.first_seen_ms
        assert between == pytest.approx((max(hours) - min(hours)) * 3_600_000, abs=2)


def test_a_server_that_computes_nothing_has_a_history_of_a_sample(old_server: str) -> None:
    found = version_history(tracking_uri=old_server, sample=100)
    assert not found.aggregated
    assert max(it.traces for it in found.groups) == 100
    assert found.notes[0].startswith("Not computed where the traces are (MLflow before 3.10")
    assert "at most 100 traces of each version, a random sample" in found.notes[0]
    assert ">= 100" in found.as_text()


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
def test_what_the_source_computes_is_of_all_traces(written: str) -> None:
    found = version_history(tracking_uri=written, sample=60)
    assert found.aggregated
    for group in found.groups:
        expected = brute_force([row for row in ROWS if row.version == group.value])
        names = ("traces", "finished", "errors", "latency", "tokens")
        assert same(numbers_of(group), {it: expected[it] for it in names})
        assert group.sampled <= 60
        latencies = sorted(
            row.latency_ms for row in ROWS if row.version == group.value and row.latency_ms
        )
        percentiles = group.observed["latency"].percentile_estimates or {}
        for name, it in percentiles.items():
            share = int(name[1:]) / 100
            ends = stats.quantile_test(latencies, p=share).confidence_interval(0.95)
            expected = [None if np.isnan(end) else pytest.approx(end, rel=0.01) for end in ends]
            assert [it.low, it.high] == expected or None in (it.low, it.high)
            assert it.value == pytest.approx(np.quantile(latencies, share))


def test_assessments_have_a_history_too(store: str) -> None:
    traces = [
        *judged("1.0.0", 60, 1.0),
        *judged("1.1.0", 60, 0.5),
        *judged("1.2.0", 60, 1.0, worse=0.6),
    ]
    write_judged(store, traces)
    found = version_history(tracking_uri=store, better={"tone": "warm"})
    of = {it.value: it for it in found.changes}["1.2.0"]
    assert {it.verdict for it in of.shifts.values()} == {Verdict.WORSE}
    assert "correct" in of.shifts
    assert found.verdict is Verdict.WORSE
    assert any(it.startswith("correct was judged in ") for it in found.notes)
    assert found.as_html().count("<svg") == len(("errors", "latency")) + 4


def test_only_the_newest_versions_are_looked_at(store: str) -> None:
    write(store, [Row(f"{number}", hours_ago=30 - number) for number in range(14)])
    found = version_history(versions=10, tracking_uri=store)
    assert [it.value for it in found.versions] == [str(number) for number in range(4, 14)]
    assert "There are older versions than these 10 too." in found.notes


def test_many_versions_at_the_same_time_are_found(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_of_traces, "PAGE", 20)
    rows = [
        Row(f"{number}", hours_ago=100 - number - hours)
        for number in range(50)
        for hours in (0, 30, 60)
    ]
    write(store, rows)
    found = version_history(tracking_uri=store)
    assert [it.value for it in found.versions] == [str(number) for number in range(50)]
    assert {group.traces for group in found.groups} == {3}
    assert not any("older versions" in it for it in found.notes)


def test_one_version_has_no_changes_and_tells_so(store: str) -> None:
    write(store, rows_of("1.0.0", 20))
    found = version_history(tracking_uri=store)
    assert found.changes == ()
    assert "Not enough to tell: there is one version only." in found.as_text()


def test_too_few_traces_are_told_from_no_change(store: str) -> None:
    write(store, [*rows_of("1.0.0", 2), *rows_of("1.1.0", 2)])
    found = version_history(tracking_uri=store)
    assert {"errors", "latency"} <= set(found.untestable)
    assert ", for any change to be found: errors, latency" in found.as_text()


def test_a_history_that_is_none_is_refused(written: str, store: str) -> None:
    def asked(**of: Any) -> Any:
        return version_history(tracking_uri=written, **of)

    with pytest.raises(CannotCompare, match="no trace has the metadata 'nothing'; the newest have"):
        asked(by="nothing")
    with pytest.raises(CannotCompare, match="there is no metric or assessment 'speed'; there are"):
        asked(metrics=["speed"])
    with pytest.raises(ValueError, match="versions must be a number of at least 1, got 0"):
        asked(versions=0)
    with pytest.raises(ValueError, match="sample must be"):
        asked(sample=0)
    with pytest.raises(CannotCompare, match="experiment 'Default' has no traces"):
        version_history(tracking_uri=store)
