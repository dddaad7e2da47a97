"""What does a span cost with our processor, and what with others?

Each variant is a real tracer provider with one processor (or none) and no exporter. Variants take
turns in every round, in a new order each time, so that what else the machine does hits all alike.
Costs are of `start_span` and `end`, under a context that is attached outside the timing.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager

from _tables import progress, ratio, table
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from otel_mlflow_context import MlflowContextSpanProcessor

try:
    from opentelemetry.processor.baggage import ALLOW_ALL_BAGGAGE_KEYS, BaggageSpanProcessor
except ImportError:
    BaggageSpanProcessor = None

BARE = "no processor"
EMPTY = "empty processor"
BAGGAGE = "BaggageSpanProcessor"
ONE_CALL = "one set_attributes call"
OURS = "MlflowContextSpanProcessor"

ENTRIES = (0, 3, 20)
CHILDREN = 9

# One resource attribute for each row of the table of process facts, but for the logged model,
# which few processes have.
RESOURCE = Resource(
    {
        "vcs.ref.head.revision": "9f8c2a1b0d3e4f5a6b7c8d9e0f1a2b3c4d5e6f70",
        "vcs.ref.head.name": "main",
        "vcs.repository.url.full": "https://github.com/example/assistant",
        "vcs.ref.head.dirty": False,
        "mlflow.source.name": "app.main:app",
        "mlflow.source.type": "JOB",
        "service.version": "1.2.0",
        "deployment.environment.name": "production",
        "deployment.id": "assistant-7d9f",
        "cloud.region": "eu-central-1",
        "service.name": "assistant",
    }
)


class EmptyProcessor(SpanProcessor):
    """The least that a processor can cost."""

    def on_start(self, span, parent_context=None):
        return

    def on_end(self, span):
        return


class OneCallProcessor(SpanProcessor):
    """The least that attributes can cost: literally one call, nothing looked up."""

    def __init__(self, attributes):
        self._attributes = attributes

    def on_start(self, span, parent_context=None):
        span.set_attributes(self._attributes)


def run(*, quick: bool = False) -> str:
    """Measure, and return the tables."""
    rounds, spans = (20, 10) if quick else (600, 30)
    costs = _measure(rounds, spans)
    return "\n\n".join([*_cost_tables(costs), _ratio_table(costs)])


def _measure(rounds: int, spans: int) -> dict[tuple, list[float]]:
    """Nanoseconds by (kind, entries, variant), one figure a round: of a span, or of a trace."""
    cases = [
        (kind, entries, name, tracer)
        for entries in ENTRIES
        for name, tracer in _tracers(entries).items()
        for kind in _KINDS
        if name != ONE_CALL or kind == "root"
    ]
    costs = {case[:3]: [] for case in cases}
    with _no_garbage_collection():
        for round_number in range(rounds):
            progress(f"spans: round {round_number + 1} of {rounds}")
            for kind, entries, name, tracer in random.sample(cases, len(cases)):
                costs[kind, entries, name].append(_KINDS[kind](tracer, entries, spans))
            gc.collect()
    return costs


def _tracers(entries: int) -> dict[str, trace.Tracer]:
    processors = {BARE: None, EMPTY: EmptyProcessor()}
    if BaggageSpanProcessor is not None:
        processors[BAGGAGE] = BaggageSpanProcessor(ALLOW_ALL_BAGGAGE_KEYS)
    processors[OURS] = MlflowContextSpanProcessor(RESOURCE)
    processors[ONE_CALL] = OneCallProcessor(_what_ours_writes(entries))
    tracers = {}
    for name, processor in processors.items():
        provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
        if processor is not None:
            provider.add_span_processor(processor)
        tracers[name] = provider.get_tracer("benchmark")
    return tracers


def _what_ours_writes(entries: int) -> dict[str, str]:
    provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    provider.add_span_processor(MlflowContextSpanProcessor(RESOURCE))
    with _attached(_with_baggage(entries)):
        span = provider.get_tracer("benchmark").start_span("answer")
        span.end()
    return dict(span.attributes)


def _with_baggage(entries: int) -> context_api.Context:
    """Session, user and one entry that is none of our business, then more of those."""
    known = {"session.id": "5f2c7d1e-session", "user.id": "ada@example.com"}
    others = {f"example.key-{number}": f"value-{number}" for number in range(1, 19)}
    context = context_api.Context()
    for key, value in list((known | others).items())[:entries]:
        context = baggage.set_baggage(key, value, context)
    return context


@contextmanager
def _attached(context: context_api.Context):
    token = context_api.attach(context)
    try:
        yield
    finally:
        context_api.detach(token)


@contextmanager
def _no_garbage_collection():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _timed(batch: Callable[[int], None], count: int) -> float:
    batch(max(1, count // 5))  # the caches are this variant's before the clock starts
    start = time.perf_counter_ns()
    batch(count)
    return (time.perf_counter_ns() - start) / count


def _roots(tracer, entries: int, spans: int) -> float:
    def batch(count):
        for _ in range(count):
            tracer.start_span("answer").end()

    with _attached(_with_baggage(entries)):
        return _timed(batch, spans)


def _children(tracer, entries: int, spans: int) -> float:
    def batch(count):
        for _ in range(count):
            tracer.start_span("retrieve").end()

    with _attached(_with_baggage(entries)):
        root = tracer.start_span("answer")
        with _attached(trace.set_span_in_context(root)):
            cost = _timed(batch, spans)
        root.end()
    return cost


def _traces(tracer, entries: int, spans: int) -> float:
    def batch(count):
        for _ in range(count):
            root = tracer.start_span("answer")
            token = context_api.attach(trace.set_span_in_context(root))
            for _ in range(CHILDREN):
                tracer.start_span("retrieve").end()
            context_api.detach(token)
            root.end()

    with _attached(_with_baggage(entries)):
        return _timed(batch, max(1, spans // (1 + CHILDREN)))


_KINDS = {"root": _roots, "child": _children, "trace": _traces}


def _increments(costs, kind: str, entries: int, variant: str) -> list[float]:
    pairs = zip(costs[kind, entries, variant], costs[kind, entries, BARE], strict=True)
    return [cost - bare for cost, bare in pairs]


def _more_than_empty(costs) -> list[str]:
    """A difference, because a ratio to next to nothing says nothing."""
    pairs = [zip(costs["child", n, OURS], costs["child", n, EMPTY], strict=True) for n in ENTRIES]
    return [f"{statistics.median(ours - empty for ours, empty in pair):+.0f}" for pair in pairs]


def _cost_tables(costs) -> list[str]:
    titles = {
        "root": "Root span, microseconds (over a provider without processors)",
        "child": "Child span, the same",
        "trace": f"Trace of a root and {CHILDREN} children, the same",
    }
    variants = [BARE, EMPTY, BAGGAGE, ONE_CALL, OURS]
    return [
        table(
            title,
            ("", *(f"{entries} baggage entries" for entries in ENTRIES)),
            [
                (variant, *(_cost(costs, kind, entries, variant) for entries in ENTRIES))
                for variant in variants
                if (kind, 0, variant) in costs
            ],
        )
        for kind, title in titles.items()
    ]


def _cost(costs, kind: str, entries: int, variant: str) -> str:
    cost = statistics.median(costs[kind, entries, variant]) / 1000
    if variant == BARE:
        return f"{cost:.1f}        "
    over = statistics.median(_increments(costs, kind, entries, variant)) / 1000
    return f"{cost:.1f} {f'({over:+.1f})':>7}"


def _ratio_table(costs) -> str:
    def whole(kind, other):
        return [ratio(costs[kind, n, OURS], costs[kind, n, other]) for n in ENTRIES]

    def over_bare(kind, other):
        return [
            ratio(_increments(costs, kind, n, OURS), _increments(costs, kind, n, other))
            for n in ENTRIES
        ]

    rows = [
        ("root: ours / one call, whole span", *whole("root", ONE_CALL), "<= 1.15"),
        ("root: ours / one call, what it adds", *over_bare("root", ONE_CALL), "<= 1.15"),
        ("child: ours / empty, whole span", *whole("child", EMPTY), "1"),
        ("child: ours - empty, nanoseconds", *_more_than_empty(costs), "0"),
    ]
    if BaggageSpanProcessor is not None:
        against_baggage = over_bare("trace", BAGGAGE)
        rows.append(
            ("trace: ours / BaggageSpanProcessor, what it adds", *against_baggage, "<= 0.25 (3)")
        )
    return table(
        "Ratio of medians (median of each round's ratio)",
        ("", *(f"{entries} entries" for entries in ENTRIES), "goal"),
        rows,
    )
