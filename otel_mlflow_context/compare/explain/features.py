"""What an explanation needs of one trace: a few numbers by span, error and model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_mlflow_context.compare.explain.critical_path import time_of_spans
from otel_mlflow_context.compare.explain.masking import masked
from otel_mlflow_context.compare.sources.base import ERROR, FINISHED, Trace
from otel_mlflow_context.compare.sources.spans import Span

_NS_PER_MS: Final = 1_000_000
_DEEPEST: Final = 20


class Error(NamedTuple):
    """What kind of error a trace has ended with."""

    span: str
    exception: str
    message: str


class Usage(NamedTuple):
    """What tokens and cost are used by."""

    model: str
    span: str


@dataclass(frozen=True)
class Features:
    """One trace."""

    trace_id: str
    metadata: Mapping[str, str]
    latency: float | None
    """Milliseconds."""
    failed: float | None
    """1 or 0; None of a trace that has not ended."""
    tokens: float | None
    cost: float | None
    path_ms: Mapping[str, float]
    """By span name: the time on the critical path."""
    calls: Mapping[str, tuple[int, float]]
    """By span name: how many, and their milliseconds together."""
    paths: Mapping[str, tuple[str, ...]]
    """By span name: the names of the spans above the first of them."""
    error: Error | None
    tokens_of: Mapping[Usage, float]
    cost_of: Mapping[Usage, float]


def features(trace: Trace, spans: Sequence[Span]) -> Features:
    """The features of a trace with its spans."""
    by_id = {span.span_id: span for span in spans}
    path_ns: defaultdict[str, int] = defaultdict(int)
    for span_id, time_ns in time_of_spans(spans).items():
        path_ns[by_id[span_id].name] += time_ns
    calls: dict[str, tuple[int, float]] = {}
    for span in spans:
        count, duration = calls.get(span.name, (0, 0.0))
        calls[span.name] = (count + 1, duration + (span.end_ns - span.start_ns) / _NS_PER_MS)
    tokens_of = _usage(spans, by_id, {it.span_id: it.tokens for it in spans})
    cost_of = _usage(spans, by_id, {it.span_id: it.cost for it in spans})
    return Features(
        trace_id=trace.trace_id,
        metadata=trace.metadata,
        latency=trace.latency_ms,
        failed=float(trace.state == ERROR) if trace.state in FINISHED else None,
        tokens=_total(trace.tokens, tokens_of),
        cost=_total(trace.cost, cost_of),
        path_ms={name: time_ns / _NS_PER_MS for name, time_ns in path_ns.items()},
        calls=calls,
        paths={it.name: tuple(_above(it, by_id)) for it in reversed(spans)},
        error=_error(spans, by_id) if trace.state == ERROR else None,
        tokens_of=tokens_of,
        cost_of=cost_of,
    )


def _total(of_trace: float | None, of_spans: Mapping[Usage, float]) -> float | None:
    if of_trace is None and of_spans:
        return sum(of_spans.values())
    return of_trace


def _ancestors(span: Span, by_id: Mapping[str, Span]) -> Iterator[Span]:
    """The parent, its parent and so on, each once."""
    seen = {span.span_id}
    above = by_id.get(span.parent_id or "")
    while above is not None and above.span_id not in seen:
        seen.add(above.span_id)
        yield above
        above = by_id.get(above.parent_id or "")


def _above(span: Span, by_id: Mapping[str, Span]) -> list[str]:
    names = [it.name for it in _ancestors(span, by_id)]
    return names[:_DEEPEST][::-1]


def _usage(
    spans: Sequence[Span], by_id: Mapping[str, Span], values: Mapping[str, float | None]
) -> dict[Usage, float]:
    """As MLflow sums it up: what stands below a span that has some is contained in it."""
    found: defaultdict[Usage, float] = defaultdict(float)
    for span in spans:
        value = values[span.span_id]
        if value is None or any(values[it.span_id] is not None for it in _ancestors(span, by_id)):
            continue
        found[Usage(span.model, span.name)] += value
    return dict(found)


def _error(spans: Sequence[Span], by_id: Mapping[str, Span]) -> Error:
    """The error that a trace has ended with, where it began.

    An exception is recorded by each span that it leaves. So: from above, the failed child that
    ended last, down to the last that has none. A child of another exception was handled if its
    parent went on and started another one.
    """
    last_start: dict[str | None, int] = {}
    failed: defaultdict[str | None, list[Span]] = defaultdict(list)
    for span in spans:
        last_start[span.parent_id] = max(last_start.get(span.parent_id, 0), span.start_ns)
    for span in spans:
        above = by_id.get(span.parent_id or "")
        if not span.failed:
            continue
        if above is None or not above.failed:
            failed[None].append(span)
        elif span.exception == above.exception or span.end_ns > last_start[span.parent_id]:
            failed[above.span_id].append(span)
    origin = None
    seen: set[str | None] = set()
    at: str | None = None
    while at not in seen and failed.get(at):
        seen.add(at)
        origin = max(failed[at], key=lambda it: it.end_ns)
        at = origin.span_id
    if origin is None:
        return Error("", "", "")
    return Error(origin.name, origin.exception, masked(origin.message))
