"""An explanation's numbers are those of a computation over all traces, and its order is right."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from known_spans import Known, known, span
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.proportion import confint_proportions_2indep

from otel_mlflow_context.compare.explain.explaining import explain
from otel_mlflow_context.compare.explain.result import Part

OLD = known("1.0.0", 300, error=0.05)
NEW = known("1.1.0", 250, slow=1.5, error=0.15)


def part(metric: str, candidate: list[Known] = NEW, baseline: list[Known] = OLD) -> Part:
    found = explain(
        {"1.1.0": [it.as_features(f"tr-{n}") for n, it in enumerate(candidate)]},
        [it.as_features() for it in baseline],
        by="app_version",
        level=0.05,
        link=lambda it: f"http://server/{it}",
    )
    return next(it for it in found[0].parts if it.metric == metric)


def own_times(traces: list[Known]) -> dict[str, list[float]]:
    """Without spans at the same time: the duration less that of the children."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for trace in traces:
        lengths = {it.name: (it.end_ns - it.start_ns) / 1e6 for it in trace.spans}
        times["ask"].append(lengths["ask"] - lengths["search"] - lengths["chat"])
        times["search"].append(lengths["search"])
        times["chat"].append(lengths["chat"])
    return times


def test_the_latency_of_each_span_is_that_of_brute_force() -> None:
    found, old, new = part("latency"), own_times(OLD), own_times(NEW)
    assert {it.names["span"] for it in found.causes} == set(old)
    for cause in found.causes:
        name = cause.names["span"]
        difference = cause.test.difference
        assert cause.candidate == pytest.approx(np.mean(new[name]))
        assert cause.baseline == pytest.approx(np.mean(old[name]))
        assert difference.value == pytest.approx(np.mean(new[name]) - np.mean(old[name]), abs=1e-9)
        if name != "ask":  # its own time is the same in all traces, but for rounding
            welch = stats.ttest_ind(new[name], old[name], equal_var=False)
            interval = welch.confidence_interval(0.95)
            assert difference.low == pytest.approx(interval.low)
            assert difference.high == pytest.approx(interval.high)
            assert cause.test.p_value == pytest.approx(welch.pvalue)
        assert cause.calls is not None
        assert [it.per_trace for it in cause.calls] == [1, 1]
    first = found.causes[0]
    assert first.names == {"span": "search"}
    assert first.path == ("ask",)
    assert first.link == f"http://server/{first.trace_id}"


@pytest.mark.parametrize("metric", ["latency", "errors", "tokens", "cost"])
def test_causes_and_rest_add_up_to_the_difference(metric: str) -> None:
    found = part(metric)
    total = sum(it.test.difference.value for it in found.causes) + found.rest
    assert total == pytest.approx(found.test.difference.value)
    assert found.test.difference.value == pytest.approx(found.candidate - found.baseline)
    assert abs(found.rest) <= 0.5 if metric == "latency" else found.rest == pytest.approx(0)


def test_errors_are_those_of_brute_force() -> None:
    found = part("errors")
    counts = [sum(it.state == "ERROR" for it in traces) for traces in (NEW, OLD)]
    [cause] = found.causes
    assert cause.names == {
        "span": "chat",
        "exception": "ValueError",
        "message": "document <number> of <text> is empty",
    }
    table = [[counts[0], 250 - counts[0]], [counts[1], 300 - counts[1]]]
    low, high = confint_proportions_2indep(counts[0], 250, counts[1], 300, method="newcomb")
    assert (cause.test.difference.low, cause.test.difference.high) == pytest.approx((low, high))
    assert cause.test.p_value == pytest.approx(stats.fisher_exact(table).pvalue)


def test_usage_is_that_of_brute_force() -> None:
    for metric, name in (("tokens", "tokens"), ("cost", "cost")):
        [cause] = part(metric).causes
        sums = [
            [sum(getattr(s, name) or 0 for s in it.spans) for it in them] for them in (NEW, OLD)
        ]
        assert cause.names == {"model": "gpt", "span": "chat"}
        assert cause.candidate == pytest.approx(np.mean(sums[0]))
        assert cause.baseline == pytest.approx(np.mean(sums[1]))


def test_strata_are_those_of_brute_force() -> None:
    def latencies(traces: list[Known], region: str) -> list[int]:
        return [it.latency_ms for it in traces if ("region", region) in it.metadata]

    found = part("latency")
    assert {(it.key, it.value) for it in found.segments} == {("region", "eu"), ("region", "us")}
    for segment in found.segments:
        other = "us" if segment.value == "eu" else "eu"
        inside = np.mean(latencies(NEW, segment.value)) - np.mean(latencies(OLD, segment.value))
        elsewhere = np.mean(latencies(NEW, other)) - np.mean(latencies(OLD, other))
        assert segment.inside.value == pytest.approx(inside)
        assert segment.elsewhere.value == pytest.approx(elsewhere)
        assert segment.test.difference.value == pytest.approx(inside - elsewhere)
    [mix] = found.mixes
    weights = {it: len(latencies(OLD, it)) / 300 for it in ("eu", "us")}
    within = sum(
        weight * (np.mean(latencies(NEW, it)) - np.mean(latencies(OLD, it)))
        for it, weight in weights.items()
    )
    assert mix.within.difference.value == pytest.approx(within)
    assert mix.of_mix == pytest.approx(found.test.difference.value - within)


def in_regions(version: str, errors: dict[str, tuple[int, int]]) -> list[Known]:
    """Traces by region: how many, and how many of them have an error."""
    return [
        Known(
            version,
            "ERROR" if number < failed else "OK",
            100,
            (("region", region),),
            (span("ask", None, 0, 100, failed=number < failed, exception="E"),),
        )
        for region, (failed, total) in errors.items()
        for number in range(total)
    ]


def test_simpsons_paradox_is_shown() -> None:
    # Each region has fewer errors than before, all together have more.
    old = in_regions("1.0.0", {"easy": (45, 900), "hard": (30, 100)})
    new = in_regions("1.1.0", {"easy": (2, 100), "hard": (180, 900)})
    found = part("errors", new, old)
    assert found.test.difference.value > 0
    [mix] = found.mixes
    assert mix.reversed
    assert mix.within.difference.high is not None
    assert mix.within.difference.high < 0
    assert mix.corrected_p_value < 0.001
    table = StratifiedTable([np.array([[2, 98], [45, 855]]), np.array([[180, 720], [30, 70]])])
    assert mix.odds_ratio is not None
    assert mix.odds_ratio.value == pytest.approx(table.oddsratio_pooled)


def test_the_error_that_was_not_handled_counts_where_it_began() -> None:
    def kind(*spans: Any) -> tuple[str, str, str]:
        error = Known("1", "ERROR", 100, (), spans).as_features().error
        assert error is not None
        return tuple(error)

    root = span("ask", None, 0, 100, failed=True, exception="E")
    middle = span("agent", "ask", 0, 95, failed=True, exception="E")
    first = span("try", "agent", 0, 20, failed=True, exception="E", message="1")
    again = span("again", "agent", 30, 90, failed=True, exception="E", message="2")
    fine = span("fine", "agent", 30, 90)
    other = span("other", "agent", 0, 20, failed=True, exception="Handled")
    assert kind(root, middle, first, again) == ("again", "E", "<number>")
    assert kind(root, middle, first, fine) == ("try", "E", "<number>")
    assert kind(root, middle, other, fine) == ("agent", "E", "")
    assert kind(span("ask", None, 0, 100)) == ("", "", "")
    assert kind() == ("", "", "")


def test_usage_below_a_span_that_has_some_counts_once() -> None:
    spans = (
        span("agent", None, 0, 10, model="gpt", tokens=30.0, cost=3.0),
        span("chat", "agent", 1, 9, model="gpt", tokens=30.0, cost=3.0),
    )
    found = Known("1", "OK", 10, (), spans).as_features()
    assert dict(found.cost_of) == {("gpt", "agent"): 3.0}
    assert found.cost == 3.0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_traces_are_no_error(count: int) -> None:
    for candidate, baseline in ((NEW[:count], OLD), (NEW, OLD[:count])):
        found = explain(
            {"1.1.0": [it.as_features() for it in candidate]},
            [it.as_features() for it in baseline],
            by="app_version",
            level=0.05,
        )
        assert len(found[0].parts) == (4 if count else 0)


def test_traces_without_spans_are_compared_as_a_whole() -> None:
    bare = [Known(it.version, it.state, it.latency_ms, it.metadata, ()) for it in (*OLD, *NEW)]
    found = explain(
        {"1.1.0": [it.as_features() for it in bare[300:]]},
        [it.as_features() for it in bare[:300]],
        by="app_version",
        level=0.05,
    )
    assert [it.metric for it in found[0].parts] == ["errors"]
    assert found[0].parts[0].causes[0].names == {"span": "", "exception": "", "message": ""}


def test_of_many_spans_the_largest_are_tested_and_the_rest_is_left() -> None:
    def traces(version: str) -> list[Known]:
        spans = [span(f"s{n}", "ask", n, n + 1) for n in range(200)]
        return [Known(version, "OK", 300, (), (span("ask", None, 0, 300), *spans))] * 20

    found = part("latency", traces("1.1.0"), traces("1.0.0"))
    assert len(found.causes) == 50
    assert found.test.difference.value == 0
