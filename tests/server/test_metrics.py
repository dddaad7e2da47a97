"""What the operator of a server sees of the plugin, by OpenTelemetry's metrics API."""

import json
import os
import shutil
from pathlib import Path

import mlflow
import pytest
from packaging.version import Version
from preloaded import run_python

REFUSES = Version("3.12") <= Version(mlflow.__version__)
"""Spans without a trace id."""
PROGRAM = """
import asyncio, json, sys
import httpx
from opentelemetry import metrics
if sys.argv[1] == "provider":
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
from otlp import otlp_request
from otel_mlflow_context.server import create_app

async def main():
    transport = httpx.ASGITransport(app=create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        async def send(request, **headers):
            headers = {key.replace("_", "-"): value for key, value in headers.items()}
            answer = await client.post(
                "/v1/traces",
                content=request.SerializeToString(),
                headers={
                    "x-mlflow-experiment-id": "0",
                    "content-type": "application/x-protobuf",
                    **headers,
                },
            )
            return answer.status_code
        child = {"parent_span_id": b"p" * 8, "flags": 0x100}
        bad = {"trace_id": b""}
        statuses = [
            await send(otlp_request({}, {}, child, **{"service.version": "1"})),
            await send(otlp_request({}, bad, **{"service.version": "1"})),
            await send(otlp_request(*[{} for _ in range(6)])),
        ]
    return statuses

statuses = asyncio.run(main())
found = {}
if sys.argv[1] == "provider":
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    name = metric.name.removeprefix("otel_mlflow_context.server.")
                    labels = "".join(f" {k}={v}" for k, v in point.attributes.items())
                    is_count = hasattr(point, "value")
                    found[name + labels] = point.value if is_count else [point.count, point.sum]
json.dump([statuses, found], sys.stdout)
"""


@pytest.fixture
def run_program(empty_store, tmp_path):
    def run_program(mode):
        shutil.copy(empty_store, tmp_path / "own.db")
        ran = run_python(
            *("-c", PROGRAM, mode),
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{tmp_path / 'own.db'}",
                "_MLFLOW_SERVER_ARTIFACT_ROOT": str(tmp_path),
                "MLFLOW_MODEL_CATALOG_URI": "",
                "OTEL_MLFLOW_CONTEXT_MAX_REQUEST_SPANS": "5",
            },
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return run_program


def test_traces_partial_successes_and_time_are_counted(run_program):
    statuses, found = run_program("provider")

    assert statuses == [200, 200, 413]
    assert found["traces metadata=True"] == 3
    if REFUSES:
        assert found["traces metadata=False"] == 1
        assert found["partial_successes"] == 1
        assert found["rejected_traces"] == 1
    else:
        assert found["traces metadata=False"] == 2
    assert found["rejected_requests"] == 1
    count, seconds = found["duration"]
    assert count == 2
    assert 0 < seconds < 5


def test_without_a_meter_provider_nothing_is_counted(run_program):
    assert run_program("none") == [[200, 200, 413], {}]
