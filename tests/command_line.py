"""The command `otel-mlflow-context`, in a process that has imported mlflow already."""

from __future__ import annotations

import subprocess

from conftest import ROOT, clean_environment
from preloaded import run_python


def run_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` returns for it, with these variables in a clean environment."""
    environment = clean_environment(PYTHONPATH=str(ROOT), **variables)
    return checked(run_python("-m", "otel_mlflow_context.cli", *arguments, env=environment))


def checked(ran: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran
