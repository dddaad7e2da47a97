"""What arrives by way of a Collector: the example's table, row by row."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from collector import EXAMPLE, Relay
from packaging.version import Version

MLFLOW = Version(mlflow.__version__)


@pytest.fixture
def relay(server: Any, experiment: str) -> Iterator[Relay]:
    experiment_id = mlflow.MlflowClient(server.uri).create_experiment(experiment)
    environment = {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_EXPERIMENT_ID": experiment_id}
    with Relay(environment) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def stored(server: Any, relay: Relay, experiment: str, traces: Any, tmp_path: Path) -> Any:
    """The trace of the example's program, as it has come through to MLflow."""
    subprocess.run(
        [sys.executable, EXAMPLE / "app.py"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{relay.server_port}",
            "OTEL_SERVICE_NAME": "qa",
            "APP_VERSION": "1.10",
            "APP_ENVIRONMENT": "production",
        },
        check=True,
        timeout=60,
    )
    relay.send_on()
    [found] = traces(server.uri, experiment)
    return found


def test_the_facts_arrive_as_the_examples_table_says(stored: Any) -> None:
    metadata, tags = stored.info.trace_metadata, stored.info.tags
    [root] = [span for span in stored.data.spans if span.parent_id is None]
    assert root.attributes["app_version"] in ("1.10", 1.1)
    assert root.attributes["session.id"] == "s-1"
    assert "app_version" not in metadata
    assert stored.info.client_request_id != "r-1"

    session, user = metadata.get("mlflow.trace.session"), metadata.get("mlflow.trace.user")
    assert (session or "").strip('"') == ("s-1" if Version("3.8") <= MLFLOW else "")
    assert (user or "").strip('"') == ("ada" if Version("3.12") <= MLFLOW else "")
    if Version("3.13") <= MLFLOW:
        assert tags["app_version"] == "1.10"
        assert tags["environment"] == "production"
        assert tags["mlflow.trace.session"] == "s-1"
        assert tags["client_request_id"] == "r-1"
    else:
        assert "app_version" not in tags
    assert ("service.version" in tags) == (Version("3.14") <= MLFLOW)


@pytest.mark.skipif(
    Version("3.13") > MLFLOW, reason="MLflow before 3.13 makes no tags of root attributes"
)
def test_they_are_found_by_tag(stored: Any, server: Any, experiment: str, traces: Any) -> None:
    for key, value in (("app_version", "1.10"), ("environment", "production")):
        [found] = traces(server.uri, experiment, f"tags.`{key}` = '{value}'")
        assert found.info.trace_id == stored.info.trace_id


def test_the_configuration_is_whole(relay: Relay) -> None:
    [(_, pipeline)] = relay.configuration["service"]["pipelines"].items()
    for section in ("receivers", "processors", "exporters"):
        assert set(pipeline[section]) == set(relay.configuration[section])
