"""A program of the tests that starts with mlflow imported is as one that does not."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from preloaded import Process

PROGRAM = """
import os, sys, threading
import mlflow
from otel_mlflow_context import detect_resource

variables = {key: it for key, it in os.environ.items() if not key.startswith("_MLFLOW_TELEMETRY")}
report([
    sys.argv, sys.orig_argv[1:], sorted(set(sys.path)), os.getcwd(), variables, __file__, __name__,
    dict(detect_resource().attributes), threading.active_count(), os.getsid(0) == os.getpid(),
])
"""


def test_it_sees_the_same(run: Any, run_with_mlflow: Any) -> None:
    *plain, _, _ = run(PROGRAM)
    *preloaded, threads, has_own_group = run_with_mlflow(PROGRAM)
    assert preloaded == plain
    assert (threads, has_own_group) == (1, True)


def test_its_failure_is_reported(run_with_mlflow: Any) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_with_mlflow("1 / 0")
    with pytest.raises(AssertionError, match="so it is"):
        run_with_mlflow("import sys; sys.exit('so it is')")


def test_what_it_leaves_at_its_end_is_done(run_with_mlflow: Any) -> None:
    assert run_with_mlflow("import atexit; report(0); atexit.register(report, 1)") == 1


def test_its_end_waits_for_its_threads(run_with_mlflow: Any) -> None:
    program = """
    import threading, time
    threading.Thread(target=lambda: time.sleep(0.2) or report(1)).start()
    report(0)
    """
    assert run_with_mlflow(program) == 1


def test_no_two_have_the_same_random_numbers(run_with_mlflow: Any) -> None:
    program = "import random; report([random.random()])"
    assert run_with_mlflow(program) != run_with_mlflow(program)


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import time; time.sleep(60)")
    with (tmp_path / "log").open("wb") as log:
        process = Process(["app.py"], cwd=tmp_path, env={}, stdout=log, stderr=log)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
    assert process.wait(10) == -signal.SIGKILL
