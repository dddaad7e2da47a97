"""Facts as they stand on a root span: made from a Resource and from baggage, read back as metadata.

Between the two ends a fact is an attribute of the root span (`names.Fact.attribute`), which is how
it crosses process boundaries and every exporter. Values are always `values.clean`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_mlflow_context.facts.values import MAX_LENGTH, clean, max_length, request_value
from otel_mlflow_context.semconv import (
    DEPLOYMENT_ENVIRONMENT_NAME,
    FEATURE_FLAG_PREFIX,
    GIT_METADATA,
    METADATA_KEYS,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_TRACE_TAG_PREFIX,
    PROCESS_FACTS,
    REQUEST_FACTS,
    SERVICE_NAME,
    SESSION_ID,
    USER_ID,
)
from otel_mlflow_context.settings import Settings

# Where `trace_context(metadata=...)` keeps its entries: in the context but not in its baggage, so
# that they never leave the process.
METADATA_IN_CONTEXT: Final = context_api.create_key("otel-mlflow-context-metadata")

# What the SDK puts where nobody named the service: a default is no fact.
_UNKNOWN_SERVICE: Final = "unknown_service"
# A span keeps 128 attributes and drops the oldest: baggage with more flags than this, made by
# mistake or with intent, must not push out what is known of the process.
MAX_FEATURE_FLAGS: Final = 64

_ENVIRONMENT: Final = next(
    fact.attribute for fact in PROCESS_FACTS if fact.source == DEPLOYMENT_ENVIRONMENT_NAME
)
_ATTRIBUTE_TO_METADATA: Final = {
    fact.attribute: fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS)
}
_METADATA_TO_ATTRIBUTE: Final = {
    metadata: attribute for attribute, metadata in _ATTRIBUTE_TO_METADATA.items()
}


def process_facts(layers: Iterable[Mapping[str, object]], settings: Settings) -> dict[str, str]:
    """What resource attributes say of the process, as attributes of a root span.

    Args:
        layers: attributes of resources, the one that wins first. A layer that has a blank value,
            or the SDK's default service name, has nothing to say.
        settings: `metadata_keys` and `source_type` are used.
    """
    layers = [_without_defaults(layer) for layer in layers]
    facts = {
        fact.attribute: value
        for fact in PROCESS_FACTS
        if (value := _first(layers, (fact.source, *fact.also))) is not None
    }
    environment = facts.get(_ENVIRONMENT)
    if settings.source_type == "environment" and environment is not None:
        facts[MLFLOW_SOURCE_TYPE] = environment
    declared = {
        key: value
        for key in settings.metadata_keys
        if (value := _first(layers, (key,))) is not None
    }
    return merge_facts(facts, attributes_from_metadata(declared))


def _without_defaults(attributes: Mapping[str, object]) -> Mapping[str, object]:
    if str(attributes.get(SERVICE_NAME, "")).startswith(_UNKNOWN_SERVICE):
        return {key: value for key, value in attributes.items() if key != SERVICE_NAME}
    return attributes


def _first(layers: Iterable[Mapping[str, object]], names: Iterable[str]) -> str | None:
    names = tuple(names)
    values = (clean(layer[name]) for layer in layers for name in names if name in layer)
    return next((value for value in values if value is not None), None)


def set_request_facts(
    context: Context, entries: Mapping[str, str], metadata: Mapping[str, str]
) -> Context:
    """The context with more baggage, and more metadata that stays in this process."""
    for key, value in entries.items():
        context = baggage.set_baggage(key, value, context)
    if metadata:
        outer = context_api.get_value(METADATA_IN_CONTEXT, context)
        merged = {**(outer if isinstance(outer, Mapping) else {}), **metadata}
        context = context_api.set_value(METADATA_IN_CONTEXT, merged, context)
    return context


class RequestFacts:
    """Reads what the context says of the request, as attributes of a root span.

    Only the keys of the table, declared ones and feature flags are ever read from baggage,
    so that no header can change what is known of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._protects_users = settings.user_id != "plain"
        self._declared = settings.metadata_keys
        self._max_lengths = dict.fromkeys(self._declared, MAX_LENGTH) | {
            key: max_length(fact.source)
            for fact in REQUEST_FACTS
            for key in (fact.source, *fact.also)
        }

    def read(self, context: Context | None) -> Mapping[str, str]:
        """The facts of the given context and, below it, of the ambient one.

        Both are read because MLflow hands its own context, or none, to a span that it starts,
        and OpenTelemetry's baggage is then in the ambient one only.
        """
        ambient = context_api.get_current()
        if not ambient and not context:
            return _NOTHING
        entries = baggage.get_all(ambient)
        metadata = ambient.get(METADATA_IN_CONTEXT)
        if context is not None and context is not ambient:
            entries = {**entries, **baggage.get_all(context)}
            metadata = context.get(METADATA_IN_CONTEXT) or metadata
        try:
            facts = self._from_baggage(entries)
        except TypeError:  # a key that is no text, which baggage that was set in code may have
            facts = self._from_baggage({key: entries[key] for key in entries if _is_text(key)})
        if _SESSION_IN_CONTEXT in ambient or _USER_IN_CONTEXT in ambient:
            facts = {**_in_context(ambient), **facts}
        if self._protects_users:
            facts = apply_user_id_setting(facts, self._settings)
        if metadata and isinstance(metadata, Mapping):
            facts = merge_facts(facts, attributes_from_metadata(metadata))
        return facts

    def _from_baggage(self, entries: Mapping[str, object]) -> dict[str, str]:
        facts: dict[str, str] = {}
        flags = 0
        for key, raw in entries.items():
            if key in self._max_lengths:
                value = clean(raw, self._max_lengths[key])
                if value is not None:
                    facts[key] = value
            # `in` takes half as long as `startswith`, and most entries are no flags.
            elif FEATURE_FLAG_PREFIX in key and flags < MAX_FEATURE_FLAGS:
                value = clean(raw)
                if value and key.startswith(FEATURE_FLAG_PREFIX) and clean(key) == key:
                    facts[key] = value
                    flags += 1
        if _ALSO_SESSION in facts:
            facts.setdefault(SESSION_ID, facts[_ALSO_SESSION])
            if _ALSO_SESSION not in self._declared:
                del facts[_ALSO_SESSION]
        if self._declared and (declared := [key for key in self._declared if key in facts]):
            facts[METADATA_KEYS] = ",".join(declared)
        return facts


def _is_text(key: object) -> bool:
    return isinstance(key, str)


_SESSION, _USER, _ = REQUEST_FACTS
_NOTHING: Final[Mapping[str, str]] = {}
# The same as in the table, each by its own name: a loop takes a noticeable part of a span's time.
[_ALSO_SESSION] = _SESSION.also
_IN_CONTEXT: Final = (_SESSION, _USER)
_SESSION_IN_CONTEXT, _USER_IN_CONTEXT = (fact.in_context for fact in _IN_CONTEXT)


def _in_context(context: Context) -> dict[str, str]:
    values = {fact.attribute: clean(context.get(fact.in_context or "")) for fact in _IN_CONTEXT}
    return {attribute: value for attribute, value in values.items() if value is not None}


def apply_user_id_setting(facts: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The attributes with the user's id as it may be written, or without it."""
    user_id = request_value(USER_ID, facts.get(USER_ID), settings)
    others = {key: value for key, value in facts.items() if key != USER_ID}
    return {**others, USER_ID: user_id} if user_id else others


def merge_facts(facts: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Both, where `more` wins, and with the keys that either declares."""
    if METADATA_KEYS not in more or METADATA_KEYS not in facts:
        return {**facts, **more}
    keys = (*facts[METADATA_KEYS].split(","), *more[METADATA_KEYS].split(","))
    return {**facts, **more, METADATA_KEYS: ",".join(dict.fromkeys(keys))}


def attributes_from_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a root span that carry trace metadata (and the client request id).

    For keys that are not in the table one attribute more says which they are, so that who reads
    the span elsewhere, without our settings, can take them for metadata.

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


def metadata_from_span(
    attributes: Mapping[str, object], resource: Mapping[str, object], settings: Settings
) -> dict[str, str]:
    """The trace metadata (and client request id) that a span and its resource say, as received.

    Args:
        attributes: of the span that speaks for the trace; what they say wins.
        resource: the attributes of its resource, in the names of the semantic conventions.
        settings: `metadata_keys` and `source_type` are used.
    """
    own = metadata_from_attributes(attributes)
    declared = {
        key: value
        for key in settings.metadata_keys
        if (value := clean(attributes.get(key))) is not None
    }
    others = metadata_from_attributes(process_facts([resource], settings))
    if not GIT_METADATA.isdisjoint(own):
        others = {key: value for key, value in others.items() if key not in GIT_METADATA}
    return {**others, **declared, **own}


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
