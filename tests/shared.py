"""What all processes of a test run share: the first that asks makes it, the last ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from servers import SHARED_FOLDER, MlflowServer, PostgreSQL

_kept: list[Any] = []


class Shared(SimpleNamespace):
    """What is known of a thing that is shared."""

    __hash__ = object.__hash__


def begin() -> None:
    """In the process that starts all others."""
    os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="tests-shared-")


def end() -> None:
    """In the same process, when all others have ended."""
    folder = Path(os.environ.pop(SHARED_FOLDER))
    for file in folder.glob("*.json"):
        made = json.loads(file.read_text())
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            if "group" in made:
                os.killpg(made["group"], signal.SIGKILL)
            if "postgresql" in made:
                PostgreSQL.at(made["postgresql"]).close()
    shutil.rmtree(folder)


def keep(process: Any) -> None:
    """Keep a process that is started: it must not be collected while it runs."""
    _kept.append(process)


def shared(name: str, make: Callable[[Path], dict[str, Any]]) -> Shared:
    """What `make` returned (values of JSON), which is called once, with a folder that stays."""
    path = Path(os.environ[SHARED_FOLDER])
    with (path / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = path / f"{name}.json"
        if not file.exists():
            (path / name).mkdir(exist_ok=True)
            file.write_text(json.dumps(make(path / name)))
        return Shared(**json.loads(file.read_text()))


def shared_mlflow_server(
    name: str, store: str | Path, *options: str, environment: dict[str, str] | None = None
) -> Shared:
    """An MLflow server that all processes use: its `uri`, `port` and process `group`.

    Args:
        name: of the server.
        store: the URI of its store, or a SQLite file to copy.
        options: of ``mlflow server``.
        environment: more variables of it.
    """

    def make(folder: Path) -> dict[str, Any]:
        uri = str(store)
        if isinstance(store, Path):
            shutil.copy(store, folder / "mlflow.db")
            uri = f"sqlite:///{folder / 'mlflow.db'}"
        server = MlflowServer(folder, uri, *options, environment=environment)
        server.start()
        keep(server)
        return {"uri": server.uri, "port": server.port, "group": server.group}

    return shared(name, make)


def shared_store(name: str, empty: Path, write: Callable[[str], None]) -> str:
    """The URI of a store in SQLite that all processes read.

    Args:
        name: of the store.
        empty: a SQLite file with MLflow's tables.
        write: called with the URI, writes what is in it.
    """

    def make(folder: Path) -> dict[str, Any]:
        shutil.copy(empty, folder / "mlflow.db")
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        write(uri)
        return {"uri": uri}

    return str(shared(name, make).uri)


def shared_postgresql(name: str) -> Shared:
    """A PostgreSQL with an empty database that all processes use: its `uri`."""

    def make(_: Path) -> dict[str, Any]:
        database = PostgreSQL()
        database.start()
        return {"uri": database.uri, "postgresql": str(database.folder)}

    return shared(name, make)
