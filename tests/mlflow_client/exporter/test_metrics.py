"""What the exporter counts, with a real server and a proxy before it that fails."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from servers import Front

from otel_mlflow_context import MlflowSpanExporter
from otel_mlflow_context.mlflow_client import retry_queue


class Counted:
    """An exporter with a meter provider of its own."""

    def __init__(self, uri: str, experiment: str, timeout: float = 3) -> None:
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.exporter = MlflowSpanExporter(
            uri, experiment_name=experiment, timeout=timeout, meter_provider=provider
        )

    def counts(self) -> dict[str, int]:
        data = self._reader.get_metrics_data()
        return {
            " ".join(
                [
                    metric.name.removeprefix("otel_mlflow_context.exporter."),
                    *map(str, point.attributes.values()),
                ]
            ): point.value
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        }


def test_what_is_sent_is_counted_once(front: Front, experiment: str, recorded: Any) -> None:
    counted = Counted(front.uri, experiment)
    for _ in range(2):
        for _ in range(5):
            recorded.trace()
        counted.exporter.export(recorded.take())
    assert counted.counts() == {"spans": 20, "metadata": 10}


def test_a_trace_that_the_server_refuses_is_dropped_by_its_status(
    front: Front, experiment: str, recorded: Any
) -> None:
    front.refused = b"not this one"
    for session in ("good", "not this one", "good"):
        recorded.trace(session)
    counted = Counted(front.uri, experiment)
    counted.exporter.export(recorded.take())
    assert counted.counts() == {"spans": 4, "spans 400": 2, "metadata": 2}


def test_metadata_waits_and_is_written_or_dropped_at_the_end(
    front: Front, experiment: str, recorded: Any
) -> None:
    counted = Counted(front.uri, experiment, timeout=1)
    front.answer = lambda method, _: 503 if method == "PATCH" else None
    for _ in range(3):
        recorded.trace()
    counted.exporter.export(recorded.take())
    assert counted.counts() == {"spans": 6, "metadata.waiting": 3}
    front.answer = lambda *_: None
    assert counted.exporter.force_flush()
    assert counted.counts() == {"spans": 6, "metadata": 3, "metadata.waiting": 0}

    front.answer = lambda method, _: 503 if method == "PATCH" else None
    recorded.trace()
    counted.exporter.export(recorded.take())
    counted.exporter.shutdown()
    recorded.trace()
    counted.exporter.export(recorded.take())
    assert counted.counts() == {
        "spans": 8,
        "spans shutdown": 2,
        "metadata": 3,
        "metadata unavailable": 1,
        "metadata.waiting": 0,
    }


def test_metadata_that_is_refused_is_dropped_by_its_status(
    front: Front, experiment: str, recorded: Any
) -> None:
    counted = Counted(front.uri, experiment)
    for status in (400, 403, 404):
        front.answer = lambda method, _, status=status: status if method == "PATCH" else None
        recorded.trace()
        counted.exporter.export(recorded.take())
    assert counted.counts() == {
        "spans": 6,
        "metadata 400": 1,
        "metadata 403": 1,
        "metadata 404": 1,
    }


def test_what_the_retry_queue_has_no_room_for_is_dropped(
    front: Front, experiment: str, recorded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_queue, "MAX_TRACES", 2)
    counted = Counted(front.uri, experiment, timeout=1)
    front.answer = lambda method, _: 503 if method == "PATCH" else None
    for _ in range(5):
        recorded.trace()
    counted.exporter.export(recorded.take())
    assert counted.counts() == {"spans": 10, "metadata.waiting": 2, "metadata overflow": 3}


def test_spans_for_a_server_that_is_away_are_dropped(experiment: str, recorded: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        counted = Counted(uri, experiment, timeout=0.5)
        recorded.trace()
        counted.exporter.export(recorded.take())
    assert counted.counts() == {"spans unavailable": 2}


PROGRAM = """
import sys
from opentelemetry import metrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from otel_mlflow_context import MlflowContextSpanProcessor

provider = TracerProvider()
provider.add_span_processor(MlflowContextSpanProcessor(Resource({"service.version": "1"})))
provider.get_tracer("t").start_span("s").end()
assert "otel_mlflow_context.mlflow_client.metrics" not in sys.modules

from otel_mlflow_context import MlflowSpanExporter
exporter = MlflowSpanExporter("http://127.0.0.1:9", timeout=0.1)
exporter.export([])
assert "opentelemetry.sdk.metrics" not in sys.modules or not metrics._internal._METER_PROVIDER

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
exporter.shutdown()
span = provider.get_tracer("t").start_span("s")
span.end()
exporter.export([span])
[metric] = [m for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics
            for m in s.metrics]
print(metric.name, metric.data.data_points[0].value)
"""


def test_a_meter_provider_may_be_set_later_and_a_processor_loads_none_of_it() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["otel_mlflow_context.exporter.spans", "1"]
