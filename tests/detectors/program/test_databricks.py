"""What Databricks' runtime knows of the notebook or job, by a stand-in for its module."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from otel_mlflow_context.detectors._sources import code_findings
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.databricks import git_folder_findings, job_findings
from otel_mlflow_context.detectors.program.notebook import notebook
from otel_mlflow_context.detectors.source import source_attributes

KERNEL = Program(launcher="ipykernel_launcher")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RUNTIME = {"DATABRICKS_RUNTIME_VERSION": "17.3"}
JOB = {"isInJob": True, "jobId": "12", "idInJob": "34"}


def source(environ: dict[str, str]) -> dict[str, str]:
    return source_attributes(notebook(KERNEL, environ, Path("/")), environ)


def name(environ: dict[str, str]) -> str | None:
    return source(environ).get("mlflow.source.name")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what the runtime's own module knows, as MLflow asks it."""

    def set_context(**context: object) -> None:
        module = ModuleType("dbruntime.databricks_repl_context")
        module.get_context = lambda: (  # type: ignore[attr-defined]
            SimpleNamespace(**context) if context else None
        )
        monkeypatch.setitem(sys.modules, "dbruntime", ModuleType("dbruntime"))
        monkeypatch.setitem(sys.modules, "dbruntime.databricks_repl_context", module)

    return set_context


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/Users/jane@example.com/drafts/eval", "drafts/eval"),
        ("/Repos/jane@example.com/shop/eval", "shop/eval"),
        ("/Workspace/Users/jane@example.com/eval", "eval"),
        ("/Shared/eval", "Shared/eval"),
        (None, None),
    ],
)
def test_the_name_is_the_notebook_s_path_without_a_person(
    runtime: Any, path: str | None, expected: str | None
) -> None:
    runtime(notebookPath=path)
    assert name(RUNTIME) == expected


def test_the_commit_is_that_of_the_git_folder(runtime: Any) -> None:
    runtime(
        notebookPath="/Repos/jane@example.com/shop/app/eval",
        mlflowGitRelativePath="app/eval",
        mlflowGitRepoCommit=COMMIT,
        mlflowGitRepoUrl="https://token@github.com/acme/shop.git",
        mlflowGitRepoReference="main",
        mlflowGitRepoReferenceType="branch",
    )
    assert name(RUNTIME) == "app/eval"
    assert [(it.attribute, it.value) for it in git_folder_findings(RUNTIME)] == [
        ("vcs.ref.head.revision", COMMIT),
        ("vcs.ref.head.name", "main"),
        ("vcs.ref.head.type", "branch"),
        ("vcs.repository.url.full", "https://github.com/acme/shop"),
    ]


def test_a_job_of_a_notebook(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime(notebookPath="/Shared/eval", **JOB)
    monkeypatch.setenv(*next(iter(RUNTIME.items())))
    found = code_findings(KERNEL, dirty=False)["deployment.id"]
    assert (found.value, found.source) == ("jobs/12/run/34", "Databricks job")
    assert source(RUNTIME) == {"mlflow.source.type": "JOB", "mlflow.source.name": "Shared/eval"}


@pytest.mark.parametrize(
    "context", [{}, {"jobId": "12"}, {"jobId": "12", "idInJob": None}, {"idInJob": "34"}]
)
def test_a_notebook_that_somebody_runs_has_no_run_of_a_job(
    runtime: Any, context: dict[str, str]
) -> None:
    runtime(notebookPath="/Shared/eval", isInJob=False, **context)
    assert job_findings(RUNTIME) == []
    assert source(RUNTIME)["mlflow.source.type"] == "NOTEBOOK"


def test_a_runtime_that_knows_nothing(runtime: Any) -> None:
    runtime()
    assert name(RUNTIME) is None
    assert git_folder_findings(RUNTIME) == job_findings(RUNTIME) == []


def test_elsewhere_the_runtime_s_module_is_not_even_imported(runtime: Any) -> None:
    runtime(notebookPath="/Shared/eval", mlflowGitRepoCommit=COMMIT, **JOB)
    assert name({}) is None
    assert git_folder_findings({}) == job_findings({}) == []
