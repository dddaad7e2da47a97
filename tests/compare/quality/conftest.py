"""A real store with assessments, alone and behind a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from judged import JudgedTrace, judged, unjudged, write
from servers import MlflowServer

TRACES = {
    "1.0.0": judged("1.0.0", 100, 1.0),
    "1.1.0": judged("1.1.0", 90, 1.0, worse=0.45),
    "some": judged("some", 60, 0.3),
    "one": judged("one", 1, 1.0),
    "none": unjudged(judged("none", 20, 1.0)),
}


@pytest.fixture(scope="session")
def traces() -> dict[str, list[JudgedTrace]]:
    """The traces of each version."""
    return TRACES


@pytest.fixture(scope="session")
def written(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tracking URI of a store with the traces."""
    path = tmp_path_factory.mktemp("quality") / "mlflow.db"
    shutil.copy(empty_store, path)
    write(f"sqlite:///{path}", [it for them in TRACES.values() for it in them])
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def server(written: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server with the same traces."""
    server = MlflowServer(tmp_path_factory.mktemp("server"), written)
    server.start()
    yield server
    server.close()
