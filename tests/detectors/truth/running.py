"""Starts the program of a case in a process of its own, and asks `show` about the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from detectors.truth.case import FACTS, Start
from detectors.truth.environment import Environment

_SECONDS = 60
_OF_METADATA = {
    "commit": "mlflow.source.git.commit",
    "branch": "mlflow.source.git.branch",
    "url": "mlflow.source.git.repoURL",
    "dirty": "mlflow.source.git.dirty",
    "change": "change_id",
    "name": "mlflow.source.name",
    "type": "mlflow.source.type",
    "version": "app_version",
    "environment": "environment",
    "deployment": "deployment_id",
    "service": "service_name",
    "region": "region",
}
"""The trace metadata that a fact is in; a tag is in none."""
_TRUTH = {"true": True, "false": False}


def run(start: Start, folder: Path) -> dict[str, Any]:
    """What the program reports: its file, and its facts by the names of `FACTS`."""
    path = folder / "report.json"
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            start.command,
            cwd=start.cwd,
            env={**start.environ, "TRUTH_REPORT": str(path)},
            stdin=subprocess.PIPE if start.input else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        if start.input:
            with process.stdin as pipe:
                pipe.write(start.input.encode())
        try:
            _wait(process, path)
        finally:
            # Servers and their workers run on.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        assert path.exists(), f"{start.command} reports nothing:\n{output.read()}"
    report = json.loads(path.read_text())
    found = report["facts"]
    if "metadata" in found:
        return report | {"facts": _of_metadata(found["metadata"])}
    return report | {"facts": {fact: found.get(name) for fact, name in FACTS.items()}}


def _wait(process: subprocess.Popen[bytes], report: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    is_running = True
    while not report.exists() and is_running and time.monotonic() < deadline:
        is_running = process.poll() is None
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    if not is_running:
        time.sleep(0.05 if process.returncode else 0)


def _of_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    values = {fact: metadata.get(name) for fact, name in _OF_METADATA.items()}
    return values | {"dirty": _TRUTH.get(values["dirty"], values["dirty"])}


class ShowHost:
    """`otel-mlflow-context show`, in a new process each time: see `show_host`."""

    def __init__(self, environment: Environment) -> None:
        self._process = subprocess.Popen(
            [environment.python, Path(__file__).with_name("show_host.py")],
            env={"PATH": os.defpath, "OTEL_MLFLOW_CONTEXT_DIRTY": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(_SECONDS)

    def __call__(self, start: Start) -> dict[str, Any]:
        """What it shows for the command of a case, by the names of `FACTS`."""
        request = {
            "cwd": str(start.cwd),
            "environ": dict(start.environ),
            "command": start.command,
            "environment": start.environment
            and {
                "folder": str(start.environment.folder),
                "python": str(start.environment.python),
                "site_packages": str(start.environment.site_packages),
            },
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return _shown(json.loads(self._process.stdout.readline()))


def _shown(text: str) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except json.JSONDecodeError:
        raise AssertionError(f"show does not answer: {text}") from None
    return _of_metadata({fact["metadata"]: fact["value"] for fact in description["facts"]})
