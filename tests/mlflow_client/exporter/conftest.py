"""What stands before the servers: it counts, and may refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from servers import Front

from otel_mlflow_context.mlflow_client import exporter, retry_queue


@pytest.fixture(autouse=True)
def _no_retry_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata is tried again only by what a test calls."""
    monkeypatch.setattr(retry_queue, "FIRST_DELAY", 1_000)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that others use too may take longer on a busy machine."""
    monkeypatch.setattr(exporter, "_TIMEOUT", 60.0)


@pytest.fixture
def own_front(own_server: Any) -> Iterator[Front]:
    """Before the server that the test may kill."""
    with Front.before(own_server.port) as front:
        yield front
