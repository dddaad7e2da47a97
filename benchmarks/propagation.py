"""What does it cost to take who asks in and out, and to say it late?

Ours beside OpenTelemetry's own W3C baggage propagator, in turns, with three entries of baggage. An
injection is measured inside a client span, as an instrumented HTTP client has it; a late update
beside `set_attribute`, which is the least that it has to do.
"""

import random
import statistics
import time
from collections.abc import Callable

from _tables import progress, ratio, table
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from otel_mlflow_context import MlflowContextSpanProcessor, update_trace_context
from otel_mlflow_context.propagators import MlflowHeadersPropagator, TrustedBaggagePropagator

ENTRIES = {"session.id": "s-1", "user.id": "ada", "mlflow.client_request_id": "r-1"}
BAGGAGE = {"baggage": ",".join(f"{key}={value}" for key, value in ENTRIES.items())}
HEADERS = {"X-Session-ID": "s-1", "X-User-ID": "ada", "X-Request-ID": "r-1"}
W3C = "W3C baggage propagator"


def run(*, quick: bool = False) -> str:
    """Measure, and return the table."""
    provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    provider.add_span_processor(MlflowContextSpanProcessor(Resource({"service.version": "1"})))
    tracer = provider.get_tracer("benchmark")
    context = context_api.get_current()
    for key, value in ENTRIES.items():
        context = baggage.set_baggage(key, value, context)
    token = context_api.attach(context)
    root = tracer.start_span("root")
    inner = context_api.attach(trace.set_span_in_context(root))
    try:
        costs = _measure(_cases(tracer, root), *((20, 20) if quick else (400, 200)))
    finally:
        context_api.detach(inner)
        context_api.detach(token)
        root.end()
    return _table(costs)


def _cases(tracer: trace.Tracer, root: trace.Span) -> dict[tuple[str, str], Callable[[], object]]:
    w3c, trusted, headers = (
        W3CBaggagePropagator(),
        TrustedBaggagePropagator(),
        MlflowHeadersPropagator(),
    )
    inside, outside = (
        trace.set_span_in_context(
            tracer.start_span("call", kind=SpanKind.CLIENT, attributes={"url.full": url})
        )
        for url in ("http://localhost:8000/search", "https://api.example.com/v1/chat")
    )
    return {
        ("extract", W3C): lambda: w3c.extract(BAGGAGE, Context()),
        ("extract", "trusted_baggage"): lambda: trusted.extract(BAGGAGE, Context()),
        ("extract", "mlflow_headers"): lambda: headers.extract(HEADERS, Context()),
        ("inject", W3C): lambda: w3c.inject({}, inside),
        ("inject", "trusted_baggage, trusted host"): lambda: trusted.inject({}, inside),
        ("inject", "trusted_baggage, another host"): lambda: trusted.inject({}, outside),
        ("late", "set_attribute"): lambda: root.set_attribute("user.id", "ada"),
        ("late", "update_trace_context"): _update,
    }


def _update() -> None:
    before = context_api.get_current()
    update_trace_context(user_id="ada")
    context_api.attach(before)


def _measure(
    cases: dict[tuple[str, str], Callable[[], object]], rounds: int, calls: int
) -> dict[tuple[str, str], list[float]]:
    """Microseconds of a call by case, one figure a round."""
    costs: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for number in range(rounds):
        progress(f"propagation: round {number + 1} of {rounds}")
        for case, call in random.sample(list(cases.items()), len(cases)):
            began = time.perf_counter_ns()
            for _ in range(calls):
                call()
            costs[case].append((time.perf_counter_ns() - began) / calls / 1_000)
    return costs


def _table(costs: dict[tuple[str, str], list[float]]) -> str:
    first = {}
    rows = []
    for (kind, name), times in costs.items():
        compared = first.setdefault(kind, times)
        rows.append([f"{kind}: {name}", f"{statistics.median(times):.1f}", ratio(times, compared)])
    title = "A call with 3 entries of baggage, microseconds"
    return table(title, ["", "us", "over the first of its kind"], rows)
