"""Assessments agree with a computation over all traces, whichever way they are asked for."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from typing import Any

import mlflow
import numpy as np
import pytest
from judged import JudgedTrace, Said, brute_force, write
from packaging.version import Version
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from otel_mlflow_context.compare import Comparison, Verdict, compare_versions

COUNTS_ASSESSMENTS = Version(mlflow.__version__) >= Version("3.10")
VERSIONS = ("1.0.0", "1.1.0", "some", "one", "none")


def truths(traces: list[JudgedTrace], name: str) -> list[bool]:
    """Of the traces on which the judges are not divided."""
    yes = [
        [str(it).lower() in ("true", "yes") for it in them] for them in brute_force(traces, name)
    ]
    return [np.mean(them) > 0.5 for them in yes if np.mean(them) != 0.5]


def numbers(traces: list[JudgedTrace], name: str) -> list[float]:
    return [float(np.mean(them)) for them in brute_force(traces, name)]


def assessments(found: Comparison, value: str) -> dict[str, Any]:
    [group] = [it for it in found.as_dict()["groups"] if it["value"] == value]
    return group["assessments"]


@pytest.fixture(scope="module")
def comparison(written: str) -> Comparison:
    return compare_versions(baseline="1.0.0", candidate=VERSIONS[1:], tracking_uri=written)


def test_each_number_is_that_of_all_traces(uri: str, traces: Any) -> None:
    found = compare_versions(baseline="1.0.0", candidate=VERSIONS[1:], tracking_uri=uri)
    for version in VERSIONS:
        known = assessments(found, version)
        assert list(known) == ["correct", "polite", "score", "tone"]
        rows = traces[version]
        for name, it in known.items():
            assert it["judged"] == len(brute_force(rows, name))
            assert it["share_judged"]["value"] == len(brute_force(rows, name)) / len(rows)
        for name in ("correct", "polite"):
            values = truths(rows, name)
            if not values:
                assert known[name]["value"] is None
                continue
            low, high = proportion_confint(sum(values), len(values), method="wilson")
            assert known[name]["value"] == pytest.approx(
                {"value": np.mean(values), "low": low, "high": high}, abs=1e-9
            )
        scores = numbers(rows, "score")
        if len(scores) > 1:
            low, high = stats.t.interval(0.95, len(scores) - 1, np.mean(scores), stats.sem(scores))
            assert known["score"]["value"] == pytest.approx(
                {"value": np.mean(scores), "low": low, "high": high}
            )
        tones = Counter(it for [it] in brute_force(rows, "tone"))
        assert {it: of["value"] for it, of in known["tone"]["shares"].items()} == pytest.approx(
            {it: count / tones.total() for it, count in tones.items()}
        )
        errors = [it for trace in rows for it in trace.said if isinstance(it.value, Exception)]
        assert known["correct"]["failed"] == len(errors)


def test_each_test_is_scipys(comparison: Comparison, traces: Any) -> None:
    changes = comparison.differences[0].changes
    new, old = (truths(traces[it], "correct") for it in ("1.1.0", "1.0.0"))
    table = [[sum(it), len(it) - sum(it)] for it in (new, old)]
    correct = changes["correct"]
    assert correct.p_value == pytest.approx(stats.fisher_exact(table).pvalue)
    interval = confint_proportions_2indep(
        sum(new), len(new), sum(old), len(old), method="newcomb", compare="diff"
    )
    assert (correct.difference.low, correct.difference.high) == pytest.approx(interval)
    new, old = (numbers(traces[it], "score") for it in ("1.1.0", "1.0.0"))
    score = changes["score"]
    assert score.p_value == pytest.approx(stats.mannwhitneyu(new, old).pvalue)
    assert score.difference.value == pytest.approx(np.median(np.subtract.outer(new, old)))
    counts = [Counter(it for [it] in brute_force(traces[v], "tone")) for v in ("1.1.0", "1.0.0")]
    table = [[it[text] for text in ("warm", "cold", "flat")] for it in counts]
    assert changes["tone"].p_value == pytest.approx(stats.chi2_contingency(table).pvalue)


def test_the_verdict_counts_what_is_better(comparison: Comparison) -> None:
    worse, some, one, none = comparison.differences
    assert {it: worse.changes[it].verdict for it in ("correct", "score", "tone")} == {
        "correct": Verdict.WORSE,
        "score": Verdict.NO_EVIDENCE,
        "tone": Verdict.DIFFERENT,
    }
    assert worse.verdict is comparison.verdict is Verdict.WORSE
    assert some.verdict is one.verdict is none.verdict is Verdict.NO_EVIDENCE
    assert "correct" not in none.changes
    tests = sum(len(it.changes) for it in comparison.differences)
    smallest = min(worse.changes.values(), key=lambda it: it.p_value)
    assert smallest.corrected_p_value == pytest.approx(smallest.p_value * tests)


@pytest.mark.parametrize(
    ("better", "verdict"),
    [
        ({"correct": "lower"}, "better"),
        ({"correct": "none"}, "different"),
        ({"tone": "flat"}, "better"),
        ({"tone": "warm"}, "worse"),
    ],
)
def test_better_decides_what_is(better: dict[str, str], verdict: str, written: str) -> None:
    found = compare_versions(
        baseline="1.0.0", candidate="1.1.0", better=better, metrics=[*better], tracking_uri=written
    )
    [difference] = found.differences
    assert {it: str(of.verdict) for it, of in difference.changes.items()} == dict.fromkeys(
        better, verdict
    )


def test_the_share_of_one_text_is_called_by_the_text(command: Any, written: str) -> None:
    both = ("--baseline", "1.0.0", "--candidate", "1.1.0", "--better", "tone=warm")
    _, out, _ = command(written, *both)
    assert "  tone: worse, warm " in out
    _, out, _ = command(written, *both, "--format", "html")
    assert "The share of warm among the judged traces" in out
    found = compare_versions(
        baseline="1.0.0", candidate="1.1.0", better={"tone": "warm"}, tracking_uri=written
    )
    assert (assessments(found, "1.0.0")["tone"]["kind"], found.metrics[-1].text) == (
        "share",
        "warm",
    )


def test_quality_without_a_judgement_is_noted(store: str) -> None:
    write(store, [JudgedTrace("1.0.0"), JudgedTrace("1.1.0")])
    found = compare_versions(baseline="1.0.0", metrics=["quality"], tracking_uri=store)
    assert found.verdict is Verdict.NO_EVIDENCE
    assert "Nothing was tested: no trace has been judged." in found.notes
    assert found.as_text()
    assert found.as_html()


def test_metrics_are_what_is_tested(command: Any, written: str) -> None:
    both = ("--baseline", "1.0.0", "--candidate", "1.1.0", "--format", "json", "--metrics")
    for names, tested in (
        ("errors,latency", set()),
        ("latency,quality", {"correct", "polite", "score", "tone"}),
        ("score", {"score"}),
    ):
        _, out, _ = command(written, *both, names)
        [difference] = json.loads(out)["differences"]
        assert set(difference["assessments"]) == tested
        assert ("latency_ms" in difference) == ("latency" in names)
    status, _, err = command(written, *both, "speed")
    assert status == 2
    assert "there is no metric or assessment 'speed'; there are errors, latency" in err


def test_a_tolerance_may_be_of_an_assessment(command: Any, written: str) -> None:
    both = ("--baseline", "1.0.0", "--candidate", "1.1.0", "--metrics", "correct")
    for tolerance, verdict in (("1pp", "worse"), ("90pp", "no evidence"), ("2%", "worse")):
        _, out, _ = command(written, *both, "--tolerance", f"correct={tolerance}")
        assert f"  correct: {verdict}, " in out
    status, _, err = command(written, *both, "--tolerance", "tone=10%")
    assert status == 2
    assert "tolerance names 'tone', of which nothing is better: name what is by better" in err


def test_what_cannot_be_better_is_refused(command: Any, written: str) -> None:
    both = ("--baseline", "1.0.0", "--candidate", "1.1.0", "--better")
    for better, why in (
        ("tone=loud", "no trace has 'loud' as its tone, to be better; they have 'cold', 'flat'"),
        ("score=up", "score has no texts: better must be lower, higher or none, got 'up'"),
        ("speed=lower", "there is no metric or assessment 'speed'"),
        ("lower", "argument --better: must be NAME=VALUE, got 'lower'"),
    ):
        status, out, err = command(written, *both, better)
        assert (status, out) == (2, "")
        assert why in err.splitlines()[-1]


def test_what_is_judged_seldom_or_fails_is_noted(comparison: Comparison) -> None:
    notes = "\n".join(comparison.notes)
    assert "score was judged in 0 % of the traces of none and 100 % of 1.0.0" in notes
    assert "Judges that ended with an error do not count: 20 of correct of 1.0.0" in notes
    assert "Traces on which the judges are divided or undecided do not count: " in notes


def test_every_format_has_them(command: Any, written: str) -> None:
    both = ("--baseline", "1.0.0", "--candidate", "1.1.0")
    _, out, _ = command(written, *both)
    assert "  correct: worse, " in out
    assert "  tone: different, " in out
    _, out, _ = command(written, *both, "--format", "csv")
    first, second = csv.DictReader(io.StringIO(out))
    assert first["assessment_correct_judged"] == "100"
    assert float(first["assessment_correct_low"]) < float(first["assessment_correct"])
    assert float(second["assessment_correct_change"]) < 0
    shares = [float(first[f"assessment_tone_{it}"]) for it in ("warm", "cold", "flat")]
    assert sum(shares) == pytest.approx(1)
    _, out, _ = command(written, *both, "--format", "html")
    assert 'aria-label="correct of each group with its interval"' in out
    assert "nan" not in out.lower().replace("finance", "")


def test_a_sample_is_of_the_judged_traces_where_they_are_few(store: str) -> None:
    dice = random.Random(1)
    rows = [
        JudgedTrace("1.0.0", (Said("liked", dice.random() < 0.5),) if number % 10 == 0 else ())
        for number in range(300)
    ]
    write(store, [*rows, JudgedTrace("1.1.0")])
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", sample=50, tracking_uri=store)
    liked = found.baseline.judged["liked"]
    assert liked.among.total == found.baseline.sampled
    if COUNTS_ASSESSMENTS:
        known = assessments(found, "1.0.0")["liked"]
        assert (liked.traces, known["judged"]) == (30, 30)
        assert known["value"]["value"] == np.mean(truths(rows, "liked"))
        assert liked.among.count < 30
    else:
        assert liked.traces == liked.among.count


def test_a_sample_of_traces_that_were_judged_several_times(store: str) -> None:
    judges = [f"judge {number}" for number in range(4)]
    rows = [
        JudgedTrace("1.0.0", tuple(Said("score", 1.0 + number % 3, by=it) for it in judges))
        for number in range(200)
        if number % 2
    ]
    write(store, [*rows, *(JudgedTrace("1.0.0") for _ in rows), JudgedTrace("1.1.0")])
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", sample=60, tracking_uri=store)
    score = found.baseline.judged["score"]
    assert 25 <= score.traces <= 60
    assert score.among.count <= score.traces
    assert set(found.baseline.observed["score"].values) == {1.0, 2.0, 3.0}


def test_names_of_all_sorts(store: str) -> None:
    odd = ("latency", 'it\'s "so"', "a`b", "quality", "verdict", "")
    said = tuple(Said(name or " ", value=True) for name in odd)
    lists = (Said("listed", [1.0, 2.0]), *(Said("free", f"text {it}") for it in range(1)))
    write(store, [JudgedTrace("1.0.0", (*said, *lists)), JudgedTrace("1.1.0", said)])
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=store)
    assert {"assessment latency", "assessment quality", "latency", "a`b"} <= set(
        found.differences[0].changes
    )
    assert found.as_text()
    assert found.as_html()
    assert found.as_csv()
    assert any("Not compared" in it and "listed" in it for it in found.notes)


def test_texts_of_all_sorts_are_no_choice(store: str) -> None:
    write(
        store,
        [
            *(JudgedTrace("1.0.0", (Said("reason", f"because {it}"),)) for it in range(12)),
            JudgedTrace("1.1.0"),
        ],
    )
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=store)
    assert found.metrics[-1].name == "cost"
    assert any("reason" in it for it in found.notes)


def test_an_undecided_judge_has_not_judged(store: str) -> None:
    write(
        store,
        [
            JudgedTrace("1.0.0", (Said("safe", "yes"), Said("safe", "unknown", by="other"))),
            JudgedTrace("1.0.0", (Said("safe", "unknown"),)),
            JudgedTrace("1.1.0", (Said("safe", "no"),)),
        ],
    )
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=store)
    safe = found.differences[0].changes["safe"].difference
    assert safe.value == -1
    assert found.notes[-1].endswith("undecided do not count: 1 of safe of 1.0.0.")


def test_long_texts_are_no_choice(store: str) -> None:
    said = (Said("answer", "a" * 101),)
    write(store, [JudgedTrace("1.0.0", said), JudgedTrace("1.1.0", said)])
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=store)
    assert "answer" not in found.differences[0].changes


def test_postgresql_has_the_same_numbers(postgresql: str, written: str, traces: Any) -> None:
    write(postgresql, [it for them in traces.values() for it in them], "quality")
    asked: dict[str, Any] = {"baseline": "1.0.0", "candidate": VERSIONS[1:]}
    there = {"tracking_uri": postgresql, "experiment": "quality"}
    found = compare_versions(**there, **asked).as_dict()
    expected = compare_versions(tracking_uri=written, **asked).as_dict()
    for part in ("groups", "differences"):
        for one, other in zip(found[part], expected[part], strict=True):
            assert one["assessments"] == other["assessments"]
    few = compare_versions(sample=30, **there, **asked)
    assert 15 <= few.baseline.judged["score"].traces <= 30
