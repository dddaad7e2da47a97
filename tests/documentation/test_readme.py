"""The README's commands and code work, and its numbers are the package's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from conftest import git
from documentation.markdown import README, ROOT, block, blocks

from otel_mlflow_context.detectors.platforms import PLATFORMS


def test_its_first_commands_are_targets_that_exist() -> None:
    commands = block(README, "sh", "make").split("\n")
    assert commands[:2] == ["make demo", "make test"]
    for command in commands[:2]:
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_quickstart_finds_its_own_traces(repository: Path) -> None:
    shutil.copy(ROOT / "examples" / "quickstart.py", repository)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "quickstart")
    result = subprocess.run(
        [sys.executable, "quickstart.py"],
        cwd=repository,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
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


@pytest.mark.parametrize("code", blocks(README, "python")[1:])
def test_its_code_runs(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True)


def test_its_queries_run(store: str) -> None:
    subprocess.run(
        [sys.executable, "-c", blocks(README, "python")[0]],
        env={"MLFLOW_TRACKING_URI": store, "PATH": ""},
        check=True,
        capture_output=True,
    )


def test_its_variables_do_what_it_says() -> None:
    shell = block(README, "sh", "export OTEL_SERVICE_NAME") + (
        f'{sys.executable} -c "from otel_mlflow_context import detect_resource as d; '
        "print(d().attributes['service.name'], d().attributes['service.version'])\""
    )
    result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["qa", "1.1.0"]


def test_its_number_of_platforms_is_the_tables() -> None:
    [number] = re.findall(r"(\d+) CI systems and hosting platforms", README.read_text())
    assert int(number) == len(PLATFORMS)


def test_its_extras_are_those_that_users_install() -> None:
    extras = set(re.findall(r"`pip install '\.\[(\w+)\]'`", README.read_text()))
    assert extras == {"otlp", "databricks", "compare", "openfeature"}


def test_its_commands_lead_from_an_application_to_a_verdict(
    server: Any, experiment: str, repository: Path
) -> None:
    (repository / "app.py").write_text(
        "from opentelemetry import trace\n"
        "with trace.get_tracer('app').start_as_current_span('answer'):\n"
        "    pass\n"
    )
    application = block(README, "sh", "OTEL_TRACES_EXPORTER=mlflow")
    show, verify = block(README, "sh", "otel-mlflow-context show").splitlines()
    compare = block(README, "sh", "otel-mlflow-context compare")

    def run(command: str, version: str) -> str:
        command = command.replace("http://localhost:5000", server.uri)
        return subprocess.run(
            ["sh", "-ec", command.replace("EXPERIMENT_NAME=qa", f"EXPERIMENT_NAME='{experiment}'")],
            cwd=repository,
            env={
                "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "APP_VERSION": version,
                "MLFLOW_TRACKING_URI": server.uri,
                "MLFLOW_EXPERIMENT_NAME": experiment,
            },
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    for version in ("1.0.0", "1.1.0"):
        run(application, version)
    assert re.search(r"^entry point +app\.main:app ", run(show, "1.0.0"), re.MULTILINE)
    assert re.search(r"\bapp_version\b.*\b1\.1\.0$", run(verify, "1.1.0"), re.MULTILINE)
    # The application's trace, and the one of `verify`.
    assert re.search(r"^1\.1\.0 +2\b", run(compare, ""), re.MULTILINE)
