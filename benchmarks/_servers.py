"""An MLflow server to measure with."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from _processes import clean_environment
from _tables import progress

_STARTUP_SECONDS = 180
_ENVIRONMENT = {
    # Without the catalogue a span that names a model makes the server ask the network.
    "MLFLOW_MODEL_CATALOG_URI": "",
    # Eight processes for jobs that no benchmark has.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


@contextmanager
def mlflow_server(*options: str, environment: dict[str, str] | None = None):
    """An MLflow server with its default workers, on SQLite in a temporary folder."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        process = start_python(
            [
                *("-m", "mlflow", "server", "--port", str(port)),
                *("--backend-store-uri", f"sqlite:///{Path(folder, 'mlflow.db')}"),
                *("--artifacts-destination", folder, *options),
            ],
            clean_environment() | _ENVIRONMENT | (environment or {}),
        )
        try:
            progress("the server starts")
            deadline = time.monotonic() + _STARTUP_SECONDS
            while not _answers(uri):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("the MLflow server does not start")
                time.sleep(0.2)
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start_python(arguments: list[str], environment: dict[str, str]):
    """A process with a group of its own."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=1):
            return True
    except OSError:
        return False
