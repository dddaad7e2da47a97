"""How fast do traces get into an MLflow server, and what does that cost the application's thread?

Three ways to the same server, in turns: the plain OTLP exporter, which brings no metadata; ours;
and MLflow's own SDK, which brings metadata of its own and also makes calls for each trace.
"""

import random
import statistics
import time

import mlflow
from _servers import mlflow_server
from _tables import progress, ratio, table
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter

PLAIN = "OTLPSpanExporter, no metadata"
OURS = "MlflowSpanExporter"
SDK = "MLflow's SDK"
_CHILDREN = 4
_NS_PER_US = 1_000


def run(*, quick: bool = False) -> str:
    """Measure, and return the tables."""
    rounds, traces = (1, 20) if quick else (5, 200)
    seconds = {name: [] for name in (PLAIN, OURS, SDK)}
    end_us = {name: [] for name in (PLAIN, OURS)}
    with mlflow_server(*(("--workers", "1") if quick else ())) as uri:
        mlflow.set_tracking_uri(uri)
        experiment_id = mlflow.set_experiment("benchmark").experiment_id
        ways = {
            PLAIN: _opentelemetry(
                OTLPSpanExporter(
                    f"{uri}/v1/traces", headers={"x-mlflow-experiment-id": experiment_id}
                )
            ),
            OURS: _opentelemetry(MlflowSpanExporter(uri, experiment_id=experiment_id)),
            SDK: _mlflow_sdk,
        }
        for way in ways.values():  # connections, threads, and the server's first requests
            way(traces // 10)
        for round_number in range(rounds):
            for name in random.sample(list(ways), len(ways)):
                progress(f"export: round {round_number + 1} of {rounds}, {name}")
                began = time.perf_counter()
                ends = ways[name](traces)
                seconds[name].append(time.perf_counter() - began)
                if name in end_us:
                    end_us[name].append(statistics.median(ends) / _NS_PER_US)
    rates = {name: [traces / each for each in measured] for name, measured in seconds.items()}
    return "\n\n".join([_rate_table(rates, traces), _end_table(end_us)])


def _rate_table(rates: dict[str, list[float]], traces: int) -> str:
    return table(
        f"Traces a second until all is stored ({traces} traces of {_CHILDREN + 1} spans at once)",
        ("", "median", "/ MLflow's SDK", "/ plain", "goal"),
        [
            (
                name,
                f"{statistics.median(measured):.0f}",
                ratio(measured, rates[SDK]),
                ratio(measured, rates[PLAIN]),
                ">= 1.5 / SDK" if name == OURS else "",
            )
            for name, measured in rates.items()
        ],
    )


def _end_table(end_us: dict[str, list[float]]) -> str:
    return table(
        "span.end() of a root in the application's thread, microseconds",
        ("", "median", "/ plain", "goal"),
        [
            (
                name,
                f"{statistics.median(measured):.1f}",
                ratio(measured, end_us[PLAIN]),
                "1" if name == OURS else "",
            )
            for name, measured in end_us.items()
        ],
    )


def _opentelemetry(exporter):
    """A way to make and store traces, with the same processor before each exporter."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(MlflowContextSpanProcessor())
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=8192))
    tracer = provider.get_tracer("benchmark")

    def make(traces: int) -> list[int]:
        ends = []
        for _ in range(traces):
            with tracer.start_as_current_span("answer", end_on_exit=False) as root:
                for _ in range(_CHILDREN):
                    tracer.start_span("step").end()
            began = time.perf_counter_ns()
            root.end()
            ends.append(time.perf_counter_ns() - began)
        provider.force_flush(120_000)
        return ends

    return make


def _mlflow_sdk(traces: int) -> list[int]:
    for _ in range(traces):
        with mlflow.start_span("answer"):
            for _ in range(_CHILDREN):
                with mlflow.start_span("step"):
                    pass
    mlflow.flush_trace_async_logging()
    return []
