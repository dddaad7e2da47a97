"""Context managers that run an MLflow server and other processes for the examples."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRIPTS = Path(sysconfig.get_path("scripts"))


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    uri = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        # Without a model catalog and telemetry the server makes no network requests.
        "MLFLOW_MODEL_CATALOG_URI": "",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Eight processes and 2 GB, for jobs that no example has.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = folder / "mlflow.log"
    with running(command, environment, log, ready=f"{uri}/health", stop=signal.SIGTERM):
        yield uri


@contextmanager
def running(
    command: list[str],
    environment: dict[str, str],
    log: Path,
    *,
    ready: str,
    stop: signal.Signals = signal.SIGTERM,
    folder: Path | None = None,
) -> Iterator[None]:
    """Run a process: wait until `ready` answers, and stop it with the signal `stop` at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a process group, with its workers
        )
    try:
        wait_for(ready, process, log)
        yield
    finally:
        with suppress(ProcessLookupError):  # already ended
            os.killpg(process.pid, stop)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
