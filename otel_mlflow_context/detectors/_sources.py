"""The sources of facts about the program's code, in their order of precedence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from opentelemetry.sdk.resources import OTELResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._decision import (
    checkout_and_platforms,
    has_commit,
    merged,
)
from otel_mlflow_context.detectors._files import working_directory
from otel_mlflow_context.detectors._finding import Finding, findings
from otel_mlflow_context.detectors._stamp import stamp_findings
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.notebook import is_notebook, notebook_findings
from otel_mlflow_context.detectors.program.package import package_findings
from otel_mlflow_context.detectors.repository.config import remote_urls
from otel_mlflow_context.detectors.repository.files import Repository
from otel_mlflow_context.detectors.repository.refs import Head, read_head, read_tag
from otel_mlflow_context.detectors.repository.ssh import host_of
from otel_mlflow_context.detectors.repository.url import browsable_url
from otel_mlflow_context.facts.values import clean
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

_T = TypeVar("_T")
_NONE: Final[Mapping[Path, Head]] = {}
_RESOURCE_VARIABLE: Final = "OTEL_RESOURCE_ATTRIBUTES"


class Sources(NamedTuple):
    """The findings about a program's code and about where it runs, the highest precedence first."""

    opentelemetry: list[Finding]
    checkout: list[Finding]
    notebook: list[Finding]
    stamp: list[Finding]
    platforms: list[list[Finding]]
    package: list[Finding]

    @property
    def in_order(self) -> list[list[Finding]]:
        first = [self.opentelemetry, self.checkout, self.notebook, self.stamp]
        return [*first, *self.platforms, self.package]


def code_findings(
    program: Program, *, dirty: bool, problems: list[str] | None = None
) -> dict[str, Finding]:
    """The findings of `code_sources`, merged."""
    return merged(*code_sources(program, dirty=dirty, problems=problems).in_order)


def code_sources(
    program: Program,
    *,
    dirty: bool,
    problems: list[str] | None = None,
    heads: Mapping[Path, Head] = _NONE,
) -> Sources:
    """The findings about the program's code by source.

    Args:
        program: whose code it is.
        dirty: whether to check for uncommitted changes, which starts git.
        problems: a message is added for each file that is there and cannot be read.
        heads: HEAD of repositories as it was read before, by the git folder.
    """
    problems = [] if problems is None else problems
    checkout, platforms = checkout_and_platforms(
        program, list(repository_findings(program, problems, heads))
    )
    sources = Sources(
        _opentelemetry_findings(),
        checkout,
        notebook_findings(os.environ) if is_notebook(program) else [],
        stamp_findings(program, _environment(), working_directory()),
        platforms,
        package_findings(program),
    )
    return with_changes(sources, program, problems, heads) if dirty else sources


def with_changes(
    sources: Sources, program: Program, problems: list[str], heads: Mapping[Path, Head] = _NONE
) -> Sources:
    """The same, with the uncommitted changes that git finds, where the commit is the checkout's."""
    if not has_commit(sources.checkout):
        return sources
    changed = uncommitted_changes(program, problems, heads)
    return sources._replace(checkout=[*sources.checkout, changed]) if changed else sources


def _opentelemetry_findings() -> list[Finding]:
    """The facts of the code in OTEL_RESOURCE_ATTRIBUTES."""
    attributes = {
        name: value
        for name, value in OTELResourceDetector().detect().attributes.items()
        if name.startswith(semconv.VCS_PREFIX) and clean(value)
    }
    found = findings(_RESOURCE_VARIABLE, attributes)
    commit = attributes.get(semconv.VCS_REF_HEAD_REVISION)
    if commit and not has_commit(found):  # of another form, and still the one that counts
        found.append(Finding(semconv.VCS_REF_HEAD_REVISION, str(commit), _RESOURCE_VARIABLE))
    return found


def repository_findings(
    program: Program, problems: list[str], heads: Mapping[Path, Head] = _NONE
) -> Iterator[Finding]:
    """Commit, branch, tag and URL of the program's repository."""
    repository = _attempt(lambda: program.repository, problems)
    if repository is None:
        return
    where = f"of {repository.root.name}/"
    head = heads.get(repository.git_dir) or _attempt(lambda: read_head(repository), problems)
    if head and head.commit:
        yield Finding(semconv.VCS_REF_HEAD_REVISION, head.commit, f".git/HEAD {where}")
    if head and head.branch:
        yield Finding(semconv.VCS_REF_HEAD_NAME, head.branch, f".git/HEAD {where}")
        yield Finding(semconv.VCS_REF_HEAD_TYPE, "branch", f".git/HEAD {where}")
    if head and (commit := head.commit):
        if tag := _attempt(lambda: read_tag(repository, commit), problems):
            yield Finding(semconv.VCS_REF_HEAD_TAG, tag, f".git/refs/tags {where}")
        if current_settings().describe and (version := _describe(repository, problems)):
            yield Finding(semconv.SERVICE_VERSION, version, "git describe")
    if url := _attempt(lambda: _url(repository, head.branch if head else None), problems):
        yield Finding(semconv.VCS_REPOSITORY_URL_FULL, url, f".git/config {where}")


def uncommitted_changes(
    program: Program, problems: list[str], heads: Mapping[Path, Head] = _NONE
) -> Finding | None:
    """Whether tracked files of the program's repository differ; starts git."""
    # Its errors are among the problems of `repository_findings`.
    repository = _attempt(lambda: program.repository, [])
    head = _attempt(lambda: read_head(repository), []) if repository else None
    # Without a commit there is nothing to differ from.
    if repository is None or head is None or not head.commit:
        return None
    # What git finds would be about another commit.
    if heads.get(repository.git_dir, head).commit != head.commit:
        return None
    # Imported here: with the check turned off it costs nothing.
    from otel_mlflow_context.detectors.repository.command import is_dirty

    is_changed = _attempt(lambda: is_dirty(repository), problems)
    if is_changed is None:
        return None
    return Finding(semconv.VCS_REF_HEAD_DIRTY, is_changed, "git status")


def _environment() -> Mapping[str, str]:
    """The environment, with the settings that have a variable of their own."""
    stamp = current_settings().stamp
    return {**os.environ, env.OTEL_MLFLOW_CONTEXT_STAMP: stamp} if stamp else os.environ


def _url(repository: Repository, branch: str | None) -> str | None:
    urls = (browsable_url(it, host_of) for it in remote_urls(repository, branch))
    return next(filter(None, urls), None)


def _describe(repository: Repository, problems: list[str]) -> str | None:
    from otel_mlflow_context.detectors.repository.command import describe

    return _attempt(lambda: describe(repository.root), problems)


def _attempt(read: Callable[[], _T], problems: list[str]) -> _T | None:
    """A result, or None and a message in `problems`: one bad file costs no other facts."""
    try:
        return read()
    except Exception as error:
        problems.append(str(error) or type(error).__name__)
        return None
