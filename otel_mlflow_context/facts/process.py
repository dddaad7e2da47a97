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
    VCS_PREFIX,
    VCS_REF_HEAD_REVISION,
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
    layers = _of_one_commit([_without_defaults(layer) for layer in layers])
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


def _of_one_commit(layers: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The layers, without the facts of another commit than the first that is named."""
    result: list[Mapping[str, object]] = []
    ours: str | None = None
    for layer in layers:
        theirs = _first([layer], VCS_REF_HEAD_REVISION)
        is_other = ours and theirs and not is_same_commit(ours, theirs)
        ours = ours or theirs
        result.append(_without_code(layer) if is_other else layer)
    return result


def _without_code(layer: Mapping[str, object]) -> Mapping[str, object]:
    return {key: value for key, value in layer.items() if not key.startswith(VCS_PREFIX)}


def is_same_commit(commit: str, other: str) -> bool:
    """Whether two ids are of one commit; either may be shortened."""
    commit, other = commit.lower(), other.lower()
    return commit.startswith(other) or other.startswith(commit)


def _without_defaults(attributes: Mapping[str, object]) -> Mapping[str, object]:
    if str(attributes.get(SERVICE_NAME, "")).startswith(_UNKNOWN_SERVICE):
        return {key: value for key, value in attributes.items() if key != SERVICE_NAME}
    return attributes


def _first(layers: Iterable[Mapping[str, object]], *names: str) -> str | None:
    values = (clean(layer[name]) for layer in layers for name in names if name in layer)
    return next((value for value in values if value is not None), None)
