"""The page on Databricks: its code runs against a stand-in of a workspace."""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks_workspace import DatabricksWorkspace
from documentation.code import run_code
from documentation.markdown import ROOT, block, blocks
from servers import free_port

PAGE = ROOT / "docs" / "databricks.md"
SERVICE = ROOT / "examples" / "fastapi_service"
WITH, BY_HAND, OPENTELEMETRY = blocks(PAGE, "python")
DEPLOYMENT = {
    "APP_ENVIRONMENT": "staging",
    "APP_VERSION": "1.10",
    "DEPLOYMENT_ID": "7",
    "REGION": "eu-west-1",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[DatabricksWorkspace]:
    with DatabricksWorkspace.running() as made:
        made.artifacts = str(tmp_path)
        yield made


def test_one_writes_less_and_gets_more(workspace: DatabricksWorkspace, tmp_path: Path) -> None:
    for code in (BY_HAND, WITH):
        run_code(code, "", tmp_path, **workspace.environment, **DEPLOYMENT)
    by_hand, ours = workspace.experiment_infos.values()
    of_the_trace = {"mlflow.trace.sizeBytes", "mlflow.trace.sizeStats", "mlflow.traceInputs"}
    # Without a repository MLflow writes git facts that are empty.
    theirs = {k: v for k, v in by_hand.trace_metadata.items() if v and k not in of_the_trace}
    assert theirs.items() <= dict(ours.trace_metadata).items()
    assert by_hand.client_request_id == ours.client_request_id == "r-1"
    assert "update_current_trace" in BY_HAND
    assert "update_current_trace" not in WITH


def test_plain_opentelemetry(workspace: DatabricksWorkspace, tmp_path: Path) -> None:
    run_code(OPENTELEMETRY, "", tmp_path, **workspace.environment, **DEPLOYMENT)
    [(key, info)] = workspace.infos.items()
    assert key[0] == "main.traces.shop"
    assert info.trace_metadata["app_version"] == "1.10"
    assert len(workspace.spans["main.traces.shop_otel_spans"]) == 1


def test_a_service_without_tracing_code(workspace: DatabricksWorkspace, tmp_path: Path) -> None:
    port = free_port()
    command = block(PAGE, "sh", "export OTEL_TRACES_EXPORTER").replace("8000", str(port))
    command = command.replace("\n\nopentelemetry-instrument", "\n\nexec opentelemetry-instrument")
    environment = {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        **workspace.environment,
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-ec", command],
            cwd=SERVICE,
            env=environment,
            stdout=log,
            stderr=log,
        )
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/chat",
        data=b'{"message": "span"}',
        headers={
            "Content-Type": "application/json",
            "X-Session-ID": "s-1",
            "X-User-ID": "ada",
            "X-Request-ID": "r-1",
        },
    )
    try:
        assert _answer(request, process) == 200
    finally:
        process.send_signal(signal.SIGINT)  # at SIGTERM, uvicorn skips the last export
        process.wait(60)
    [info] = workspace.infos.values()
    metadata = dict(info.trace_metadata)
    assert (metadata["mlflow.trace.session"], metadata["mlflow.trace.user"]) == ("s-1", "ada")
    assert (metadata["service_name"], metadata["app_version"]) == ("chat", "1.1.0")
    assert info.client_request_id == "r-1"


def _answer(request: urllib.request.Request, process: subprocess.Popen[Any]) -> int:
    """The status of the service's answer, once it serves."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
