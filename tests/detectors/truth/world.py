"""Where a case happens: its folders, repositories and installations, made cheaply.

A repository is a copy of one that git has made once; what a case needs beyond that, it asks git
for. All cases share an environment with the launchers and the distributions of `wheels`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectors.truth.case import Start
from detectors.truth.environment import Environment

REMOTE = "https://github.com/acme/shop.git"
URL = "https://github.com/acme/shop"

PROGRAM = """\
import json, os, sys
from otel_mlflow_context.detectors import detect_resource
{before}
app = application = main = flow = None
def report(facts, file):
    version = None
    if name := os.environ.get("TRUTH_DISTRIBUTION"):
        from importlib.metadata import version as version_of
        version = version_of(name)
    path = os.environ["TRUTH_REPORT"]
    with open(f"{{path}}.{{os.getpid()}}", "w") as file_:
        json.dump({{"facts": facts, "file": file, "version": version}}, file_)
    os.rename(file_.name, path)
    os._exit(0)
report({facts}, os.path.realpath(__file__) if "__file__" in globals() else None)
"""
OF_RESOURCE = "dict(detect_resource().attributes)"
OF_A_SPAN = """\
from opentelemetry.sdk.trace import TracerProvider
from otel_mlflow_context import MlflowContextSpanProcessor
provider = TracerProvider()
provider.add_span_processor(MlflowContextSpanProcessor())
span = provider.get_tracer("truth").start_span("root")
"""


def program(before: str = "", facts: str = OF_RESOURCE) -> str:
    """A program that finds out about itself, reports it to the test, and ends."""
    return PROGRAM.format(before=before, facts=facts)


def traced_program() -> str:
    """One that makes a span processor, as applications do, and reports the root span's facts."""
    return program(OF_A_SPAN, "{'metadata': dict(span.attributes)}")


FILES = {
    "app.py": program(),
    "pkg/__init__.py": "",
    "pkg/__main__.py": program(),
    "pkg/job.py": program(),
    "README": "shop\n",
}
"""What every repository holds, committed."""

_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "Ada"),
        ("EMAIL", "ada@example.com"),
        ("DATE", "2026-01-01T00:00:00Z"),
    )
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@dataclass
class World:
    """The folders of one case, and the environment that it runs in."""

    root: Path
    template: Path
    """A repository with `FILES`."""
    environment: Environment

    def __post_init__(self) -> None:
        self.home = self.root / "home"
        self.home.mkdir()
        self._is_own = False

    @property
    def environ(self) -> dict[str, str]:
        """What every program gets, and nothing of whoever runs the tests."""
        return {
            "PATH": f"{self.environment.bin}{os.pathsep}{os.defpath}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "OTEL_MLFLOW_CONTEXT_SOURCE_TYPE": "kind",
        }

    def own_environment(self) -> Environment:
        """The environment from now on: a copy that the case may change."""
        return self.use(self.environment.copy(self.root / "env"))

    def use(self, environment: Environment) -> Environment:
        """The environment from now on."""
        self.environment = environment
        self._is_own = True
        return environment

    def git(self, folder: Path, *arguments: str, **environ: str) -> str:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=self.environ | _IDENTITY | environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"git {arguments}: {result.stderr}"
        return result.stdout.strip()

    def folder(self, name: str, files: Mapping[str, str] | None = None) -> Path:
        """A folder below `root` that is in no repository."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return write(folder, files or {})

    def repository(self, name: str = "shop") -> Path:
        """A repository with `FILES` in one commit on main, which is pushed to `REMOTE`."""
        folder = self.root / name
        shutil.copytree(self.template, folder, symlinks=True)
        return folder

    def commit(self, folder: Path, files: Mapping[str, str] | None = None) -> str:
        """Commits files, with all that has changed."""
        write(folder, files or {})
        self.git(folder, "add", "--all")
        self.git(folder, "commit", "-q", "--allow-empty", "-m", "more")
        return self.head(folder)

    def head(self, folder: Path) -> str:
        return self.git(folder, "rev-parse", "HEAD")

    def start(
        self,
        *command: str | Path,
        cwd: Path,
        environ: Mapping[str, str | None] | None = None,
        absent: Mapping[str, str] | None = None,
        show: str | None = None,
        dirty_check: bool = False,
        input: str | None = None,  # noqa: A002 - as subprocess has it
        question: Path | None = None,
        **expected: Any,
    ) -> Start:
        """How the case starts its program, and what is expected of facts (see `Start`).

        A variable of the value None is not set.
        """
        variables: dict[str, str | None] = {**self.environ, **(environ or {})}
        if not dirty_check:
            variables.setdefault("OTEL_MLFLOW_CONTEXT_DIRTY", "false")
        return Start(
            tuple(map(str, command)),
            cwd,
            {name: value for name, value in variables.items() if value is not None},
            expected,
            absent or {},
            show,
            self.environment if self._is_own else None,
            input,
            question,
        )


def make_template(folder: Path) -> Path:
    """The repository that all others are copies of."""
    write(folder, FILES)
    for arguments in (
        ("init", "-q", "-b", "main", "--template="),
        ("add", "."),
        ("commit", "-q", "-m", "first"),
        ("remote", "add", "origin", REMOTE),
        ("config", "branch.main.remote", "origin"),
        ("config", "branch.main.merge", "refs/heads/main"),
        ("update-ref", "refs/remotes/origin/main", "HEAD"),
    ):
        subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1"}
            | _IDENTITY,
            check=True,
            capture_output=True,
        )
    return folder
