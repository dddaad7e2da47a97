"""How many traces does a server store in a second, with the plugin and without?

The same requests, to three servers of four workers each, in turns: each trace has a root and four
children, and a resource of nine attributes that the plugin makes metadata of.
"""

import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from _servers import mlflow_server
from _tables import progress, ratio, table
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PLAIN = "mlflow server"
PLUGIN = "mlflow server --app-name otel-mlflow-context"
VERSIONS = "the same, OTEL_MLFLOW_CONTEXT_VERSIONS=true"
_CHILDREN = 4
_BATCH = 20
"""Traces in a request."""
_SENDERS = 4
_RESOURCE = {
    "service.name": "answers",
    "service.version": "1.4.0",
    "deployment.environment.name": "production",
    "deployment.id": "7",
    "cloud.region": "eu-west-1",
    "vcs.ref.head.revision": "9f1c3aa2b7d04e5f8a6c1d2e3f405162738495a6",
    "vcs.ref.head.name": "main",
    "vcs.repository.url.full": "https://github.com/example/assistant",
    "vcs.change.id": "42",
}


def run(*, quick: bool = False) -> str:
    """Measure, and return the table."""
    rounds, traces = (1, 40) if quick else (25, 200)
    rates: dict[str, list[float]] = {PLAIN: [], PLUGIN: [], VERSIONS: []}
    workers = ("--workers", "1") if quick else ()
    app = ("--app-name", "otel-mlflow-context", *workers)
    with (
        mlflow_server(*workers) as plain,
        mlflow_server(*app) as plugin,
        mlflow_server(*app, environment={"OTEL_MLFLOW_CONTEXT_VERSIONS": "true"}) as versions,
    ):
        uris = {PLAIN: plain, PLUGIN: plugin, VERSIONS: versions}
        for uri in uris.values():  # connections, and the server's first requests
            _send(uri, _requests(traces))
        for round_number in range(rounds):
            bodies = _requests(traces)
            for name in random.sample(list(uris), len(uris)):
                progress(f"server: round {round_number + 1} of {rounds}, {name}")
                rates[name].append(traces / _send(uris[name], bodies))
        _check(plugin, "metadata.app_version = '1.4.0'")
        _check(versions, "metadata.mlflow.modelId != 'none'")
    return table(
        f"Traces a second ({traces} of {_CHILDREN + 1} spans, {_BATCH} in a request, "
        f"{_SENDERS} requests at once)",
        ("", "median", "/ plain", "/ plugin", "goal"),
        [
            (
                name,
                f"{statistics.median(measured):.0f}",
                ratio(measured, rates[PLAIN]),
                ratio(measured, rates[PLUGIN]),
                {PLUGIN: "/ plain >= 0.95", VERSIONS: "/ plugin >= 0.95"}.get(name, ""),
            )
            for name, measured in rates.items()
        ],
    )


def _requests(traces: int) -> list[bytes]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource(_RESOURCE), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("benchmark")
    for _ in range(traces):
        with tracer.start_as_current_span("answer") as root:
            root.set_attribute("session.id", "s-1")
            for _ in range(_CHILDREN):
                tracer.start_span("step").end()
    spans = exporter.get_finished_spans()
    size = _BATCH * (_CHILDREN + 1)
    return [
        encode_spans(spans[start : start + size]).SerializeToString()
        for start in range(0, len(spans), size)
    ]


def _send(uri: str, bodies: list[bytes]) -> float:
    """The seconds until all is stored."""

    def send(body: bytes) -> None:
        requests.post(
            f"{uri}/v1/traces",
            data=body,
            headers={"x-mlflow-experiment-id": "0", "content-type": "application/x-protobuf"},
            timeout=120,
        ).raise_for_status()

    began = time.perf_counter()
    with ThreadPoolExecutor(_SENDERS) as senders:
        list(senders.map(send, bodies))
    return time.perf_counter() - began


def _check(uri: str, where: str) -> None:
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    answer = requests.post(
        f"{uri}/api/3.0/mlflow/traces/search",
        json={"locations": [location], "filter": where},
        timeout=60,
    )
    if not answer.json().get("traces"):
        raise RuntimeError(f"the plugin has written no metadata: {where}")
