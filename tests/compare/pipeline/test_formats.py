"""The formats that pipelines show."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from documentation.markdown import ROOT, blocks
from versions import rows_of, write

NASTY = "1.1.0|<b>%,:\n`x`"


@pytest.fixture
def worse(store: str) -> str:
    """A store with a version that fails, is called something nasty, and has no tokens."""
    write(
        store,
        [
            *rows_of("1.0.0", 60, state="OK", tokens=None),
            *rows_of(NASTY, 60, state="ERROR", tokens=None),
        ],
    )
    return store


def test_junit_has_a_case_for_each_metric(command: Any, worse: str, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    status, _, _ = command(
        worse, "--baseline", "1.0.0", "--format", "junit", "-o", str(report), "--fail-on", "worse"
    )
    assert status == 1
    [suite] = ET.parse(report).getroot()
    assert suite.attrib["name"] == f"{NASTY} is worse than 1.0.0"
    assert {it: suite.attrib[it] for it in ("tests", "failures", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "skipped": "1",
    }
    children = {case.attrib["name"]: [it.tag for it in case] for case in suite.iter("testcase")}
    assert children == {
        "errors": ["failure"],
        "latency": ["system-out"],
        "tokens": ["skipped"],
        "cost": ["system-out"],
    }
    [failure] = suite.iter("failure")
    assert failure.attrib["message"].startswith("errors: worse, 100 % instead of 0 %")


def test_junit_has_no_character_that_xml_cannot_have(command: Any, store: str) -> None:
    write(store, [*rows_of("1.0.0", 3), *rows_of("a\x1b\x00b", 3)])
    _, out, _ = command(store, "--baseline", "1.0.0", "--format", "junit")
    assert "a\ufffd" in ET.fromstring(out)[0].attrib["name"]


def test_markdown_shows_values_as_they_are(command: Any, worse: str) -> None:
    _, out, _ = command(worse, "--baseline", "1.0.0", "--format", "markdown")
    lines = out.splitlines()
    assert re.fullmatch(r"### . 1.1.0\\\|\\<b\\>%,: \\`x\\` is worse than 1.0.0", lines[0])
    assert lines[2].startswith("- errors: worse, ")
    cells = [re.split(r"(?<!\\)\|", it) for it in lines if it.startswith("|")]
    assert len(cells) == 4
    assert len({len(it) for it in cells}) == 1


def test_github_gets_annotations_and_a_page(
    command: Any, worse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    status, out, _ = command(worse, "--baseline", "1.0.0", "--format", "github")
    assert status == 0
    [line] = out.splitlines()
    title, message = re.fullmatch(r"::error title=(.*?)::(.*)", line).groups()  # type: ignore[union-attr]
    assert title == "1.1.0|<b>%25%2C%3A%0A`x` is worse than 1.0.0"
    assert message.split("%0A")[0].startswith("errors: worse, 100 %25 instead of 0 %25")
    assert page.read_text().startswith("before\n### ")
    backwards = command(
        worse,
        "--baseline",
        NASTY,
        "--candidate",
        "1.0.0",
        "--format",
        "github",
        "-o",
        str(tmp_path / "it.md"),
    )
    assert backwards[1].startswith("::notice title=1.0.0 is better than ")
    assert (tmp_path / "it.md").read_text().startswith("### ")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert command(worse, "--baseline", "1.0.0", "--format", "github")[1] == out


def test_the_documentations_workflow_runs(server: Any, tmp_path: Path) -> None:
    [workflow] = blocks(ROOT / "docs" / "analysis.md", "yaml")
    _, step = yaml.safe_load(workflow)["jobs"]["compare"]["steps"]
    assert set(step["env"]) == {
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_EXPERIMENT_NAME",
    }
    line = step["run"].replace("--by commit", "").replace("--min-traces 500", "--min-traces 50")
    line = line.replace("${{ vars.BASELINE }}", "1.0.0")
    line = line.replace("${{ github.event.deployment.sha }}", "1.1.0")
    result = subprocess.run(
        ["sh", "-ec", line],
        env={
            "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MLFLOW_TRACKING_URI": server.uri,
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        },
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith("::notice title=1.1.0%3A no evidence either way")
    assert (tmp_path / "summary.md").read_text().startswith("### ")
