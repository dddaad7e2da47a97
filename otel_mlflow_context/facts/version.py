"""The version of an application that trace metadata names, as MLflow's LoggedModel describes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_mlflow_context.semconv import (
    GIT_METADATA,
    MLFLOW_GIT_BRANCH,
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY,
    MLFLOW_GIT_REPO_URL,
    MLFLOW_MODEL_ID,
    SERVICE_NAME,
)

_APP_VERSION: Final = "app_version"
_IDENTITY: Final = {
    SERVICE_NAME: "service_name",
    _APP_VERSION: _APP_VERSION,
    MLFLOW_GIT_COMMIT: MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY: MLFLOW_GIT_DIRTY,
}
"""The tags of a model that together are the version, and the trace metadata of each."""
_DETAILS: Final = (MLFLOW_GIT_BRANCH, MLFLOW_GIT_REPO_URL)
"""Metadata that is a tag of the model too, of whichever trace was the first."""
IS_EXTERNAL: Final = "mlflow.model.isExternal"
"""The tag of a model that has no files in MLflow (mlflow/utils/mlflow_tags.py)."""

_COMMIT: Final = re.compile("[0-9a-f]{7,64}")
_SHORT: Final = 7
"""Digits of a commit in a name."""
_NOT_IN_NAMES: Final = re.compile(r"[^\w ()+@~-]", re.ASCII)
"""MLflow refuses a name with one of ``/ : . % " '``; what stands in a filter is of ASCII."""
_MAX_NAME: Final = 200


class Version(NamedTuple):
    """A version of an application."""

    name: str
    """For people: service and version, or commit: ``shop-1_4_2``, ``shop-9f1c3aa-dirty``."""
    identity: tuple[tuple[str, str], ...]
    """Tags that no other version of the experiment has all of."""
    details: tuple[tuple[str, str], ...]
    """More tags."""

    @property
    def tags(self) -> dict[str, str]:
        """Of the LoggedModel."""
        return {**dict(self.details), **dict(self.identity), IS_EXTERNAL: "true"}

    @property
    def filter(self) -> str:
        """A filter of MLflow's search that finds the version's models, and perhaps others."""
        commit = dict(self.identity).get(MLFLOW_GIT_COMMIT)
        return f"tags.`{MLFLOW_GIT_COMMIT}` = '{commit}'" if commit else f"name = '{self.name}'"

    def is_model(self, tags: Mapping[str, str]) -> bool:
        """Whether a LoggedModel with these tags is the version's."""
        return self.identity == tuple((key, tags[key]) for key in _IDENTITY if key in tags)

    def is_git_model(self, tags: Mapping[str, str]) -> bool:
        """Whether ``mlflow.genai.enable_git_model_versioning`` made the model, of this commit."""
        identity = dict(self.identity)
        of_git = (MLFLOW_GIT_COMMIT, MLFLOW_GIT_DIRTY)
        return tags.keys().isdisjoint((SERVICE_NAME, _APP_VERSION, IS_EXTERNAL)) and all(
            key in tags and tags[key] == identity.get(key) for key in of_git
        )


def version_of(metadata: Mapping[str, str]) -> Version | None:
    """The version that a trace's metadata names.

    None where it has neither version nor commit, or names a LoggedModel already.
    """
    if MLFLOW_MODEL_ID in metadata:
        return None
    found = {tag: value for tag, key in _IDENTITY.items() if (value := metadata.get(key))}
    commit = found.get(MLFLOW_GIT_COMMIT, "")
    if not _COMMIT.fullmatch(commit):
        found = {tag: value for tag, value in found.items() if tag not in GIT_METADATA}
    number = found.get(_APP_VERSION) or found.get(MLFLOW_GIT_COMMIT, "")[:_SHORT]
    if not number:
        return None
    is_dirty = found.get(MLFLOW_GIT_DIRTY) == "true"
    parts = (found.get(SERVICE_NAME), number, "dirty" if is_dirty else None)
    name = _NOT_IN_NAMES.sub("_", "-".join(filter(None, parts)))[:_MAX_NAME]
    details = tuple((key, metadata[key]) for key in _DETAILS if metadata.get(key))
    return Version(name, tuple(found.items()), details)
