"""A real store with traces of several versions, alone and behind a server."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import Front
from shared import shared_mlflow_server, shared_store

from otel_mlflow_context.cli import main

with warnings.catch_warnings():
    # SQLAlchemy has something to say of how MLflow uses it, and here a warning is an error.
    warnings.simplefilter("ignore")
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

from versions import ROWS, write


@pytest.fixture(scope="session")
def written(empty_store: Path) -> str:
    """The tracking URI of a store with `ROWS`."""
    return shared_store("compare-store", empty_store, lambda uri: write(uri, ROWS))


@pytest.fixture(scope="session")
def server(written: str) -> Any:
    """A server with the same traces."""
    return shared_mlflow_server("compare-server", written)


@pytest.fixture
def old_server(front: Front) -> str:
    """The address of a server from before aggregation."""
    front.answer = lambda _, path: 405 if path.endswith("/traces/metrics") else None
    return front.uri


@pytest.fixture(params=["store", "server", "old_server"])
def uri(request: pytest.FixtureRequest, written: str) -> str:
    """Each way to the same traces."""
    if request.param == "store":
        return written
    if request.param == "server":
        return request.getfixturevalue("server").uri
    return request.getfixturevalue("old_server")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACKING_URI", "EXPERIMENT_NAME", "EXPERIMENT_ID"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command; returns its status, what it prints, and what it complains about."""

    def command(uri: str, *arguments: str, subcommand: str = "compare") -> tuple[int, str, str]:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        handlers = list(logging.getLogger().handlers)
        try:
            status = main([subcommand, *arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        finally:
            logging.getLogger().handlers = handlers
        said = capsys.readouterr()
        return status, said.out, said.err

    return command
