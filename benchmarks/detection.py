"""What does it cost a process to find out which code it runs?

Ours is measured beside MLflow's own way, GitPython and an empty detector: each in fresh processes
that take turns, as the program `app.py` of a real git repository, with the SDK imported before
the clock starts. Each process times itself; starting Python is not part of any figure.
"""

import importlib.util
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from _processes import clean_environment, measure
from _tables import ratio, table

EMPTY = "empty detector"
GIT = "GitResourceDetector, DIRTY=false"
OURS = "detect_resource(), DIRTY=false"
DIRTY = "detect_resource()"
GITPYTHON = "GitPython: commit, branch, URL"
GITPYTHON_IMPORTED = "GitPython, imported before"
MLFLOW = "MLflow: resolve_env_metadata()"
MLFLOW_IMPORTED = "MLflow, GitPython imported before"
MANY = "detect_resource(), 2,000 variables more"

_FILES = 500

_APP = """
import json
import sys
import time

import opentelemetry.sdk.trace
from opentelemetry.sdk.resources import Resource, ResourceDetector


def ours():
    from otel_mlflow_context import detect_resource

    return detect_resource, lambda resource: resource.attributes.get("vcs.ref.head.revision")


def git_detector():
    from otel_mlflow_context import GitResourceDetector

    detect = GitResourceDetector().detect
    return detect, lambda resource: resource.attributes["vcs.ref.head.revision"]


def mlflow():
    from mlflow.tracing.utils.environment import resolve_env_metadata

    return resolve_env_metadata, lambda metadata: metadata["mlflow.source.git.commit"]


def mlflow_imported():
    import git

    return mlflow()


def gitpython():
    def read():
        import git

        repo = git.Repo(".")
        return repo.head.commit.hexsha, repo.active_branch.name, repo.remotes.origin.url

    return read, lambda facts: facts[0]


def gitpython_imported():
    import git

    return gitpython()


def empty():
    class EmptyDetector(ResourceDetector):
        def detect(self):
            return Resource.get_empty()

    return EmptyDetector().detect, lambda resource: ""


find, commit_of = globals()[sys.argv[1]]()
start = time.perf_counter_ns()
found = find()
print(json.dumps({"ns": time.perf_counter_ns() - start, "commit": commit_of(found)}))
"""


def run(*, quick: bool = False) -> str:
    """Measure, and return the tables."""
    with tempfile.TemporaryDirectory() as folder:
        commit = _make_repository(Path(folder))
        printed = measure(
            {name: ["app.py", function] for name, function in _subjects(quick=quick).items()},
            processes=1 if quick else 9,
            warm_up=not quick,
            environment={name: {"OTEL_MLFLOW_CONTEXT_DIRTY": "false"} for name in (GIT, OURS)},
            folder=Path(folder),
        )
    for name, runs in printed.items():
        if any(run["commit"] != ("" if name == EMPTY else commit) for run in runs):
            raise RuntimeError(f"{name} found another commit than git")
    times = {name: [run["ns"] for run in runs] for name, runs in printed.items()}
    tables = [_cost_table(f"a repository of {_FILES} files", times), *_ratio_tables(times)]
    if importlib.util.find_spec("otel_mlflow_context"):
        tables.append(_container_table(quick=quick))
    return "\n\n".join(tables)


def _container_table(*, quick: bool) -> str:
    """As in a container: a program without `.git`, and no git."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(_APP)
        empty = {"PATH": folder}
        printed = measure(
            {EMPTY: ["app.py", "empty"], DIRTY: ["app.py", "ours"], MANY: ["app.py", "ours"]},
            processes=1 if quick else 9,
            warm_up=not quick,
            environment={
                EMPTY: empty,
                DIRTY: empty,
                MANY: empty | {f"SERVICE_{number}_PORT": "80" for number in range(2_000)},
            },
            folder=Path(folder),
        )
    if any(run["commit"] for runs in printed.values() for run in runs):
        raise RuntimeError("a commit was found where there is none")
    times = {name: [run["ns"] for run in runs] for name, runs in printed.items()}
    return _cost_table("no .git, no git; goal: less than 2 over the empty detector", times)


def _subjects(*, quick: bool) -> dict[str, str]:
    subjects = {
        EMPTY: ("empty", "opentelemetry"),
        GIT: ("git_detector", "otel_mlflow_context"),
        OURS: ("ours", "otel_mlflow_context"),
        DIRTY: ("ours", "otel_mlflow_context"),
        GITPYTHON: ("gitpython", "git"),
        GITPYTHON_IMPORTED: ("gitpython_imported", "git"),
        MLFLOW: ("mlflow", "mlflow"),
        MLFLOW_IMPORTED: ("mlflow_imported", "mlflow"),
    }
    return {
        name: function
        for name, (function, needs) in subjects.items()
        if importlib.util.find_spec(needs) and not (quick and "imported" in name)
    }


def _make_repository(folder: Path) -> str:
    """A clean work tree of some files on branch main, with a remote; its commit."""

    # Without the user's own hooks, signatures and templates.
    environment = clean_environment() | dict.fromkeys(
        ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull
    )
    identity = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.com")

    def git(*arguments):
        ran = subprocess.run(
            ["git", *identity, *arguments],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout.strip()

    (folder / "app.py").write_text(_APP)
    for number in range(_FILES):
        file = folder / f"package_{number % 20}" / f"module_{number}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"NUMBER = {number}\n")
    git("init", "--initial-branch=main")
    git("remote", "add", "origin", "https://github.com/example/assistant.git")
    git("add", ".")
    git("commit", "--message=All of it")
    return git("rev-parse", "HEAD")


def _cost_table(where: str, times) -> str:
    return table(
        f"Facts of the process, milliseconds ({where})",
        ("", "median", "fastest", "slowest"),
        [
            (name, *(f"{ns / 1e6:.2f}" for ns in (statistics.median(all_), min(all_), max(all_))))
            for name, all_ in times.items()
        ],
    )


def _ratio_tables(times) -> list[str]:
    rows = [
        (
            name,
            ratio(times[name], times[OURS]),
            ratio(times[name], times[DIRTY]),
            ">= 20 / DIRTY=false" if name == MLFLOW else "",
        )
        for name in (GITPYTHON, GITPYTHON_IMPORTED, MLFLOW, MLFLOW_IMPORTED)
        if name in times
    ]
    title = "How many times what ours takes: ratio of medians (median of each round's ratio)"
    header = ("", "/ DIRTY=false", "/ with the dirty check", "goal")
    return [table(title, header, rows)] if rows else []
