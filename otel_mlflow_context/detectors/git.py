"""The git detector: which commit of which repository the program's code is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_mlflow_context import names
from otel_mlflow_context.detectors import _program
from otel_mlflow_context.detectors._repository import (
    Head,
    Repository,
    find_repository,
    read_head,
    remote_urls,
)
from otel_mlflow_context.detectors._url import browsable_url, owner_and_name, provider
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.values import clean

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_BRANCH: Final = "branch"  # a value of `vcs.ref.head.type`


class GitResourceDetector(ResourceDetector):
    """The repository, branch and commit of the program's code, and whether it was changed since.

    The code's repository, not the working directory's: see `current_program`. What is not known
    is absent. Nothing is raised; a repository that cannot be read is logged in one line, and none
    at all is nothing to log. Except for uncommitted changes (setting `dirty`), which git is asked
    for and given one second, everything is read from the repository's files.

    Attributes: ``vcs.ref.head.revision``, ``.name`` and ``.type``; ``vcs.repository.url.full``
    and ``.name``; ``vcs.owner.name``; ``vcs.provider.name``
    (https://opentelemetry.io/docs/specs/semconv/registry/attributes/vcs/); and
    ``vcs.ref.head.dirty``, for which the conventions have no name.
    """

    def detect(self) -> Resource:
        problems: list[str] = []
        repository = _answer(_repository_of_the_program, problems)
        facts = _facts(repository, problems) if repository else {}
        if problems:
            _logger.warning("facts from git are missing: %s", "; ".join(problems))
        return Resource(facts)


def _repository_of_the_program() -> Repository | None:
    directory = _program.current_program().directory
    return find_repository(directory) if directory else None


def _facts(repository: Repository, problems: list[str]) -> dict[str, str | bool]:
    head = _answer(lambda: read_head(repository), problems) or Head(branch=None, commit=None)
    url = _answer(lambda: _url(repository, head.branch), problems)
    owner, name = owner_and_name(url) if url else (None, None)
    texts = {
        names.VCS_REF_HEAD_REVISION: head.commit,
        names.VCS_REF_HEAD_NAME: head.branch,
        names.VCS_REF_HEAD_TYPE: _BRANCH if head.branch else None,
        names.VCS_REPOSITORY_URL_FULL: url,
        names.VCS_REPOSITORY_NAME: name,
        names.VCS_OWNER_NAME: owner,
        names.VCS_PROVIDER_NAME: provider(url) if url else None,
    }
    facts: dict[str, str | bool] = {
        key: cleaned for key, text in texts.items() if (cleaned := clean(text))
    }
    # Changes since which commit, if none is known?
    if head.commit and current_settings().dirty:
        dirty = _answer(lambda: _dirty(repository), problems)
        if dirty is not None:
            facts[names.VCS_REF_HEAD_DIRTY] = dirty
    return facts


def _url(repository: Repository, branch: str | None) -> str | None:
    urls = map(browsable_url, remote_urls(repository, branch))
    return next((url for url in urls if url), None)


def _dirty(repository: Repository) -> bool | None:
    # Imported here: who turns the check off does not pay for it.
    from otel_mlflow_context.detectors._dirty import is_dirty

    return is_dirty(repository.root)


def _answer(question: Callable[[], _T], problems: list[str]) -> _T | None:
    """The answer, or None and a word in `problems`: a bad file does not take other facts along."""
    try:
        return question()
    except Exception as error:
        problems.append(str(error) or type(error).__name__)
        return None
