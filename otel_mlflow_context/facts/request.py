"""Request facts: into OpenTelemetry's context, and from it to the attributes of a root span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_mlflow_context.facts.metadata import (
    MAX_FEATURE_FLAGS,
    attributes_from_metadata,
    merge_facts,
)
from otel_mlflow_context.facts.values import MAX_LENGTH, clean, max_length, request_value
from otel_mlflow_context.semconv import (
    FEATURE_FLAG_PREFIX,
    METADATA_KEYS,
    REQUEST_FACTS,
    SESSION_ID,
    USER_ID,
    is_allowed_key,
)
from otel_mlflow_context.settings import Settings

# The key of `trace_context(metadata=...)`: in the context but not in its baggage, so that these
# entries never leave the process.
_METADATA: Final = context_api.create_key("otel-mlflow-context-metadata")

_NOTHING: Final[Mapping[str, str]] = {}
# Names instead of a loop over the table, which would take a noticeable part of a span's time.
_SESSION, _USER, _ = REQUEST_FACTS
[_SESSION_ALIAS] = _SESSION.aliases
_SESSION_IN_CONTEXT: Final = str(_SESSION.context_key)
_USER_IN_CONTEXT: Final = str(_USER.context_key)


def set_request_facts(
    context: Context, entries: Mapping[str, str], metadata: Mapping[str, str]
) -> Context:
    """The context with more baggage, and more metadata that stays in this process."""
    for key, value in entries.items():
        context = baggage.set_baggage(key, value, context)
    if metadata:
        outer = context_api.get_value(_METADATA, context)
        merged = {**(outer if isinstance(outer, Mapping) else {}), **metadata}
        context = context_api.set_value(_METADATA, merged, context)
    return context


class RequestFacts:
    """Reads request facts from the context, as attributes of a root span.

    Of the baggage only the keys of the table, declared keys and feature flags are read, so that
    no header can change a process fact.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._protects_users = settings.user_id != "plain"
        self._declared = settings.metadata_keys
        self._max_lengths = dict.fromkeys(self._declared, MAX_LENGTH) | {
            key: max_length(fact.source)
            for fact in REQUEST_FACTS
            for key in (fact.source, *fact.aliases)
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
        metadata = ambient.get(_METADATA)
        if context is not None and context is not ambient:
            entries = {**entries, **baggage.get_all(context)}
            metadata = context.get(_METADATA) or metadata
        try:
            facts = self._from_baggage(entries)
        except TypeError:  # a key that is no text, which baggage that was set in code may have
            facts = self._from_baggage({key: entries[key] for key in entries if _is_text(key)})
        if _SESSION_IN_CONTEXT in ambient or _USER_IN_CONTEXT in ambient:
            facts = {**_from_context(ambient), **facts}
        if self._protects_users:
            facts = apply_user_id_setting(facts, self._settings)
        if metadata and isinstance(metadata, Mapping):
            facts = merge_facts(facts, attributes_from_metadata(metadata, self._declared))
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
                if value and key.startswith(FEATURE_FLAG_PREFIX) and is_allowed_key(key):
                    facts[key] = value
                    flags += 1
        if _SESSION_ALIAS in facts:
            facts.setdefault(SESSION_ID, facts[_SESSION_ALIAS])
            if _SESSION_ALIAS not in self._declared:
                del facts[_SESSION_ALIAS]
        if self._declared and (declared := [key for key in self._declared if key in facts]):
            facts[METADATA_KEYS] = ",".join(declared)
        return facts


def _is_text(key: object) -> bool:
    return isinstance(key, str)


def _from_context(context: Context) -> dict[str, str]:
    values = {
        SESSION_ID: clean(context.get(_SESSION_IN_CONTEXT)),
        USER_ID: clean(context.get(_USER_IN_CONTEXT)),
    }
    return {attribute: value for attribute, value in values.items() if value is not None}


def apply_user_id_setting(facts: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The attributes with the user's id as it may be written, or without it."""
    user_id = request_value(USER_ID, facts.get(USER_ID), settings)
    others = {key: value for key, value in facts.items() if key != USER_ID}
    return {**others, USER_ID: user_id} if user_id else others
