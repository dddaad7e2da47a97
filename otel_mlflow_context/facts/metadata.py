"""Trace metadata as attributes of a root span, and back.

A fact crosses process boundaries, and every exporter, as an attribute of the root span
(`semconv.Fact.attribute`). Values have always passed `values.clean`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_mlflow_context.facts.values import clean, max_length
from otel_mlflow_context.semconv import (
    FEATURE_FLAG_PREFIX,
    METADATA_KEYS,
    MLFLOW_TRACE_TAG_PREFIX,
    PROCESS_FACTS,
    REQUEST_FACTS,
)

_ATTRIBUTE_TO_METADATA: Final = {
    fact.attribute: fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS)
}
_METADATA_TO_ATTRIBUTE: Final = {
    metadata: attribute for attribute, metadata in _ATTRIBUTE_TO_METADATA.items()
}


def merge_facts(facts: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Both, where `more` wins; the declared keys are those of both."""
    if METADATA_KEYS not in more or METADATA_KEYS not in facts:
        return {**facts, **more}
    keys = (*facts[METADATA_KEYS].split(","), *more[METADATA_KEYS].split(","))
    return {**facts, **more, METADATA_KEYS: ",".join(dict.fromkeys(keys))}


def attributes_from_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a root span that carry trace metadata (and the client request id).

    Keys that are not in the table are listed in one more attribute, by which readers of the span
    that do not have these settings recognise them.

    >>> attributes_from_metadata({"mlflow.trace.session": "s-1", "tenant": "acme"})
    {'session.id': 's-1', 'tenant': 'acme', 'otel_mlflow_context.metadata_keys': 'tenant'}
    """
    attributes = {_METADATA_TO_ATTRIBUTE.get(key, key): value for key, value in metadata.items()}
    declared = [
        key
        for key in metadata
        if key not in _METADATA_TO_ATTRIBUTE and not key.startswith(FEATURE_FLAG_PREFIX)
    ]
    if declared:
        attributes[METADATA_KEYS] = ",".join(declared)
    return attributes


def metadata_from_attributes(attributes: Mapping[str, object]) -> dict[str, str]:
    """The trace metadata (and client request id) that the attributes of a root span carry.

    >>> metadata_from_attributes({"session.id": "s-1", "http.route": "/ask", "feature_flag_x": "b"})
    {'mlflow.trace.session': 's-1', 'feature_flag_x': 'b'}
    """
    return {
        _ATTRIBUTE_TO_METADATA.get(key, key): value
        for key in fact_keys(attributes)
        if (value := clean(attributes.get(key), max_length(key))) is not None
    }


def fact_keys(attributes: Mapping[str, object]) -> list[str]:
    """Which of a root span's attributes are facts."""
    declared = attributes.get(METADATA_KEYS)
    declared_keys = declared.split(",") if isinstance(declared, str) else ()
    return [
        key
        for key in attributes
        if key in _ATTRIBUTE_TO_METADATA
        or key.startswith(FEATURE_FLAG_PREFIX)
        or key in declared_keys
    ]


def tag_attributes(facts: Mapping[str, str]) -> dict[str, str]:
    """The same facts as attributes that MLflow's OTLP endpoint turns into tags of the trace."""
    return {
        MLFLOW_TRACE_TAG_PREFIX + key: value
        for key, value in metadata_from_attributes(facts).items()
    }
