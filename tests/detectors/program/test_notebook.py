"""Which notebook a kernel runs, and which repository it lies in."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from otel_mlflow_context.detectors._sources import code_findings
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.notebook import is_notebook, notebook, notebook_findings
from otel_mlflow_context.detectors.source import source_attributes

KERNEL = Program(launcher="ipykernel_launcher")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def name(cwd=Path("/"), **environ):
    program = notebook(KERNEL, environ, cwd)
    return source_attributes(program, environ).get("mlflow.source.name")


def test_a_kernel_is_a_notebook_before_it_has_loaded_anything():
    assert is_notebook(KERNEL)


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        (SimpleNamespace(kernel=object()), True),
        (SimpleNamespace(), False),  # ipython in a terminal
        (None, False),  # somebody imported IPython
    ],
)
def test_an_ipython_with_a_kernel_is_a_notebook(shell, expected, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

    assert is_notebook(Program()) is expected


def test_an_ipython_that_is_half_imported_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())

    assert not is_notebook(Program())


def test_a_script_that_a_notebook_starts_is_not_the_notebook():
    assert not is_notebook(Program("pkg.job", package="pkg"))


def test_jupyter_says_which_notebook_it_is_wherever_the_kernel_was_started(git, shop, tmp_path):
    file = shop / "app" / "eval.ipynb"

    program = notebook(KERNEL, {"JPY_SESSION_NAME": str(file)}, tmp_path)

    assert (program.directory, program.script) == (file.parent, file)
    assert name(tmp_path, JPY_SESSION_NAME=str(file)) == "app/eval.ipynb"
    found = code_findings(program, dirty=False)
    assert found["vcs.ref.head.revision"].value == git(shop, "rev-parse", "HEAD")


def test_an_older_jupyter_says_it_from_its_own_folder(shop):
    assert name(shop / "app", JPY_SESSION_NAME="shop/app/eval.ipynb") == "eval.ipynb"
    program = notebook(KERNEL, {"JPY_SESSION_NAME": "shop/app/eval.ipynb"}, shop / "app")
    assert program.directory == shop / "app"


def test_vs_code_says_which_notebook_it_is(shop, tmp_path, monkeypatch):
    main = ModuleType("__main__")
    main.__vsc_ipynb_file__ = str(shop / "app" / "eval.ipynb")
    monkeypatch.setitem(sys.modules, "__main__", main)

    assert name(tmp_path) == "app/eval.ipynb"
    assert notebook(KERNEL, {}, tmp_path).directory == shop / "app"


@pytest.mark.parametrize("session", ["", " ", "\0", "Console 1", "/home/jane/console-1-2f5c"])
def test_a_kernel_that_runs_no_known_notebook_has_no_name(session, tmp_path):
    assert name(tmp_path, JPY_SESSION_NAME=session) is None
    assert notebook(KERNEL, {"JPY_SESSION_NAME": session}, tmp_path).directory == tmp_path


@pytest.fixture
def databricks(monkeypatch):
    """The runtime's own module, as MLflow uses it (mlflow/utils/databricks_utils.py)."""

    def say(**context):
        module = ModuleType("dbruntime.databricks_repl_context")
        module.get_context = lambda: SimpleNamespace(**context) if context else None
        monkeypatch.setitem(sys.modules, "dbruntime", ModuleType("dbruntime"))
        monkeypatch.setitem(sys.modules, "dbruntime.databricks_repl_context", module)

    return say


RUNTIME = {"DATABRICKS_RUNTIME_VERSION": "17.3"}


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
def test_databricks_says_the_path_and_nobody_s_name(databricks, path, expected):
    databricks(notebookPath=path)

    assert name(**RUNTIME) == expected


def test_databricks_says_the_commit_of_a_git_folder(databricks):
    databricks(
        notebookPath="/Repos/jane@example.com/shop/app/eval",
        mlflowGitRelativePath="app/eval",
        mlflowGitRepoCommit=COMMIT,
        mlflowGitRepoUrl="https://token@github.com/acme/shop.git",
        mlflowGitRepoReference="main",
        mlflowGitRepoReferenceType="branch",
    )

    assert name(**RUNTIME) == "app/eval"
    assert [(it.attribute, it.value) for it in notebook_findings(RUNTIME)] == [
        ("vcs.ref.head.revision", COMMIT),
        ("vcs.ref.head.name", "main"),
        ("vcs.ref.head.type", "branch"),
        ("vcs.repository.url.full", "https://github.com/acme/shop"),
    ]


def test_databricks_without_a_notebook(databricks):
    databricks()

    assert name(**RUNTIME) is None
    assert notebook_findings(RUNTIME) == []


def test_elsewhere_the_runtime_s_module_is_not_even_imported(databricks):
    databricks(notebookPath="/Shared/eval", mlflowGitRepoCommit=COMMIT)

    assert name() is None
    assert notebook_findings({}) == []
