"""The sources of facts about the program's code, in their order of precedence, and their merge."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._files import working_directory
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._stamp import stamp_findings
from otel_mlflow_context.detectors.platforms import merge_commits, platform_findings
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.notebook import is_notebook, notebook_findings
from otel_mlflow_context.detectors.program.package import package_findings
from otel_mlflow_context.detectors.repository.config import remote_urls
from otel_mlflow_context.detectors.repository.files import Repository
from otel_mlflow_context.detectors.repository.refs import read_head, read_tag
from otel_mlflow_context.detectors.repository.url import browsable_url
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

_T = TypeVar("_T")


def code_findings(
    program: Program, *, dirty: bool, problems: list[str] | None = None
) -> dict[str, Finding]:
    """The findings of `code_sources`, merged."""
    return merged(*code_sources(program, dirty=dirty, problems=problems))


def code_sources(
    program: Program, *, dirty: bool, problems: list[str] | None = None
) -> list[list[Finding]]:
    """The findings about the program's code by source, the highest precedence first.

    Args:
        program: whose code it is.
        dirty: whether to check for uncommitted changes, which starts git.
        problems: a message is added for each file that is there and cannot be read.
    """
    problems = [] if problems is None else problems
    repository = list(repository_findings(program, problems))
    if dirty and (changed := uncommitted_changes(program, problems)):
        repository.append(changed)
    made_by_platform = merge_commits(os.environ)
    return [
        # A merge commit that a platform made for a build is in no history: its head is.
        [it for it in repository if it.value not in made_by_platform],
        *([notebook_findings(os.environ)] if is_notebook(program) else []),
        stamp_findings(program, _environment(), working_directory()),
        *platform_findings(os.environ),
        package_findings(program),
    ]


def repository_findings(program: Program, problems: list[str]) -> Iterator[Finding]:
    """Commit, branch, tag and URL of the program's repository."""
    repository = _attempt(lambda: program.repository, problems)
    if repository is None:
        return
    where = f"of {repository.root.name}/"
    head = _attempt(lambda: read_head(repository), problems)
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


def uncommitted_changes(program: Program, problems: list[str]) -> Finding | None:
    """Whether tracked files of the program's repository differ; starts git."""
    # Its errors are among the problems of `repository_findings`.
    repository = _attempt(lambda: program.repository, [])
    head = _attempt(lambda: read_head(repository), []) if repository else None
    # Without a commit there is nothing to differ from.
    if repository is None or head is None or not head.commit:
        return None
    # Imported here: with the check turned off it costs nothing.
    from otel_mlflow_context.detectors.repository.command import is_dirty

    is_changed = _attempt(lambda: is_dirty(repository.root), problems)
    if is_changed is None:
        return None
    return Finding(semconv.VCS_REF_HEAD_DIRTY, is_changed, "git status")


def merged(*sources: Iterable[Finding], conflicts: list[str] | None = None) -> dict[str, Finding]:
    """For each attribute the first finding, as far as all are of one commit.

    A source with another commit than one before it is about another checkout: none of its
    findings counts, nor its version, and a message is added to `conflicts`.
    """
    result: dict[str, Finding] = {}
    for source in sources:
        found = {finding.attribute: finding for finding in source}
        theirs, ours = (of.get(semconv.VCS_REF_HEAD_REVISION) for of in (found, result))
        if theirs and ours and not _is_same(str(theirs.value), str(ours.value)):
            if conflicts is not None:
                conflicts.append(f"{theirs.source} names another commit than {ours.source}")
            continue
        result = found | result
    return result


def _is_same(commit: str, other: str) -> bool:
    return commit.startswith(other) or other.startswith(commit)  # one may be shortened


def _environment() -> Mapping[str, str]:
    """The environment, with the settings that have a variable of their own."""
    stamp = current_settings().stamp
    return {**os.environ, env.OTEL_MLFLOW_CONTEXT_STAMP: stamp} if stamp else os.environ


def _url(repository: Repository, branch: str | None) -> str | None:
    urls = map(browsable_url, remote_urls(repository, branch))
    return next((url for url in urls if url), None)


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
