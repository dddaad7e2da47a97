"""Trace metadata from an entry span and its resource: when received, exported, or stored."""

from __future__ import annotations

from collections.abc import Mapping

from otel_mlflow_context.facts.metadata import allowed_metadata, claimed_metadata, metadata_key
from otel_mlflow_context.facts.process import process_facts
from otel_mlflow_context.semconv import GIT_METADATA, METADATA_KEYS
from otel_mlflow_context.settings import Settings


def metadata_from_span(
    attributes: Mapping[str, object], resource: Mapping[str, object], settings: Settings
) -> dict[str, str]:
    """The trace metadata (and client request id) of an entry span.

    Args:
        attributes: of the span; they take precedence.
        resource: the attributes of its resource, in the names of the semantic conventions.
        settings: `metadata_keys` and `source_type` are used.
    """
    declared = settings.metadata_keys
    own = {key: attributes[key] for key in declared if key in attributes}
    metadata = allowed_metadata({**own, **claimed_metadata(attributes)}, declared)
    facts = process_facts([resource], settings) if resource else {}
    others = {metadata_key(key): value for key, value in facts.items() if key != METADATA_KEYS}
    if not GIT_METADATA.isdisjoint(metadata):
        others = {key: value for key, value in others.items() if key not in GIT_METADATA}
    if others.keys() <= metadata.keys():
        return metadata
    return allowed_metadata({**others, **metadata}, declared)
