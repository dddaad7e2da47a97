"""The git detector: repository, branch and commit of the program's code."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors import _process
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors.repository.url import owner_and_name, provider
from otel_mlflow_context.facts.values import clean
from otel_mlflow_context.settings import current_settings

_logger = logging.getLogger(__name__)


class GitResourceDetector(ResourceDetector):
    """Detects the repository, branch and commit of the program's code, and uncommitted changes.

    From the first of these that has them, as far as all are of one commit: the repository of the
    program's code, not the working directory's (see `current_program`); the build stamp; the
    variables of CI and hosting platforms; the installed package. What is not known is absent.
    Never raises; a repository that cannot be read is logged in one line, and a program without one
    is normal. Everything is read from files and variables, except for uncommitted changes (setting
    `dirty`), for which git is run for at most one second.

    Attributes: ``vcs.ref.head.revision``, ``.name`` and ``.type``; ``vcs.repository.url.full``
    and ``.name``; ``vcs.owner.name``; ``vcs.provider.name``; ``vcs.change.id``
    (https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs/); and
    ``vcs.ref.head.dirty`` and ``.tag``, for which the conventions have no name.
    """

    def detect(self) -> Resource:
        try:
            is_wanted = current_settings().dirty
            findings = _process.code_and_changes() if is_wanted else _process.code()
            return Resource(_attributes(findings))
        except Exception as error:
            _logger.warning("facts from git are missing: %s", str(error) or type(error).__name__)
            return Resource({})


def _attributes(findings: Mapping[str, Finding]) -> dict[str, str | bool]:
    url = findings.get(semconv.VCS_REPOSITORY_URL_FULL)
    owner, name = owner_and_name(str(url.value)) if url else (None, None)
    derived = {
        semconv.VCS_REPOSITORY_NAME: name,
        semconv.VCS_OWNER_NAME: owner,
        semconv.VCS_PROVIDER_NAME: provider(str(url.value)) if url else None,
    }
    found = {
        attribute: finding.value
        for attribute, finding in findings.items()
        if attribute.startswith(semconv.VCS_PREFIX)
    }
    return {
        attribute: cleaned if isinstance(value, str) else value
        for attribute, value in (found | derived).items()
        if value is not None and (cleaned := clean(value))
    }
