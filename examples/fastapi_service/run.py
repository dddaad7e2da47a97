"""Runs two versions of the service, sends requests, and searches their traces by metadata.

Starts all processes it needs, on free ports and in a temporary directory, and stops them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import SCRIPTS, free_port, mlflow_server, running  # noqa: E402

EXPERIMENT = "chat"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with mlflow_server(folder) as mlflow_uri:
            for version in ("1.0.0", "1.1.0"):
                with service(folder, mlflow_uri, version) as uri:
                    print(f"version {version} receives three requests ...", flush=True)
                    chat(uri, "trace", session="s-1", user="ada")
                    chat(uri, "span", session="s-1", user="ada")
                    chat(uri, "span", session="s-2", user="grace")
            show(mlflow_uri)


def chat(uri: str, message: str, *, session: str, user: str) -> None:
    request = urllib.request.Request(
        f"{uri}/chat",
        data=json.dumps({"message": message}).encode(),
        headers={
            "Content-Type": "application/json",
            "baggage": f"session.id={session},user.id={user}",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(f"  {user:>5} ({session}): {message}? {json.load(answer)['response']}")


def show(mlflow_uri: str) -> None:
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    print(f"\n{'search_traces(filter_string=...)':<56}traces")
    for key, value in (
        ("app_version", "1.0.0"),
        ("app_version", "1.1.0"),
        ("environment", "production"),
        ("service_name", "chat"),
        ("mlflow.source.name", "app:app"),
        ("mlflow.trace.session", "s-1"),
        ("mlflow.trace.session", "s-2"),
        ("mlflow.trace.user", "grace"),
    ):
        query = f"metadata.`{key}` = '{value}'"
        found = client.search_traces([experiment.experiment_id], filter_string=query)
        print(f"{query:<56}{len(found):>6}")


@contextmanager
def service(folder: Path, mlflow_uri: str, version: str) -> Iterator[str]:
    port = free_port()
    command = [
        *(str(SCRIPTS / "opentelemetry-instrument"), str(SCRIPTS / "uvicorn"), "app:app"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    environment = {
        **os.environ,
        "OTEL_TRACES_EXPORTER": "mlflow",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "chat",
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "MLFLOW_EXPERIMENT_NAME": EXPERIMENT,
        "APP_VERSION": version,
        "APP_ENVIRONMENT": "production",
        # The readiness probe of `running` should not be traced.
        "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "openapi.json",
    }
    uri = f"http://127.0.0.1:{port}"
    log = folder / f"service-{version}.log"
    # On SIGTERM, uvicorn skips Python's exit handlers, and with them the last export.
    with running(
        command, environment, log, ready=f"{uri}/openapi.json", stop=signal.SIGINT, folder=HERE
    ):
        yield uri


if __name__ == "__main__":
    main()
