"""Traces with spans whose explanation is known, alone and in a real store."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.entities import TraceInfo, TraceLocation, TraceState
from mlflow.entities.span import create_mlflow_span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
from stores import dice_of, log_spans, store_of

from otel_mlflow_context.compare.explain.features import Features, features
from otel_mlflow_context.compare.sources.base import Trace
from otel_mlflow_context.compare.sources.spans import Span

MS = 1_000_000


def span(name: str, parent: str | None, start: float, end: float, **more: object) -> Span:
    """A span whose id is its name, in milliseconds."""
    return Span(name, parent, name, round(start * MS), round(end * MS), **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Known:
    """A trace with its spans."""

    version: str
    state: str
    latency_ms: int
    metadata: tuple[tuple[str, str], ...]
    spans: tuple[Span, ...]

    def as_features(self, trace_id: str = "tr-1") -> Features:
        metadata = dict(self.metadata) | {"app_version": self.version}
        trace = Trace(0, self.latency_ms, self.state, metadata, trace_id)
        return features(trace, self.spans)


def known(version: str, count: int, *, slow: float = 1.0, error: float = 0.0) -> list[Known]:
    """Traces of an application, of which one span may be slower and one error more frequent."""
    dice = random.Random(f"{version} {count}")
    found = []
    for _ in range(count):
        region = dice.choice(("eu", "us"))
        search = round(dice.randrange(60, 100) * slow)
        model = dice.randrange(200, 300)
        failed = dice.random() < error
        end = 10 + search + model
        more = {
            "failed": failed,
            "exception": "ValueError" if failed else "",
            "message": f"document {dice.randrange(1000)} of 'x' is empty" if failed else "",
        }
        spans = (
            span("ask", None, 0, end, failed=failed, exception=more["exception"]),
            span("search", "ask", 5, 5 + search),
            span(
                *("chat", "ask", 5 + search, 5 + search + model),
                model="gpt",
                tokens=float(dice.randrange(100, 200)),
                cost=dice.randrange(100, 200) / 1e5,
                **more,
            ),
        )
        state = "ERROR" if failed else "OK"
        found.append(Known(version, state, end, (("region", region),), spans))
    return found


def write(uri: str, traces: Sequence[Known]) -> None:
    """Write traces with their spans by MLflow's own store."""
    spans: list[list[Any]] = []
    with store_of(uri) as store:
        dice = dice_of(uri, traces)
        now_ns = (time.time_ns() // MS - 3_600_000) * MS  # MLflow has milliseconds
        for it in traces:
            number = dice.getrandbits(128)
            trace_id = f"tr-{number:032x}"
            store.start_trace(
                TraceInfo(
                    trace_id=trace_id,
                    trace_location=TraceLocation.from_experiment_id("0"),
                    request_time=now_ns // MS,
                    execution_duration=it.latency_ms,
                    state=TraceState(it.state),
                    trace_metadata=dict(it.metadata) | {"app_version": it.version},
                    tags={"mlflow.trace.spansLocation": "TRACKING_STORE"},
                )
            )
            ids = {one.span_id: dice.getrandbits(64) for one in it.spans}
            made = [
                create_mlflow_span(_otel(one, number, ids, now_ns), trace_id) for one in it.spans
            ]
            spans.append(made)
        log_spans(store, spans)


def _otel(one: Span, trace_id: int, ids: dict[str, int], now_ns: int) -> ReadableSpan:
    attributes: dict[str, str] = {"mlflow.traceRequestId": json.dumps(f"tr-{trace_id:032x}")}
    if one.model:
        attributes["mlflow.llm.model"] = json.dumps(one.model)
        attributes["mlflow.chat.tokenUsage"] = json.dumps({"total_tokens": int(one.tokens or 0)})
        attributes["mlflow.llm.cost"] = json.dumps({"total_cost": one.cost})
    exception = {"exception.type": one.exception, "exception.message": one.message}
    end_ns = now_ns + one.end_ns
    return ReadableSpan(
        one.name,
        context=_context(trace_id, ids[one.span_id]),
        parent=_context(trace_id, ids[one.parent_id]) if one.parent_id else None,
        resource=Resource({}),
        attributes=attributes,
        events=[Event("exception", exception, end_ns)] if one.exception else (),
        status=Status(StatusCode.ERROR if one.failed else StatusCode.OK),
        start_time=now_ns + one.start_ns,
        end_time=end_ns,
    )


def _context(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))
