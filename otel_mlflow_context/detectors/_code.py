"""What is known of the program's code, and who says so: each source, and all of them together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._paths import working_directory
from otel_mlflow_context.detectors._stamp import stamp_findings
from otel_mlflow_context.detectors.platforms.table import findings_of, merge_commits, platforms
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.notebook import is_notebook, notebook_findings
from otel_mlflow_context.detectors.program.package import package_findings
from otel_mlflow_context.detectors.repository.config import remote_urls
from otel_mlflow_context.detectors.repository.discovery import find_repository
from otel_mlflow_context.detectors.repository.files import Repository
from otel_mlflow_context.detectors.repository.refs import read_head, read_tag
from otel_mlflow_context.detectors.repository.url import browsable_url
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

_T = TypeVar("_T")

_BRANCH: Final = "branch"  # a value of `vcs.ref.head.type`


def code_findings(
    program: Program, *, dirty: bool, problems: list[str] | None = None
) -> dict[str, Finding]:
    """The first that each attribute is found by, all of one commit: see `merged`.

    Args:
        program: whose code it is.
        dirty: whether to check for uncommitted changes, which starts git.
        problems: takes a word on each thing that is there and cannot be read.
    """
    return merged(*code_sources(program, dirty=dirty, problems=problems))


def code_sources(
    program: Program, *, dirty: bool, problems: list[str] | None = None
) -> list[list[Finding]]:
    """What each source says of the program's code, the one that counts first; see above."""
    problems = [] if problems is None else problems
    directory = program.directory
    repository = list(repository_findings(directory, problems)) if directory else []
    if dirty and directory and (changed := changes(directory, problems)):
        repository.append(changed)
    made_by_platform = merge_commits(os.environ)
    return [
        # A merge commit that a platform made for a build is nobody's: the head that was merged is.
        [it for it in repository if it.value not in made_by_platform],
        *([notebook_findings(os.environ)] if is_notebook(program) else []),
        stamp_findings(program, _environment(), working_directory()),
        *(findings_of(platform, os.environ) for platform in platforms(os.environ)),
        package_findings(program),
    ]


def repository_findings(directory: Path, problems: list[str]) -> Iterator[Finding]:
    """What the repository says that a folder belongs to: commit, branch, tag and URL."""
    repository = _answer(lambda: find_repository(directory), problems)
    if repository is None:
        return
    where = f"of {repository.root.name}/"
    head = _answer(lambda: read_head(repository), problems)
    if head and head.commit:
        yield Finding(semconv.VCS_REF_HEAD_REVISION, head.commit, f".git/HEAD {where}")
    if head and head.branch:
        yield Finding(semconv.VCS_REF_HEAD_NAME, head.branch, f".git/HEAD {where}")
        yield Finding(semconv.VCS_REF_HEAD_TYPE, _BRANCH, f".git/HEAD {where}")
    if head and (commit := head.commit):
        if tag := _answer(lambda: read_tag(repository, commit), problems):
            yield Finding(semconv.VCS_REF_HEAD_TAG, tag, f".git/refs/tags {where}")
        is_asked = current_settings().describe
        if is_asked and (version := _answer(lambda: _version(repository), problems)):
            yield Finding(semconv.SERVICE_VERSION, version, "git describe")
    if url := _answer(lambda: _url(repository, head.branch if head else None), problems):
        yield Finding(semconv.VCS_REPOSITORY_URL_FULL, url, f".git/config {where}")


def changes(directory: Path, problems: list[str]) -> Finding | None:
    """Whether tracked files of the repository that a folder belongs to were changed; starts git."""
    repository = _answer_quietly(lambda: find_repository(directory))
    head = _answer_quietly(lambda: read_head(repository)) if repository else None
    # Changes since which commit, if none is known?
    if repository is None or head is None or not head.commit:
        return None
    is_changed = _answer(lambda: _dirty(repository), problems)
    if is_changed is None:
        return None
    return Finding(semconv.VCS_REF_HEAD_DIRTY, is_changed, "git status")


def merged(*sources: Iterable[Finding], left_out: list[str] | None = None) -> dict[str, Finding]:
    """The first that each attribute is found by, all of one commit.

    A source that names another commit than one before it speaks of another checkout: nothing of
    it counts, its version neither, and `left_out` takes a word on it.
    """
    result: dict[str, Finding] = {}
    for source in sources:
        found = {finding.attribute: finding for finding in source}
        theirs, ours = (of.get(semconv.VCS_REF_HEAD_REVISION) for of in (found, result))
        if theirs and ours and not _is_same(str(theirs.value), str(ours.value)):
            if left_out is not None:
                left_out.append(f"{theirs.source} names another commit than {ours.source}")
            continue
        result = found | result
    return result


def _is_same(commit: str, other: str) -> bool:
    return commit.startswith(other) or other.startswith(commit)  # one may be shortened


def _environment() -> Mapping[str, str]:
    """The environment, and what was set in its place."""
    stamp = current_settings().stamp
    return {**os.environ, env.OTEL_MLFLOW_CONTEXT_STAMP: stamp} if stamp else os.environ


def _url(repository: Repository, branch: str | None) -> str | None:
    urls = map(browsable_url, remote_urls(repository, branch))
    return next((url for url in urls if url), None)


def _dirty(repository: Repository) -> bool | None:
    # Imported here: who turns the check off does not pay for it.
    from otel_mlflow_context.detectors.repository.command import is_dirty

    return is_dirty(repository.root)


def _version(repository: Repository) -> str | None:
    from otel_mlflow_context.detectors.repository.command import describe

    return describe(repository.root)


def _answer(question: Callable[[], _T], problems: list[str]) -> _T | None:
    """The answer, or None and a word in `problems`: a bad file does not take other facts along."""
    try:
        return question()
    except Exception as error:
        problems.append(str(error) or type(error).__name__)
        return None


def _answer_quietly(question: Callable[[], _T]) -> _T | None:
    """For what was asked before, and was said then."""
    return _answer(question, [])
