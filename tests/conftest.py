"""Real things for the tests: git repositories, programs in their own processes, MLflow stores."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import hypothesis
import preloaded
import pytest
from server_fixtures import (
    any_server,
    experiment,
    front,
    own_server,
    postgresql,
    recorded,
    server,
    shared_postgresql_server,
    shared_server,
    traces,
)
from shared import begin, end, shared

__all__ = [
    "any_server",
    "experiment",
    "front",
    "own_server",
    "postgresql",
    "recorded",
    "server",
    "shared_postgresql_server",
    "shared_server",
    "traces",
]

ROOT = Path(__file__).parent.parent

# The same examples in each run, so that a change is what makes a test fail. A run by hand with
# FUZZ_EXAMPLES looks at others each time.
hypothesis.settings.register_profile(
    "tests", derandomize="FUZZ_EXAMPLES" not in os.environ, deadline=None
)
hypothesis.settings.load_profile("tests")

# Programs that a test starts.
collect_ignore = ["propagators/services"]

# A process gets this much of our environment and nothing else, so that no variable of the machine
# that runs the tests (CI=true, OTEL_..., MLFLOW_...) changes what a program finds.
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")

# No program prints or reports the value of one.
_SECRETS = {
    *("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET"),
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
}

_GIT_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": str(ROOT / "no such file"),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


# The longest files, to be begun first: those that mostly wait, for servers and for time to pass,
# and those that mostly compute, by turns, so that there is always something of each to do.
_WAITING = (
    *("exporter/test_faults", "exporter/test_lost_nothing", "sdk/test_versions"),
    *("exporter/test_versions", "exporter/test_hostile_server", "server/test_conformance"),
    *("http/test_databricks", "sdk/test_databricks", "exporter/test_declarative"),
    *("mlflow_client/test_backfill", "exporter/test_ui", "exporter/test_server"),
    *("propagators/test_services", "sdk/test_paths", "server/test_ownership"),
)
_COMPUTING = (
    *("server/test_chaos", "server/test_attacks", "cli/test_verify", "server/test_plugin"),
    *("exporter/test_attacks", "compare/test_command", "quality/test_assessments"),
    *("documentation/test_readme", "explain/test_sources", "cli/test_stamp"),
    *("compare/test_numbers", "documentation/test_examples", "history/test_numbers"),
    *("models/test_log", "sdk/test_lifecycle"),
)
_PLACES = {name: place for names in (_WAITING, _COMPUTING) for place, name in enumerate(names)}


def pytest_configure(config: pytest.Config) -> None:
    # What is imported from here on stays: a tenth of a collection, and of many a test, would be
    # looking for garbage in it.
    gc.disable()
    if not hasattr(config, "workerinput"):  # pytest-xdist's, of the processes that it starts
        begin()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no worker has one of them left when all others end."""
    items.sort(key=lambda it: _PLACES.get(f"{it.path.parent.name}/{it.path.stem}", len(_PLACES)))


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Nothing is known of the process, nor of its settings, that another test has left there."""
    from otel_mlflow_context import settings
    from otel_mlflow_context.detectors import _process

    for forget in (settings.forget, _process.forget):
        forget()
    yield
    for forget in (settings.forget, _process.forget):
        forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Lone surrogates, which some tests log, do not pass from a process of the tests to another."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=clean_environment(**_GIT_ENVIRONMENT),
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip()


def track(folder: Path, file: str) -> None:
    """Makes git track a file and see no change in it, with no new commit."""
    git(folder, "add", "--intent-to-add", file)
    git(folder, "update-index", "--assume-unchanged", file)


def clean_environment(**more: str) -> dict[str, str]:
    """What is kept of our environment, and more."""
    return {key: os.environ[key] for key in _KEPT if key in os.environ} | more


@pytest.fixture(scope="session")
def _new_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository") / "app"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", "--template=")
    git(folder, "remote", "add", "origin", "https://user:secret@github.com/acme/app.git")
    (folder / "README").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


@pytest.fixture
def repository(_new_repository: Path, tmp_path: Path) -> Path:
    """A git repository with one commit on `main`, and a remote: a copy of one that git has made."""
    return shutil.copytree(_new_repository, tmp_path / "app")


@pytest.fixture
def commit(repository: Path) -> str:
    """The repository's commit, from git."""
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture(scope="session")
def empty_store() -> Path:
    """An MLflow store in SQLite, made once: its migrations take seconds."""

    def make(folder: Path) -> dict[str, str]:
        subprocess.run(
            [sys.executable, "-c", "import mlflow; mlflow.search_experiments()"],
            env=clean_environment(MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}"),
            check=True,
            capture_output=True,
        )
        return {"path": str(folder / "mlflow.db")}

    return Path(shared("empty-store", make).path)


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    """The tracking URI of an empty MLflow store."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    return f"sqlite:///{path}"


Run = Callable[..., Any]


def _runs(repository: Path, start: Callable[..., Any]) -> Run:
    """Runs a program that git tracks in a process of its own, as `python app.py` in the repository.

    It returns what the program hands to `report`, and fails with the program's stderr.
    """

    def run(
        code: str, *, environment: dict[str, str] | None = None, folder: Path = repository
    ) -> Any:
        report = folder.parent / "report.json"
        prelude = (
            f"import json, os\ndef report(it): open({str(report)!r}, 'w').write(json.dumps(it))\n"
        )
        (folder / "app.py").write_text(prelude + textwrap.dedent(code))
        if (folder / ".git").exists():
            track(folder, "app.py")
        env = clean_environment(PYTHONPATH=str(ROOT), **(environment or {}))
        with (folder.parent / "stdout").open("wb") as stdout, TemporaryFile() as stderr:
            process = start(["app.py"], cwd=folder, env=env, stdout=stdout, stderr=stderr)
            status = process.wait(120)
            stderr.seek(0)
            errors = stderr.read().decode()
        assert status == 0, errors
        printed = (folder.parent / "stdout").read_text() + errors + report.read_text()
        for name in _SECRETS & env.keys():
            assert not env[name] or env[name] not in printed, f"{name} is printed"
        return json.loads(report.read_text())

    return run


@pytest.fixture
def run(run_anew: Run) -> Run:
    """Runs programs. Where all import mlflow, as `run_with_mlflow`."""
    return run_anew


@pytest.fixture
def run_anew(repository: Path) -> Run:
    """Runs programs, each in a new process."""
    return _runs(
        repository,
        lambda arguments, **options: subprocess.Popen([sys.executable, *arguments], **options),
    )


@pytest.fixture
def run_with_mlflow(repository: Path) -> Run:
    """The same, in processes that have imported mlflow already: that takes seconds."""
    return _runs(repository, preloaded.Process)
