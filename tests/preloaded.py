"""Programs in copies of a process that has imported mlflow already: its import takes seconds.

A program runs as `python program ...` would run it, in a process of its own that is forked from
the one that this file is when it is started. That of ``mlflow server`` becomes its server.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import queue
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any
from unittest import mock

from shared import keep, shared

_STATUS = struct.Struct("i")
_NOT_SHARED = re.compile(r"(otel_mlflow_context|mlflow\.server)\b")
# What MLflow imports when it makes its first trace, and stores it; and when it logs in.
_IMPORTED = (
    *("IPython", "alembic.command", "git", "mlflow.pyfunc", "sqlalchemy.dialects.sqlite"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.tracing.trace_manager"),
    *("mlflow.tracing.export.mlflow_v3", "mlflow.tracing.processor.mlflow_v3"),
    *("opentelemetry.instrumentation.instrumentor", "databricks.sdk.core"),
)
_PROGRAM = """
import sys
socket, sys.path[0] = sys.argv[1:]
import preloaded
preloaded.run(preloaded.serve(socket))
preloaded.end()
"""


class Process:
    """A program that was started: its process id, and its exit status as `subprocess` has it."""

    def __init__(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        env: dict[str, str],
        stdout: IO[bytes],
        stderr: IO[bytes],
    ) -> None:
        """Start `python` with arguments: a program's file, or ``-m`` or ``-c`` and what it runs."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(shared("preloaded", _start).socket))
        message = json.dumps([arguments, str(cwd), env]).encode()
        self._socket.sendall(struct.pack("Q", len(message)) + message)
        files = [stdout.fileno(), stderr.fileno()]
        socket.send_fds(self._socket, [b"f"], files)
        [self.pid] = _STATUS.unpack(self._received())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self._socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            return self._status()
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._socket.settimeout(timeout)
        try:
            return self._status()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(self.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired("python", timeout or 0) from None

    def _status(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(_STATUS.unpack(self._received())[0])
            self._socket.close()
        return self.returncode

    def _received(self) -> bytes:
        found = self._socket.recv(_STATUS.size)
        assert len(found) == _STATUS.size, "the preloaded process has ended"
        return found


def run_python(
    *arguments: str, env: dict[str, str], cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` returns for ``python`` with arguments."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        cwd = cwd or Path.cwd()
        process = Process(list(arguments), cwd=cwd, env=env, stdout=stdout, stderr=stderr)
        status = process.wait(timeout)
        for file in (stdout, stderr):
            file.seek(0)
        output, errors = stdout.read().decode(), stderr.read().decode()
        return subprocess.CompletedProcess(arguments, status, output, errors)


def _start(folder: Path) -> dict[str, Any]:
    path = folder / "socket"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, path, Path(__file__).parent],
            env={"PATH": os.environ["PATH"], "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    keep(process)
    while not path.exists():
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.05)
    return {"socket": str(path), "group": process.pid}


# --- The process that is forked -------------------------------------------------------------------


def serve(path: str) -> list[str]:
    """Fork a process for each program; in that one, return the program's arguments."""
    import mlflow.server.fastapi_app

    for module in _IMPORTED:
        importlib.import_module(module)
    mlflow.tracing.export.async_export_queue.Queue = _Queue

    # A program imports these itself: they know which program it is, and what its environment says.
    for name in [it for it in sys.modules if _NOT_SHARED.match(it)]:
        del sys.modules[name]
    del mlflow.server
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{path}.new")
    server.listen(64)
    Path(f"{path}.new").rename(path)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _fork(connection)
        connection.close()


class _Queue(queue.Queue[Any]):
    """Waits less long for a trace to export than MLflow does: a second, which each flush takes."""

    def get(self, *arguments: Any, **options: Any) -> Any:
        if options == {"timeout": 1}:
            options = {"timeout": 0.02}
        return super().get(*arguments, **options)


def _fork(connection: socket.socket) -> list[str]:
    """Send the process id of a program, and its status when it has ended."""
    [length] = struct.unpack("Q", connection.recv(8, socket.MSG_WAITALL))
    message = connection.recv(length, socket.MSG_WAITALL)
    _, (stdout, stderr), _, _ = socket.recv_fds(connection, 1, 2)
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # nobody waits for it
            connection.sendall(_STATUS.pack(pid))
            connection.sendall(_STATUS.pack(os.waitpid(pid, 0)[1]))
        os._exit(0)
    connection.close()
    os.setsid()
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    arguments, cwd, env = json.loads(message)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    return arguments


def run(arguments: list[str]) -> None:
    """Run a program as ``python`` does, in the module ``__main__`` of the process."""
    if arguments[:3] == ["-m", "mlflow", "server"]:
        arguments = _server(arguments)
    sys.orig_argv[:] = [sys.executable, *arguments]
    sys.path[:1] = ["", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"]
    if arguments[0] == "-c":
        _, code, *more = arguments
        sys.argv = ["-c", *more]
        exec(code, main.__dict__)
        return
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).parent.resolve())
    main.__file__ = str(Path(arguments[0]).resolve())
    code = compile(Path(arguments[0]).read_text(), main.__file__, "exec")
    exec(code, main.__dict__)


def end() -> None:
    """End the process as Python does, but for freeing all that is loaded: that takes 0.2 s."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(0)


def _server(arguments: list[str]) -> list[str]:
    """The arguments of the server that a command of MLflow's starts; its environment is set.

    The command runs in a fork: it prepares the database, and would wait for the server then.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)

        class Popen(subprocess.Popen[Any]):
            def __init__(self, command: Any, **options: Any) -> None:
                if "uvicorn" in command:
                    os.write(writing, json.dumps([command, options["env"]]).encode())
                    os._exit(0)
                super().__init__(command, **options)

        sys.argv = arguments[1:]
        with mock.patch("subprocess.Popen", Popen):
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        message = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not message:
        sys.exit(os.waitstatus_to_exitcode(status))
    (_, *command), environment = json.loads(message)
    os.environ.update(environment)
    import uvicorn._subprocess

    # Workers are forked as well.
    uvicorn._subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]
    return command
