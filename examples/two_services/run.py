"""Runs two services and a vendor; prints their traces and the headers that the vendor received.

Starts all processes it needs, on free ports and in a temporary directory, and stops them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import urllib.request
from pathlib import Path

from mlflow import MlflowClient

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import SCRIPTS, free_port, mlflow_server, running  # noqa: E402

INSTRUMENT = str(SCRIPTS / "opentelemetry-instrument")
EXPERIMENT = "two-services"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with mlflow_server(folder) as mlflow_uri:
            headers = ask_questions(folder, mlflow_uri)
            show_sessions(mlflow_uri)
        show_headers(headers)


def ask_questions(folder: Path, mlflow_uri: str) -> list[dict[str, str]]:
    """Send three requests in two sessions; return the headers that the vendor received."""
    front, retrieval, vendor = (free_port() for _ in range(3))
    # The services and the vendor have different host names, as they would in production.
    front_uri, retrieval_uri = f"http://localhost:{front}", f"http://localhost:{retrieval}"
    vendor_uri = f"http://127.0.0.1:{vendor}"
    environment = {
        **os.environ,
        "OTEL_TRACES_EXPORTER": "mlflow",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        # In place of the default "tracecontext,baggage", which sends baggage to every host.
        "OTEL_PROPAGATORS": "tracecontext,trusted_baggage,mlflow_headers",
        "OTEL_MLFLOW_CONTEXT_TRUSTED_HOSTS": "localhost",
        # Clients may set the session, but not the user.
        "OTEL_MLFLOW_CONTEXT_REQUEST_HEADERS": "session=X-Session-ID,request=X-Request-ID",
        "OTEL_PYTHON_EXCLUDED_URLS": "openapi.json",
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "MLFLOW_EXPERIMENT_NAME": EXPERIMENT,
        "RETRIEVAL": retrieval_uri,
        "VENDOR": vendor_uri,
    }
    with (
        running(
            [sys.executable, "vendor.py", str(vendor)],
            environment,
            folder / "vendor.log",
            ready=vendor_uri,
            folder=HERE,
        ),
        running(
            [INSTRUMENT, str(SCRIPTS / "flask"), "--app", "retrieval", "run", "-p", str(retrieval)],
            {**environment, "OTEL_SERVICE_NAME": "retrieval"},
            folder / "retrieval.log",
            ready=f"{retrieval_uri}/search",
            stop=signal.SIGINT,
            folder=HERE,
        ),
        running(
            [INSTRUMENT, str(SCRIPTS / "uvicorn"), "front:app", "--port", str(front)],
            {**environment, "OTEL_SERVICE_NAME": "front"},
            folder / "front.log",
            ready=f"{front_uri}/openapi.json",
            stop=signal.SIGINT,
            folder=HERE,
        ),
    ):
        for question, session, user in (
            ("what-is-a-span", "s-1", "ada"),
            ("and-a-trace", "s-1", "ada"),
            ("what-is-a-trace", "s-2", "grace"),
        ):
            request = urllib.request.Request(
                f"{front_uri}/ask?question={question}",
                method="POST",
                headers={"Authorization": f"Bearer {user}s-token", "X-Session-ID": session},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                print(f"{user:>5} ({session}): {question}? {json.load(answer)['answer']}")
        with urllib.request.urlopen(vendor_uri, timeout=60) as answer:
            return list(json.load(answer))


def show_sessions(mlflow_uri: str) -> None:
    client = MlflowClient(mlflow_uri)
    experiment_id = client.get_experiment_by_name(EXPERIMENT).experiment_id
    print("\nTraces in MLflow")
    for session in ("s-1", "s-2"):
        query = f"metadata.`mlflow.trace.session` = '{session}'"
        for trace in client.search_traces([experiment_id], filter_string=query):
            user = trace.info.trace_metadata["mlflow.trace.user"]
            services = sorted(
                span.name
                for span in trace.data.spans
                if span.attributes.get("session.id") == session
            )
            print(f"  session {session}, user {user}: {len(services)} services know the session")


def show_headers(headers: list[dict[str, str]]) -> None:
    print("\nHeaders that the vendor saw")
    for seen in headers:
        print(f"  traceparent: {seen.get('traceparent')}, baggage: {seen.get('baggage')}")


if __name__ == "__main__":
    main()
