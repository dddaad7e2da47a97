"""Process facts: from the attributes of resources to the attributes of a root span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from otel_mlflow_context.facts.metadata import attributes_from_metadata, merge_facts
from otel_mlflow_context.facts.values import clean
from otel_mlflow_context.semconv import (
    DEPLOYMENT_ENVIRONMENT_NAME,
    MLFLOW_SOURCE_TYPE,
    PROCESS_FACTS,
    SERVICE_NAME,
)
from otel_mlflow_context.settings import Settings

# The SDK's default, which is no fact.
_UNKNOWN_SERVICE: Final = "unknown_service"
_ENVIRONMENT: Final = next(
    fact.attribute for fact in PROCESS_FACTS if fact.source == DEPLOYMENT_ENVIRONMENT_NAME
)


def process_facts(layers: Iterable[Mapping[str, object]], settings: Settings) -> dict[str, str]:
    """The process facts in resource attributes, as attributes of a root span.

    Args:
        layers: attributes of resources, by precedence, highest first. Blank values and the SDK's
            default service name count as absent.
        settings: `metadata_keys` and `source_type` are used.
    """
    layers = [_without_defaults(layer) for layer in layers]
    facts = {
        fact.attribute: value
        for fact in PROCESS_FACTS
        if (value := _first(layers, fact.source, *fact.aliases)) is not None
    }
    environment = facts.get(_ENVIRONMENT)
    if settings.source_type == "environment" and environment is not None:
        facts[MLFLOW_SOURCE_TYPE] = environment
    declared = {
        key: value for key in settings.metadata_keys if (value := _first(layers, key)) is not None
    }
    return merge_facts(facts, attributes_from_metadata(declared, settings.metadata_keys))


def _without_defaults(attributes: Mapping[str, object]) -> Mapping[str, object]:
    if str(attributes.get(SERVICE_NAME, "")).startswith(_UNKNOWN_SERVICE):
        return {key: value for key, value in attributes.items() if key != SERVICE_NAME}
    return attributes


def _first(layers: Iterable[Mapping[str, object]], *names: str) -> str | None:
    values = (clean(layer[name]) for layer in layers for name in names if name in layer)
    return next((value for value in values if value is not None), None)
