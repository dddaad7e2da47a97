"""A real store with assessments, alone and behind a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from judged import JudgedTrace, judged, unjudged, write
from shared import shared_mlflow_server, shared_store

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
def written(empty_store: Path) -> str:
    """The tracking URI of a store with the traces."""
    return shared_store(
        "quality-store",
        empty_store,
        lambda uri: write(uri, [it for them in TRACES.values() for it in them]),
    )


@pytest.fixture(scope="session")
def server(written: str) -> Any:
    """A server with the same traces."""
    return shared_mlflow_server("quality-server", written)
