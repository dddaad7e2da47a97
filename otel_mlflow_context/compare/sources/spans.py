"""A span as a source returns it: what explains the latency, errors, tokens and cost of a trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

# mlflow/tracing/constant.py, which MLflow 3.10 and later derive from the others.
_USAGE: Final = "mlflow.chat.tokenUsage"
_COST: Final = "mlflow.llm.cost"
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/; the last is OpenInference's.
_MODELS: Final = (
    *("mlflow.llm.model", "gen_ai.request.model", "gen_ai.response.model", "llm.model_name"),
)
_TOKENS: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
_EXCEPTION: Final = "exception"
_FAILED: Final = ("ERROR", "STATUS_CODE_ERROR", 2)


@dataclass(frozen=True)
class Span:
    """A span that has ended."""

    span_id: str
    parent_id: str | None
    name: str
    start_ns: int
    end_ns: int
    failed: bool = False
    exception: str = ""
    """The type of the exception that was recorded last."""
    message: str = ""
    """Of the exception, or else of the status."""
    model: str = ""
    tokens: float | None = None
    cost: float | None = None
    """In US dollars."""

    @classmethod
    def of(  # noqa: PLR0913, PLR0917  # a span has many parts
        cls,
        span_id: str,
        parent_id: str | None,
        name: str,
        times_ns: tuple[int, int],
        status: tuple[Any, str],
        events: Sequence[tuple[str, Mapping[str, Any]]],
        attribute: Callable[[str], Any],
    ) -> Span:
        """A span of its parts.

        Args:
            span_id: its id.
            parent_id: the id of its parent.
            name: its name.
            times_ns: start and end.
            status: code and message.
            events: the name and the attributes of each.
            attribute: its attributes by their key, None where it has none.
        """
        code, message = status
        recorded: Mapping[str, Any] = next(
            (found for event, found in reversed(events) if event == _EXCEPTION), {}
        )
        return cls(
            span_id=span_id,
            parent_id=parent_id or None,
            name=name,
            start_ns=times_ns[0],
            end_ns=max(times_ns),
            failed=code in _FAILED,
            exception=str(recorded.get("exception.type") or ""),
            message=str(recorded.get("exception.message") or message or ""),
            model=next((str(found) for it in _MODELS if (found := attribute(it))), ""),
            tokens=_tokens(attribute),
            cost=number_in(attribute(_COST), "total_cost"),
        )


def of_otlp(span: Mapping[str, Any]) -> Span:
    """A span of OTLP's JSON, with protobuf's names of fields."""
    attributes = _values(span.get("attributes"))
    status = span.get("status") or {}
    start_ns = int(span.get("start_time_unix_nano") or 0)
    return Span.of(
        str(span.get("span_id")),
        span.get("parent_span_id"),
        str(span.get("name") or ""),
        (start_ns, int(span.get("end_time_unix_nano") or start_ns)),
        (status.get("code"), str(status.get("message") or "")),
        [(str(it.get("name")), _values(it.get("attributes"))) for it in span.get("events") or ()],
        attributes.get,
    )


def of_entity(span: Any) -> Span:
    """A span of MLflow's client (`mlflow.entities.Span`)."""
    return Span.of(
        str(span.span_id),
        span.parent_id,
        str(span.name or ""),
        (span.start_time_ns or 0, span.end_time_ns or span.start_time_ns or 0),
        (span.status.status_code.value, str(span.status.description or "")),
        [(it.name, it.attributes or {}) for it in span.events],
        span.get_attribute,
    )


def _values(attributes: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {str(it.get("key")): _value(it.get("value") or {}) for it in attributes or ()}


def _value(value: Mapping[str, Any]) -> Any:
    """OTLP's AnyValue; arrays are not needed."""
    if "kvlist_value" in value:
        return _values(value["kvlist_value"].get("values"))
    if "int_value" in value:  # protobuf's JSON has 64 bits as text
        return int(value["int_value"])
    return next((value[it] for it in ("string_value", "double_value") if it in value), None)


def _tokens(attribute: Callable[[str], Any]) -> float | None:
    if (total := number_in(attribute(_USAGE), "total_tokens")) is not None:
        return total
    counts = [found for it in _TOKENS if (found := _number(attribute(it))) is not None]
    return sum(counts) if counts else None


def number_in(found: Any, key: str) -> float | None:
    """A number in an object or its JSON; None where there is none."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return None
    return _number(found.get(key)) if isinstance(found, Mapping) else None


def _number(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if usable else None
