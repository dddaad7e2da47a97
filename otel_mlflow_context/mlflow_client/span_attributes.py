"""The attributes of a span as MLflow's SDK reads them, and as every other reader does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_mlflow_context.facts.metadata import fact_keys, metadata_key
from otel_mlflow_context.semconv import MLFLOW_TRACE_TAG_PREFIX

# Of a `ReadableSpan`, but for its attributes.
_FIELDS: Final = (
    *("name", "context", "parent", "resource", "events", "links", "kind", "status"),
    *("start_time", "end_time", "instrumentation_scope"),
)


def encoded(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes that MLflow's SDK reads back as they are.

    It takes an attribute for JSON first (``_SpanAttributesRegistry`` in mlflow/entities/span.py),
    so that ``1.10`` would come back as the number 1.1. Only such text is written as JSON; all
    other stays plain, for everybody else who reads the span.

    >>> encoded({"app_version": "1.10", "environment": "production"})
    {'app_version': '"1.10"', 'environment': 'production'}
    """
    return {key: json.dumps(text) if _is_json(text) else text for key, text in attributes.items()}


def decoded(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with those of `encoded` as plain text."""
    decoded = dict(attributes)
    keys = fact_keys(attributes)
    for key in (*keys, *(MLFLOW_TRACE_TAG_PREFIX + metadata_key(key) for key in keys)):
        value = decoded.get(key)
        if isinstance(value, str) and value.startswith('"') and _is_json(value):
            decoded[key] = json.loads(value)
    return decoded


def with_decoded_attributes(span: ReadableSpan) -> ReadableSpan:
    """The span for exporters that are not MLflow's."""
    attributes = span.attributes
    if not attributes or (plain := decoded(attributes)) == attributes:
        return span
    return with_attributes(span, plain)


def with_attributes(span: ReadableSpan, attributes: Mapping[str, Any]) -> ReadableSpan:
    """A copy of an ended span with other attributes: those of an ended span cannot change."""
    return ReadableSpan(attributes=attributes, **{name: getattr(span, name) for name in _FIELDS})


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
