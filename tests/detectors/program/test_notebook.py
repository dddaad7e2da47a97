"""Which notebook a kernel runs, and which repository it lies in."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from otel_mlflow_context.detectors._sources import code_findings
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.notebook import is_notebook, notebook
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
