"""A real store with the spans of two versions, alone and behind a server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from known_spans import Known, known, write
from shared import shared, shared_mlflow_server

OLD = known("1.0.0", 70, error=0.05)
NEW = known("1.1.0", 60, slow=1.5, error=0.5)


@pytest.fixture(scope="session")
def traces() -> tuple[list[Known], list[Known]]:
    """The baseline's and the candidate's."""
    return OLD, NEW


@pytest.fixture(scope="session")
def written(empty_store: Path) -> str:
    """The tracking URI of a store with the traces."""

    def make(folder: Path) -> dict[str, str]:
        shutil.copy(empty_store, folder / "mlflow.db")
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        write(uri, [*OLD, *NEW])
        return {"uri": uri}

    return str(shared("explain-store", make).uri)


@pytest.fixture(scope="session")
def server(written: str) -> Any:
    """A server with the same traces."""
    return shared_mlflow_server("explain-server", written)
