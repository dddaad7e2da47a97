"""`otel-mlflow-context show`: every fact, and who says so, of a program that is not started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from conftest import ROOT

from otel_mlflow_context.semconv import PROCESS_FACTS

PLAIN = """
import sys
for name in ("rich", "click", "mlflow", "requests", "pandas"):
    sys.modules[name] = None  # as if it were not installed
from otel_mlflow_context.cli import main
sys.exit(main())
"""


def show(folder: Path, *arguments: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PLAIN, "show", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def facts(folder: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    described = json.loads(show(folder, "--json", *arguments, **environment))
    return {fact["name"]: fact for fact in described["facts"]}


def test_each_fact_has_its_value_and_its_source(repository: Path, commit: str) -> None:
    found = facts(
        repository,
        *("--", "uvicorn", "app.main:app", "--port", "80"),
        APP_VERSION="1.10",
        OTEL_SERVICE_NAME="qa",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=production",
    )
    assert {name: (fact["value"], fact["source"]) for name, fact in found.items()} == {
        "commit": (commit, ".git/HEAD of app/"),
        "branch": ("main", ".git/HEAD of app/"),
        "repository": ("https://github.com/acme/app", ".git/config of app/"),
        "uncommitted changes": ("false", "git status"),
        "change": (None, None),
        "entry point": ("app.main:app", "command line"),
        "kind of run": ("production", "the environment's name (setting SOURCE_TYPE)"),
        "version": ("1.10", "APP_VERSION"),
        "environment": ("production", "OTEL_RESOURCE_ATTRIBUTES"),
        "deployment": (None, None),
        "region": (None, None),
        "service": ("qa", "OTEL_SERVICE_NAME"),
        "logged model": (None, None),
    }
    assert all(fact["hint"] for fact in found.values() if fact["value"] is None)


def test_it_says_what_a_traces_metadata_will_be(repository: Path, run: Any) -> None:
    environment = {"APP_VERSION": "1.10", "APP_ENVIRONMENT": "staging", "REGION": "eu-west-1"}
    attributes = run(
        """
from opentelemetry.sdk.trace import TracerProvider
from otel_mlflow_context import MlflowContextSpanProcessor
provider = TracerProvider()
provider.add_span_processor(MlflowContextSpanProcessor())
report(dict(provider.get_tracer("t").start_span("root").attributes))
""",
        environment=environment,
    )
    found = facts(repository, "--", "python", "app.py", **environment)
    shown = {it["metadata"]: it["value"] for it in found.values() if it["value"] is not None}
    assert shown == attributes


def test_what_does_not_count_is_shown_beside_what_does(repository: Path) -> None:
    found = facts(
        repository,
        APP_VERSION="1.10",
        OTEL_RESOURCE_ATTRIBUTES="service.version=2.0,vcs.ref.head.name=release",
    )
    assert found["version"]["value"] == "2.0"
    assert found["version"]["preferred_to"] == [{"value": "1.10", "source": "APP_VERSION"}]
    assert found["branch"]["preferred_to"] == [{"value": "main", "source": ".git/HEAD of app/"}]


def test_without_a_repository_the_build_stamp_speaks(repository: Path, commit: str) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "APP_VERSION": "1.2.0"}
    subprocess.run(
        [sys.executable, "-m", "otel_mlflow_context.cli", "stamp"],
        cwd=repository,
        env=environment,
        check=True,
        capture_output=True,
    )
    (repository / ".git").rename(repository.parent / "elsewhere")
    (repository / "job.py").touch()
    found = facts(repository, "--", "python", "job.py")
    assert found["commit"]["value"] == commit
    assert found["commit"]["source"].startswith("build stamp of 20")
    assert found["version"]["value"] == "1.2.0"


def test_people_read_a_table(repository: Path, commit: str) -> None:
    lines = show(repository, APP_VERSION="1.10").splitlines()
    assert lines[0].split(maxsplit=2) == ["commit", commit, ".git/HEAD of app/"]
    absent = lines[lines.index("not known:") :]
    assert any("set APP_ENVIRONMENT=production" in line for line in absent)


def test_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise SystemExit('started')")
    assert facts(tmp_path, "--", sys.executable, "app.py")["entry point"]["value"] == "app.py"


def test_every_fact_has_a_hint() -> None:
    from otel_mlflow_context.cli.show import description as module

    assert set(module._HINTS) == {fact.source for fact in PROCESS_FACTS}


def test_its_help_says_what_it_does() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "otel_mlflow_context.cli", "show", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[--json] [-- COMMAND ...]" in result.stdout
    assert "The program is not started." in " ".join(result.stdout.split())
