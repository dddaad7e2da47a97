"""What the source detector says of a program: a name that anybody may read, and a kind."""

import sys
from pathlib import Path

import pytest

from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.source import SourceResourceDetector, source_attributes


def name(program, **environ):
    return source_attributes(program, environ).get("mlflow.source.name")


def kind(program=Program(), **environ):  # noqa: B008
    return source_attributes(program, environ)["mlflow.source.type"]


def script(path, typed):
    return Program(typed, path.parent, script=path)


def test_an_application_is_named_as_it_was_typed():
    assert name(Program("app.main:app", Path("/srv"), package="app")) == "app.main:app"


@pytest.mark.parametrize("typed", ["main.py", "../app/main.py", "/srv/shop/app/main.py"])
def test_a_script_is_named_by_its_path_in_the_repository(typed, shop):
    assert name(script(shop / "app/main.py", typed)) == "app/main.py"


def test_a_folder_that_python_runs_is_named_by_its_path_in_the_repository(shop):
    program = Program("app", shop / "app", script=shop / "app")

    assert name(program) == "app"


def test_the_top_folder_of_a_repository_is_named_as_it_was_typed(shop):
    assert name(Program("shop/.", shop, script=shop)) == "shop"
    assert name(Program(".", shop, script=shop)) == shop.name


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("jobs/s.py", "jobs/s.py"),
        ("./s.py", "s.py"),
        ("../jane/s.py", "s.py"),
        ("/home/jane/s.py", "s.py"),
    ],
)
def test_outside_a_repository_no_name_tells_whose_folder_it_is(typed, expected, tmp_path):
    assert name(script(tmp_path / "s.py", typed)) == expected


def test_a_broken_repository_counts_as_none(tmp_path):
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")

    assert name(script(tmp_path / "s.py", "s.py")) == "s.py"


def test_a_name_is_cleaned():
    assert name(Program("app:app\n")) == "app:app"


@pytest.mark.parametrize("typed", [None, "", "\n"])
def test_what_has_no_name_gets_none(typed):
    assert "mlflow.source.name" not in source_attributes(Program(typed), {})


def test_a_plain_program_is_local():
    assert kind() == "LOCAL"


def test_a_databricks_job_is_a_job():
    assert kind(DB_IS_JOB_CLUSTER="TRUE") == "JOB"
    assert kind(DB_IS_JOB_CLUSTER="FALSE") == "LOCAL"


def test_a_kernel_is_a_notebook_before_it_has_loaded_anything():
    assert kind(Program(launcher="ipykernel_launcher")) == "NOTEBOOK"


def test_the_detector_speaks_of_this_process(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "uvicorn", "app.main:app"])

    assert dict(SourceResourceDetector().detect().attributes) == {
        "mlflow.source.name": "app.main:app",
        "mlflow.source.type": "LOCAL",
    }
