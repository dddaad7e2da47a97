"""The README's commands and code do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from otel_mlflow_context.semconv import PROCESS_FACTS, REQUEST_FACTS
from otel_mlflow_context.settings import environment_variables

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_its_first_commands_are_targets_that_exist() -> None:
    commands = blocks("sh")[0].split("\n")
    assert commands[:2] == ["make demo", "make test"]
    for command in commands[:2]:
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_quickstart_finds_its_own_traces() -> None:
    result = subprocess.run(
        [sys.executable, "examples/quickstart.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = {
        tuple(line.split()[:3]): [int(number) for number in line.split()[-2:]]
        for line in result.stdout.splitlines()
        if line.startswith("metadata.")
    }
    counts = {" ".join(query): numbers for query, numbers in found.items()}
    assert counts["metadata.`app_version` = '1.0.0'"] == [3, 2]
    assert counts["metadata.`app_version` = '1.1.0'"] == [3, 0]
    assert counts["metadata.`mlflow.trace.session` = 's-1'"] == [4, 1]
    assert counts["metadata.`mlflow.trace.user` = 'grace'"] == [2, 1]
    [by_commit] = [numbers for query, numbers in counts.items() if "git.commit" in query]
    assert by_commit == [6, 2]


@pytest.mark.parametrize("code", blocks("python")[1:])
def test_its_code_runs(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True)


def test_its_queries_run(store: str) -> None:
    subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        env={"MLFLOW_TRACKING_URI": store, "PATH": ""},
        check=True,
        capture_output=True,
    )


def test_its_variables_do_what_it_says() -> None:
    shell = blocks("sh")[2] + (
        f'{sys.executable} -c "from otel_mlflow_context import detect_resource as d; '
        "print(d().attributes['service.name'], d().attributes['service.version'])\""
    )
    result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["qa", "1.1.0"]


def test_its_table_is_the_packages() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| ")]
    for fact in (*PROCESS_FACTS, *REQUEST_FACTS):
        metadata = f"`{fact.metadata}`" if fact.name != "request" else "client request id"
        assert any(line.startswith(f"| {fact.name} |") and metadata in line for line in rows), fact


def test_it_names_every_setting() -> None:
    prefix = "OTEL_MLFLOW_CONTEXT_"
    for name in vars(environment_variables):
        if name.startswith(prefix):
            assert f"| `{name.removeprefix(prefix)}` |" in README
