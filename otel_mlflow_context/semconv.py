"""The names of OpenTelemetry's and of MLflow's that this package maps to each other.

The two tables list which resource attribute or baggage key becomes which trace metadata.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

# --- OpenTelemetry: resource attributes ----------------------------------------------------
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs/
VCS_PREFIX: Final = "vcs."
VCS_REF_HEAD_REVISION: Final = "vcs.ref.head.revision"
VCS_REF_HEAD_NAME: Final = "vcs.ref.head.name"
VCS_REF_HEAD_TYPE: Final = "vcs.ref.head.type"
VCS_REPOSITORY_URL_FULL: Final = "vcs.repository.url.full"
VCS_REPOSITORY_NAME: Final = "vcs.repository.name"
VCS_OWNER_NAME: Final = "vcs.owner.name"
VCS_PROVIDER_NAME: Final = "vcs.provider.name"
VCS_CHANGE_ID: Final = "vcs.change.id"
# Ours: the semantic conventions have no name for uncommitted changes.
VCS_REF_HEAD_DIRTY: Final = "vcs.ref.head.dirty"
# Ours: a tag of the commit, beside the branch or with none; the conventions have one ref only.
VCS_REF_HEAD_TAG: Final = "vcs.ref.head.tag"
# https://opentelemetry.io/docs/specs/semconv/resource/
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
DEPLOYMENT_ENVIRONMENT: Final = "deployment.environment"  # its name before semconv 1.27
DEPLOYMENT_ID: Final = "deployment.id"
DEPLOYMENT_NAME: Final = "deployment.name"
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/cloud/
CLOUD_REGION: Final = "cloud.region"
CLOUD_PROVIDER: Final = "cloud.provider"
CLOUD_PLATFORM: Final = "cloud.platform"

# --- OpenTelemetry: baggage keys, and attributes of the root span ----------------------------
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
CLIENT_REQUEST_ID: Final = "mlflow.client_request_id"
FEATURE_FLAG_PREFIX: Final = "feature_flag_"
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"

# Ours, on the root span: the other attributes that are trace metadata too, comma-separated.
METADATA_KEYS: Final = "otel_mlflow_context.metadata_keys"

# --- MLflow: trace metadata (mlflow/utils/mlflow_tags.py, mlflow/tracing/constant.py) ----------
MLFLOW_GIT_COMMIT: Final = "mlflow.source.git.commit"
MLFLOW_GIT_BRANCH: Final = "mlflow.source.git.branch"
MLFLOW_GIT_REPO_URL: Final = "mlflow.source.git.repoURL"
MLFLOW_GIT_DIRTY: Final = "mlflow.source.git.dirty"
MLFLOW_SOURCE_NAME: Final = "mlflow.source.name"
MLFLOW_SOURCE_TYPE: Final = "mlflow.source.type"
MLFLOW_MODEL_ID: Final = "mlflow.modelId"
MLFLOW_TRACE_SESSION: Final = "mlflow.trace.session"
MLFLOW_TRACE_USER: Final = "mlflow.trace.user"
MLFLOW_TRACE_SCHEMA_VERSION: Final = "mlflow.trace_schema.version"
# Not metadata but a field of MLflow's trace info.
MLFLOW_CLIENT_REQUEST_ID: Final = "client_request_id"
# A root span attribute of this prefix becomes a tag of the trace (MLflow 3.13 and later).
MLFLOW_TRACE_TAG_PREFIX: Final = "mlflow.traceTag."

# The route of the plugin of this package on a server.
PLUGIN_PATH: Final = "/api/3.0/otel-mlflow-context"

# Values of `mlflow.source.type` (mlflow.entities.SourceType).
SOURCE_TYPE_LOCAL: Final = "LOCAL"
SOURCE_TYPE_NOTEBOOK: Final = "NOTEBOOK"
SOURCE_TYPE_JOB: Final = "JOB"


@dataclass(frozen=True)
class Fact:
    """One row of the tables."""

    name: str
    """For people: in documentation and command output."""
    source: str
    """The resource attribute (process facts) or baggage key (request facts) it is read from."""
    metadata: str
    """The trace metadata that it becomes."""
    attribute: str
    """The attribute of the root span that carries it."""
    aliases: tuple[str, ...] = ()
    """Other names of `source`, read when it is not there."""
    context_key: str | None = None
    """A key of OpenTelemetry's context, not of its baggage, read after these."""


def _process(name: str, source: str, metadata: str, *aliases: str) -> Fact:
    return Fact(name, source, metadata, attribute=metadata, aliases=aliases)


def _request(
    name: str, source: str, metadata: str, *aliases: str, context_key: str | None = None
) -> Fact:
    return Fact(name, source, metadata, attribute=source, aliases=aliases, context_key=context_key)


PROCESS_FACTS: Final = (
    _process("commit", VCS_REF_HEAD_REVISION, MLFLOW_GIT_COMMIT),
    _process("branch", VCS_REF_HEAD_NAME, MLFLOW_GIT_BRANCH),
    _process("repository", VCS_REPOSITORY_URL_FULL, MLFLOW_GIT_REPO_URL),
    _process("uncommitted changes", VCS_REF_HEAD_DIRTY, MLFLOW_GIT_DIRTY),
    _process("change", VCS_CHANGE_ID, "change_id"),
    _process("entry point", MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_NAME),
    _process("kind of run", MLFLOW_SOURCE_TYPE, MLFLOW_SOURCE_TYPE),
    _process("version", SERVICE_VERSION, "app_version"),
    _process("environment", DEPLOYMENT_ENVIRONMENT_NAME, "environment", DEPLOYMENT_ENVIRONMENT),
    _process("deployment", DEPLOYMENT_ID, "deployment_id"),
    _process("region", CLOUD_REGION, "region"),
    _process("service", SERVICE_NAME, "service_name"),
    _process("logged model", MLFLOW_MODEL_ID, MLFLOW_MODEL_ID),
)
"""What is known of the process, once: from a Resource."""

REQUEST_FACTS: Final = (
    # OpenInference's `using_session` and `using_user` set context values of these names.
    _request(
        "session",
        SESSION_ID,
        MLFLOW_TRACE_SESSION,
        GEN_AI_CONVERSATION_ID,
        context_key="session.id",
    ),
    _request("user", USER_ID, MLFLOW_TRACE_USER, context_key="user.id"),
    _request("request", CLIENT_REQUEST_ID, MLFLOW_CLIENT_REQUEST_ID),
)
"""What is known of each request: from baggage, where entries `feature_flag_...` are read too."""

GIT_METADATA: Final = frozenset(
    {MLFLOW_GIT_COMMIT, MLFLOW_GIT_BRANCH, MLFLOW_GIT_REPO_URL, MLFLOW_GIT_DIRTY}
)
"""Metadata that belongs together: values of two repositories must never be mixed."""

MLFLOW_METADATA: Final = frozenset(
    fact.metadata
    for fact in (*PROCESS_FACTS, *REQUEST_FACTS)
    if fact.metadata.startswith("mlflow.")
)
"""The metadata of the tables under MLflow's own names."""

RESERVED: Final = frozenset(
    name for fact in (*PROCESS_FACTS, *REQUEST_FACTS) for name in (fact.metadata, fact.attribute)
) | {METADATA_KEYS}
"""Names on the root span or in the metadata that the tables give a meaning."""

# --- Which other keys may be trace metadata ------------------------------------------------------

MAX_KEY_LENGTH: Final = 250
"""Characters: the column of metadata keys in MLflow's database."""
MAX_DECLARED: Final = 32
"""Declared keys of a trace, by the setting, by the span and by code together."""
NAMESPACES_OF_MLFLOW: Final = ("mlflow.", "gen_ai.")
"""The prefixes of all metadata, tags and attributes that MLflow reads itself; the two attributes
without one of them, `session.id` and `user.id`, are in the table. A test looks for others."""

# What MLflow allows in names of parameters and tags (mlflow/utils/validation.py), and "~" before
# the digest of a name that was cut; but ASCII only, and no space at the end: MySQL takes letters
# with and without accents, and a space more or less, for the same key.
_KEY: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.:/~ -]*[A-Za-z0-9_.:/~-])?")
_NO_FOLDERS: Final = frozenset({"", ".", ".."})
# In lower case, because MySQL ignores it.
_RESERVED_ANYWAY: Final = frozenset(name.lower() for name in RESERVED)


@functools.lru_cache(maxsize=4_096)
def is_allowed_key(key: str, declared: tuple[str, ...] = ()) -> bool:
    """Whether a key that is not in the tables may be trace metadata.

    This is the one answer for spans, baggage, resources and code, and for every path to MLflow.

    Args:
        key: of any form.
        declared: the keys of the setting `metadata_keys`; whoever runs the program may declare
            attributes that MLflow reads too, though none of the name ``mlflow.*``.

    >>> [is_allowed_key(key) for key in ("tenant", "mlflow.trace.cost", "MLflow.x", "App_Version")]
    [True, False, False, False]
    """
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        return False
    lower = key.lower()
    if lower.startswith("mlflow.") or lower in _RESERVED_ANYWAY:
        return False
    if lower.startswith(NAMESPACES_OF_MLFLOW) and key not in declared:
        return False
    return _NO_FOLDERS.isdisjoint(key.split("/"))  # MLflow's file store makes a path of a key
