"""A real store with the spans of two versions, alone and behind a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from known_spans import Known, known, write
from servers import MlflowServer

OLD = known("1.0.0", 70, error=0.05)
NEW = known("1.1.0", 60, slow=1.5, error=0.5)


@pytest.fixture(scope="session")
def traces() -> tuple[list[Known], list[Known]]:
    """The baseline's and the candidate's."""
    return OLD, NEW


@pytest.fixture(scope="session")
def written(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tracking URI of a store with the traces."""
    path = tmp_path_factory.mktemp("explain") / "mlflow.db"
    shutil.copy(empty_store, path)
    write(f"sqlite:///{path}", [*OLD, *NEW])
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def server(written: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server with the same traces."""
    server = MlflowServer(tmp_path_factory.mktemp("server"), written)
    server.start()
    yield server
    server.close()
