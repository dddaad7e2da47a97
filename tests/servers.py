"""Servers for the tests: the real one, and what may stand before it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

SHARED_FOLDER = "TESTS_SHARED_FOLDER"
"""A variable in all processes of a test run: see `shared`."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class MlflowServer:
    """An MLflow server in a process of its own, on a port of its own."""

    def __init__(
        self, folder: Path, store: str, *options: str, environment: dict[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        if "--static-prefix" in options:
            self.uri += options[options.index("--static-prefix") + 1]
        self._log = (folder / "server.log").open("wb")
        self._command = [
            *("-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--backend-store-uri", store),
            *("--artifacts-destination", str(folder / "artifacts"), "--workers", "1"),
            *options,
        ]
        self._environment = {
            **os.environ,
            # Without the catalogue a span that names a model makes the server ask the network.
            "MLFLOW_MODEL_CATALOG_URI": "",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Eight processes and 2 GB, for jobs that no test has.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            **(environment or {}),
        }
        self._process: Any = None

    def start(self) -> None:
        self._process = start_python(self._command, self._environment, self._log)
        for _ in range(1_800):  # a busy machine takes a minute for four workers
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.1)
        self.close()
        raise AssertionError(Path(self._log.name).read_text())

    @property
    def group(self) -> int:
        """The process group of the server and its workers."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._log.close()


def start_python(arguments: list[str], environment: dict[str, str], log: IO[bytes]) -> Any:
    """A process that has a group of its own; in a test run, with mlflow imported already."""
    options: dict[str, Any] = {"env": environment, "stdout": log, "stderr": log}
    if SHARED_FOLDER not in os.environ:
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, start_new_session=True, **options)
    from preloaded import Process

    return Process(arguments, cwd=Path.cwd(), **options)


class PostgreSQL:
    """A PostgreSQL with an empty database, from Debian's package."""

    BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

    def __init__(self) -> None:
        # PostgreSQL does not run as root; its own user cannot enter pytest's folders.
        self._use(Path(tempfile.mkdtemp(prefix="postgresql-")))
        self.port = free_port()
        self.uri = f"postgresql+psycopg2://mlflow@127.0.0.1:{self.port}/postgres"
        if self._as_owner:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-A", "trust", "-U", "mlflow")

    @classmethod
    def at(cls, folder: str) -> PostgreSQL:
        """One that another process has made, to stop it."""
        found = cls.__new__(cls)
        found._use(Path(folder))
        return found

    def _use(self, folder: Path) -> None:
        self._as_owner = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self.folder = folder
        self._data = str(folder / "data")

    def start(self) -> None:
        folder = self.folder
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        )
        self._run("pg_ctl", "-l", str(folder / "log"), "-w", "-o", f"{options} -F", "start")

    def stop(self) -> None:
        """At once, as if its machine had failed."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):  # it is stopped
            self.stop()
        shutil.rmtree(self.folder)

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as_owner, self.BINARIES[-1] / command, "-D", self._data, *arguments],
            check=True,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )


class Front(ThreadingHTTPServer):
    """A proxy before the real server, which may refuse, wait, and count."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = port
        self.uri = f"http://127.0.0.1:{self.server_port}"
        self.answer: Any = lambda method, path: None
        """None: the server's own; else a status, or one with its content."""
        self.answer_late = 0.0
        """Seconds to wait with the server's answer."""
        self.refused: bytes | None = None
        """Spans that have this in them are answered with 400."""
        self.seen: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []

    @classmethod
    @contextlib.contextmanager
    def before(cls, port: int) -> Iterator[Front]:
        """One that serves, before the server at a port."""
        with cls(port) as front:
            thread = threading.Thread(target=front.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            yield front
            front.shutdown()
            thread.join()

    def handle_error(self, *_: object) -> None:
        """A client that has gone away is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Front

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path))
        self.server.headers.append(dict(self.headers))
        status = self.server.answer(self.command, self.path)
        if self.server.refused and self.server.refused in _plain(body):
            status = 400
        if status is not None:
            status, content = status if isinstance(status, tuple) else (status, b"{}")
            content_type = "application/json"
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.behind)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
            content_type = answer.headers["Content-Type"]
            connection.close()
            time.sleep(self.server.answer_late)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
