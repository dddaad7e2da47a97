"""A real store with the spans of two versions, alone and behind a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from known_spans import Known, known, write
from shared import shared_mlflow_server, shared_store

OLD = known("1.0.0", 70, error=0.05)
NEW = known("1.1.0", 60, slow=1.5, error=0.5)


@pytest.fixture(scope="session")
def traces() -> tuple[list[Known], list[Known]]:
    """The baseline's and the candidate's."""
    return OLD, NEW


@pytest.fixture(scope="session")
def written(empty_store: Path) -> str:
    """The tracking URI of a store with the traces."""
    return shared_store("explain-store", empty_store, lambda uri: write(uri, [*OLD, *NEW]))


@pytest.fixture(scope="session")
def server(written: str) -> Any:
    """A server with the same traces."""
    return shared_mlflow_server("explain-server", written)
