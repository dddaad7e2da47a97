"""An assessment as a source returns it: what somebody thought of a trace."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from otel_mlflow_context.compare.sources.times import milliseconds

Value = bool | float | str
"""True or false, a number, or a text."""


class Judge(NamedTuple):
    """Who assessed, and what of the trace."""

    kind: str
    """``HUMAN``, ``LLM_JUDGE`` or ``CODE``."""
    name: str
    span_id: str
    """Empty where it is the whole trace."""


class Assessment(NamedTuple):
    """A feedback that no other one overrides."""

    name: str
    judge: Judge
    time_ms: int
    value: Value | None
    """None where there is none that can be compared: an error, a list or an object."""
    failed: bool
    """Whether the judge has ended with an error."""


def of_json(assessments: Sequence[Mapping[str, Any]] | None) -> tuple[Assessment, ...]:
    """The feedback among the assessments of a trace, as MLflow's REST API has them."""
    return tuple(_of_json(assessments)) if assessments else ()


def _of_json(assessments: Sequence[Mapping[str, Any]]) -> Iterator[Assessment]:
    for it in assessments:
        feedback = it.get("feedback")
        if feedback is None or it.get("valid") is False:
            continue
        source = it.get("source") or {}
        time = str(it.get("last_update_time") or it.get("create_time") or "")
        yield Assessment(
            str(it.get("assessment_name") or ""),
            Judge(
                str(source.get("source_type") or ""),
                str(source.get("source_id") or ""),
                str(it.get("span_id") or ""),
            ),
            milliseconds(time) if time else 0,
            _value(feedback.get("value")),
            failed=bool(feedback.get("error")),
        )


def of_entities(assessments: Sequence[Any] | None) -> tuple[Assessment, ...]:
    """The same of MLflow's client (`mlflow.entities.Assessment`)."""
    return tuple(
        Assessment(
            it.name,
            Judge(str(it.source.source_type), str(it.source.source_id or ""), it.span_id or ""),
            it.last_update_time_ms or it.create_time_ms or 0,
            _value(it.feedback.value),
            failed=it.feedback.error is not None,
        )
        for it in assessments or ()
        if it.feedback is not None and it.valid is not False
    )


def _value(value: Any) -> Value | None:
    if isinstance(value, (bool, str)):
        return value
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
