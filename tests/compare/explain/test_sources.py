"""Every way to the same spans explains the same, by the command too."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from known_spans import Known, known, write
from packaging.version import Version

from otel_mlflow_context.compare import CannotCompare, compare_versions
from otel_mlflow_context.compare.explain.explaining import explain
from otel_mlflow_context.compare.result import Result

AGGREGATES = Version(mlflow.__version__) >= Version("3.10")
ASKED = ("--baseline", "1.0.0", "--candidate", "1.1.0", "--explain")


def explained(uri: str, **options: Any) -> Result:
    return compare_versions(
        baseline="1.0.0", candidate="1.1.0", tracking_uri=uri, explain=True, **options
    )


def test_the_numbers_are_those_of_the_traces(
    uri: str, traces: tuple[list[Known], list[Known]]
) -> None:
    old, new = traces
    [found] = explained(uri).explanations
    [expected] = explain(
        {"1.1.0": [it.as_features() for it in new]},
        [it.as_features() for it in old],
        by="app_version",
        level=0.05,
    )
    assert found.sampled == (70, 60)
    assert [it.metric for it in found.parts] == ["errors", "latency", "tokens", "cost"]
    for part, known_part in zip(found.parts, expected.parts, strict=True):
        assert part.test.difference.value == pytest.approx(known_part.test.difference.value)
        causes = {tuple(it.names.values()): it for it in part.causes}
        for cause in known_part.causes:
            same = causes[tuple(cause.names.values())]
            assert same.test.difference.value == pytest.approx(cause.test.difference.value)
            assert same.test.p_value == pytest.approx(cause.test.p_value)
        assert [(it.key, it.value) for it in part.segments] == [
            (it.key, it.value) for it in known_part.segments
        ]
    assert found.parts[1].causes[0].names == {"span": "search"}


def test_an_error_has_a_trace_to_open_where_there_is_a_ui(server: Any, written: str) -> None:
    cause = explained(server.uri).explanations[0].parts[0].causes[0]
    assert cause.trace_id is not None
    assert (
        cause.link == f"{server.uri}/#/experiments/0/traces?selectedEvaluationId={cause.trace_id}"
    )
    trace = mlflow.MlflowClient(written).get_trace(cause.trace_id)
    assert trace.info.state == "ERROR"
    assert explained(written).explanations[0].parts[0].causes[0].link is None


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
def test_a_server_computes_the_calls_of_all_traces(server: Any) -> None:
    found = explained(server.uri, sample=30)
    [explanation] = found.explanations
    assert max(explanation.sampled) <= 30
    calls = [it.calls for it in explanation.parts[1].causes if it.names["span"] == "search"]
    [(before, after)] = calls
    assert before.of_all_traces
    assert (before.per_trace, after.per_trace) == (1, 1)
    assert 60 <= before.duration_ms < 100 <= after.duration_ms * 1.01 < 160
    assert "The calls of each span are those of all traces." in found.notes


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
@pytest.mark.parametrize("sample", [30, 2_000])
def test_the_traces_that_are_compared_are_those_that_explain(front: Any, sample: int) -> None:
    asked = {"baseline": "1.0.0", "candidate": "1.1.0", "tracking_uri": front.uri}
    compare_versions(**asked, sample=sample)
    searches = [path for _, path in front.seen if path.endswith("/traces/search")]
    front.seen.clear()
    explained(front.uri, sample=sample)
    assert [path for _, path in front.seen if path.endswith("/traces/search")] == searches


def test_an_older_server_answers_from_samples(old_server: str) -> None:
    found = explained(old_server)
    calls = found.explanations[0].parts[1].causes[0].calls
    assert calls is not None
    assert not calls[1].of_all_traces
    assert any("405" in it and "those of the sample" in it for it in found.notes)


def test_without_being_asked_nothing_is_explained(written: str) -> None:
    found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=written)
    assert found.explanations == ()
    assert "explanations" not in found.as_dict()


def test_the_command_explains_in_every_format(command: Any, server: Any, tmp_path: Path) -> None:
    status, text, progress = command(server.uri, *ASKED)
    assert status == 0
    assert "search: +" in text
    assert "ValueError: document <number> of <text> is empty in chat" in text
    assert "/#/experiments/0/traces?selectedEvaluationId=tr-" in text
    assert "1.1.0 with their spans" in progress
    _, text, _ = command(server.uri, *ASKED, "--format", "json")
    [explanation] = json.loads(text)["explanations"]
    assert explanation["parts"][1]["causes"][0]["names"] == {"span": "search"}
    _, text, _ = command(server.uri, *ASKED, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert ("latency", "search") in {(it["metric"], it["span"]) for it in rows}
    path = tmp_path / "report.html"
    assert command(server.uri, *ASKED, "--format", "html", "-o", str(path))[0] == 0
    assert "search: +" in path.read_text()


def test_a_version_that_no_trace_has_is_one_line(command: Any, server: Any) -> None:
    status, _, problem = command(server.uri, "--baseline", "1.0.0", "--candidate", "9", "--explain")
    assert status == 2
    assert "no trace has '9' as its app_version" in problem.splitlines()[-1]
    with pytest.raises(CannotCompare):
        compare_versions(baseline="9", tracking_uri=server.uri, explain=True)


HOSTILE = "=cmd|'/c calc'!A1 <script>alert(1)</script>\x1b[31m\u202e[bold]x"


@pytest.fixture(scope="module")
def hostile(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Spans, errors, models and metadata that are attacks."""
    path = tmp_path_factory.mktemp("hostile") / "mlflow.db"
    shutil.copy(empty_store, path)

    def attacked(trace: Known, number: int) -> Known:
        spans = tuple(
            replace(
                it,
                name=HOSTILE,
                exception=it.exception and HOSTILE,
                message=it.message and HOSTILE,
                model=it.model and HOSTILE,
            )
            for it in trace.spans
        )
        where = (("region", HOSTILE if number % 2 else "eu"),)
        return replace(trace, spans=spans, metadata=where)

    rows = [*known("1.0.0", 40), *known("1.1.0", 40, slow=2.0, error=0.9)]
    write(f"sqlite:///{path}", [attacked(it, number) for number, it in enumerate(rows)])
    return explained(f"sqlite:///{path}")


def test_hostile_names_do_nothing_in_html(hostile: Any) -> None:
    page = hostile.as_html()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_hostile_names_do_nothing_in_a_terminal(hostile: Any) -> None:
    text = hostile.as_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]x" in " ".join(text.split())
    assert all(len(line) <= 120 for line in text.splitlines())


def test_hostile_names_are_no_formula_in_csv(hostile: Any) -> None:
    rows = list(csv.reader(io.StringIO(hostile.as_csv())))
    cells = [cell for row in rows for cell in row if "cmd" in cell]
    assert cells
    assert all(cell.startswith("'=") for cell in cells if not cell.startswith(HOSTILE[1]))


def test_hostile_names_are_json(hostile: Any) -> None:
    text = json.dumps(hostile.as_dict())
    assert "\x1b" not in text
    assert json.loads(text)["explanations"]


def test_postgresql_explains_the_same(
    postgresql: str, traces: tuple[list[Known], list[Known]], written: str
) -> None:
    old, new = traces
    write(postgresql, [*old, *new])
    found, expected = explained(postgresql), explained(written)
    for part, same in zip(found.explanations[0].parts, expected.explanations[0].parts, strict=True):
        numbers = [it.test.difference.value for it in part.causes]
        assert numbers == pytest.approx([it.test.difference.value for it in same.causes])
        assert [it.names for it in part.causes] == [it.names for it in same.causes]
        assert [it.calls for it in part.causes] == [it.calls for it in same.causes]
