"""Trace metadata as attributes of a root span, and back: what is allowed, and how much of it.

A fact crosses process boundaries, and every exporter, as an attribute of the root span
(`semconv.Fact.attribute`), which anybody in between may have written.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

from otel_mlflow_context.facts.values import clean, max_length
from otel_mlflow_context.semconv import (
    FEATURE_FLAG_PREFIX,
    MAX_DECLARED,
    METADATA_KEYS,
    MLFLOW_TRACE_TAG_PREFIX,
    PROCESS_FACTS,
    REQUEST_FACTS,
    RESERVED,
    is_allowed_key,
)

# A span keeps 128 attributes and drops the oldest: baggage with more flags than this, made by
# mistake or with intent, must not push out the process facts. All facts are 112 at most, and
# leave room for what instrumentations of web frameworks write.
MAX_FEATURE_FLAGS: Final = 64
_MAX_TAGGED: Final = 56
MAX_SIZE: Final = 16_384
"""Bytes of the keys and values that are not in the tables; those of the tables are fewer."""

_ATTRIBUTE_TO_METADATA: Final = {
    fact.attribute: fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS)
}
_METADATA_TO_ATTRIBUTE: Final = {
    metadata: attribute for attribute, metadata in _ATTRIBUTE_TO_METADATA.items()
}


def metadata_key(attribute: str) -> str:
    """The key of the metadata that an attribute of a root span becomes."""
    return _ATTRIBUTE_TO_METADATA.get(attribute, attribute)


def merge_facts(facts: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Both, where `more` wins; the declared keys are those of both, as far as there is room."""
    merged = {**facts, **more}
    if METADATA_KEYS in more and METADATA_KEYS in facts:
        listed = f"{facts[METADATA_KEYS]},{more[METADATA_KEYS]}".split(",")
        keys = list(dict.fromkeys(listed))
        for key in keys[MAX_DECLARED:]:
            merged.pop(key, None)
        merged[METADATA_KEYS] = ",".join(keys[:MAX_DECLARED])
    return merged


def allowed_metadata(
    metadata: Mapping[str, object], declared: tuple[str, ...] = ()
) -> dict[str, str]:
    """The part of metadata that may be written: the keys of the table first, then the others.

    Args:
        metadata: any values by any keys.
        declared: the setting `metadata_keys`.
    """
    allowed: dict[str, str] = {}
    for key, attribute in _METADATA_TO_ATTRIBUTE.items():
        if key in metadata and (value := clean(metadata[key], max_length(attribute))) is not None:
            allowed[key] = value
    free = [key for key in metadata if key not in _METADATA_TO_ATTRIBUTE]
    seen: set[str] = set()
    room = {True: MAX_FEATURE_FLAGS, False: MAX_DECLARED}
    size = 0
    for key in free:
        is_flag = key.startswith(FEATURE_FLAG_PREFIX)
        if not (room[is_flag] and is_allowed_key(key, declared)) or key.lower() in seen:
            continue
        if (value := clean(metadata[key])) is None:
            continue
        size += len(key) + len(value.encode())
        if size > MAX_SIZE:
            break
        room[is_flag] -= 1
        seen.add(key.lower())
        allowed[key] = value
    return allowed


def attributes_from_metadata(
    metadata: Mapping[str, object], declared: tuple[str, ...] = ()
) -> dict[str, str]:
    """The attributes of a root span that carry trace metadata (and the client request id).

    Keys that are not in the table are listed in one more attribute, by which readers of the span
    that do not have these settings recognise them.

    >>> attributes_from_metadata({"mlflow.trace.session": "s-1", "tenant": "acme"})
    {'session.id': 's-1', 'tenant': 'acme', 'otel_mlflow_context.metadata_keys': 'tenant'}
    """
    if not metadata:
        return {}
    allowed = allowed_metadata(metadata, declared)
    attributes = {_METADATA_TO_ATTRIBUTE.get(key, key): value for key, value in allowed.items()}
    listed = [
        key
        for key in allowed
        if key not in _METADATA_TO_ATTRIBUTE and not key.startswith(FEATURE_FLAG_PREFIX)
    ]
    if listed:
        attributes[METADATA_KEYS] = ",".join(listed)
    return attributes


def metadata_from_attributes(
    attributes: Mapping[str, object], declared: tuple[str, ...] = ()
) -> dict[str, str]:
    """The trace metadata (and client request id) that the attributes of a root span carry.

    >>> metadata_from_attributes({"session.id": "s-1", "http.route": "/ask", "feature_flag_x": "b"})
    {'mlflow.trace.session': 's-1', 'feature_flag_x': 'b'}
    """
    return allowed_metadata(claimed_metadata(attributes), declared)


def claimed_metadata(attributes: Mapping[str, object]) -> dict[str, object]:
    """The attributes of a root span that claim to be trace metadata, by its keys."""
    return {metadata_key(key): attributes[key] for key in fact_keys(attributes)}


def fact_keys(attributes: Mapping[str, object]) -> list[str]:
    """Which of a root span's attributes are, or claim to be, facts."""
    listed = attributes.get(METADATA_KEYS)
    listed_keys = frozenset(listed.split(",")) - RESERVED if isinstance(listed, str) else ()
    return [
        key
        for key in attributes
        if key in _ATTRIBUTE_TO_METADATA
        or key in listed_keys
        or key.startswith(FEATURE_FLAG_PREFIX)
    ]


def with_tags(facts: Mapping[str, str], declared: tuple[str, ...] = ()) -> dict[str, str]:
    """Facts, and the same as attributes that MLflow's OTLP endpoint turns into tags of the trace.

    As many as a span keeps both of.
    """
    kept = dict(itertools.islice(facts.items(), _MAX_TAGGED))
    metadata = metadata_from_attributes(kept, declared)
    return {**kept, **{MLFLOW_TRACE_TAG_PREFIX + key: value for key, value in metadata.items()}}
