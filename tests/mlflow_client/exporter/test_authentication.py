"""Servers that ask who you are, and servers with workspaces."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from opentelemetry.sdk.trace.export import SpanExportResult
from packaging.version import Version
from servers import MlflowServer

from otel_mlflow_context import MlflowSpanExporter

ADMIN, PASSWORD = "admin", "the-admins-password"
ADA = "adas-own-password"


@pytest.fixture(scope="module")
def guarded(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server with MLflow's basic authentication: an admin, and Ada, who may read."""
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "auth.ini").write_text(
        f"""[mlflow]
default_permission = READ
database_uri = sqlite:///{folder / "auth.db"}
admin_username = {ADMIN}
admin_password = {PASSWORD}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
    )
    server = MlflowServer(
        folder,
        f"sqlite:///{folder / 'mlflow.db'}",
        *("--app-name", "basic-auth"),
        environment={
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of these tests",
        },
    )
    server.start()
    requests.post(
        f"{server.uri}/api/2.0/mlflow/users/create",
        json={"username": "ada", "password": ADA},
        auth=(ADMIN, PASSWORD),
        timeout=30,
    ).raise_for_status()
    yield server
    server.close()


def log_in(monkeypatch: pytest.MonkeyPatch, user: str, password: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)


@pytest.mark.parametrize(("user", "password"), [(ADMIN, PASSWORD), ("ada", ADA)])
def test_who_may_make_an_experiment_stores_traces_with_metadata(
    guarded: MlflowServer,
    experiment: str,
    recorded: Any,
    traces: Any,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    password: str,
) -> None:
    log_in(monkeypatch, user, password)
    recorded.trace()
    exporter = MlflowSpanExporter(guarded.uri, experiment_name=experiment)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    [stored] = traces(guarded.uri, experiment)
    assert stored.info.trace_metadata["app_version"] == "1.10"


def test_a_wrong_password_is_logged_once_and_not_shown(
    guarded: MlflowServer,
    experiment: str,
    recorded: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_in(monkeypatch, "ada", "wrong-password")
    exporter = MlflowSpanExporter(guarded.uri, experiment_name=experiment)
    for _ in range(3):
        recorded.trace()
        assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    exporter.shutdown()
    [record] = caplog.records
    assert "401" in record.getMessage()
    assert "MLFLOW_TRACKING_PASSWORD" in record.getMessage()
    assert "wrong-password" not in caplog.text


def test_who_may_only_read_is_told_so_once(
    guarded: MlflowServer,
    experiment: str,
    recorded: Any,
    traces: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_in(monkeypatch, ADMIN, PASSWORD)
    mlflow.MlflowClient(guarded.uri).create_experiment(experiment)
    log_in(monkeypatch, "ada", ADA)
    exporter = MlflowSpanExporter(guarded.uri, experiment_name=experiment)
    for _ in range(3):
        recorded.trace()
        exporter.export(recorded.take())
    log_in(monkeypatch, ADMIN, PASSWORD)
    kept = traces(guarded.uri, experiment)
    assert all("app_version" in it.info.trace_metadata for it in kept)
    if kept:  # older servers guard neither call
        assert Version(mlflow.__version__) < Version("3.17")
        assert len(kept) == 3
    else:
        [record] = caplog.records
        assert "403" in record.getMessage()
        assert "EDIT permission on the experiment" in record.getMessage()


def test_verify_says_that_the_password_is_wrong(
    guarded: MlflowServer, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, "ada", "wrong-password")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
    result = subprocess.run(
        [sys.executable, "-m", "otel_mlflow_context.cli", "verify"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "MLFLOW_TRACKING_USERNAME" in result.stderr
    assert "wrong-password" not in result.stderr + result.stdout


@pytest.mark.skipif(
    not hasattr(mlflow, "create_workspace"),
    reason=f"MLflow {mlflow.__version__} has no workspaces",
)
def test_a_workspace_has_its_own_traces(
    empty_store: Path,
    tmp_path: Path,
    recorded: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    server = MlflowServer(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", "--enable-workspaces")
    server.start()
    try:
        mlflow.MlflowClient(server.uri).create_workspace("team-a")
        monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
        recorded.trace()
        exporter = MlflowSpanExporter(server.uri, experiment_name="qa")
        assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
        assert versions_in(server, "team-a") == ["1.10"]
        assert versions_in(server, "default") is None
    finally:
        server.close()


def versions_in(server: MlflowServer, workspace: str) -> list[str] | None:
    """The versions of the traces of experiment qa; None where there is no such experiment."""
    headers = {"X-MLFLOW-WORKSPACE": workspace}
    found = requests.get(
        f"{server.uri}/api/2.0/mlflow/experiments/get-by-name",
        params={"experiment_name": "qa"},
        headers=headers,
        timeout=30,
    )
    if found.status_code == requests.codes.not_found:
        return None
    experiment_id = found.json()["experiment"]["experiment_id"]
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    answer = requests.post(
        f"{server.uri}/api/3.0/mlflow/traces/search",
        json={"locations": [location], "max_results": 10},
        headers=headers,
        timeout=30,
    )
    return [it["trace_metadata"]["app_version"] for it in answer.json()["traces"]]


def test_the_newest_version_has_workspaces() -> None:
    assert Version(mlflow.__version__) < Version("3.17") or hasattr(mlflow, "create_workspace")
