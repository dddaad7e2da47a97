"""Which findings are about the code that runs: the one place where that is decided.

A finding counts where its source is about this program:

- a checkout, where git tracks the program's file (`Program.repository`);
- the variables of a CI system, for a program whose code lies in its workspace; those of a hosting
  platform, for a program that is no distribution from elsewhere; none of a hosting platform's in
  a job of CI: there it is the host of the job's runner;
- facts of one commit together: branch, tag, change and uncommitted changes count with the commit
  of their source, or not at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._files import is_folder, is_installed, real_path
from otel_mlflow_context.detectors._finding import RESOURCE_VARIABLE, Finding, commit_of
from otel_mlflow_context.detectors.platforms import DetectedPlatform, detected_platforms
from otel_mlflow_context.detectors.platforms.lookup import Change
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.distribution import distribution_of, source_folder_of
from otel_mlflow_context.detectors.repository.files import Repository, RepositoryError
from otel_mlflow_context.detectors.repository.refs import read_parents, read_ref
from otel_mlflow_context.facts.process import is_same_commit

_COMMIT: Final = semconv.VCS_REF_HEAD_REVISION
_OF_COMMIT: Final = frozenset(
    {
        semconv.VCS_REF_HEAD_NAME,
        semconv.VCS_REF_HEAD_TYPE,
        semconv.VCS_REF_HEAD_TAG,
        semconv.VCS_REF_HEAD_DIRTY,
        semconv.VCS_CHANGE_ID,
    }
)
"""The facts that go together with a commit."""


def merged(*sources: Iterable[Finding], conflicts: list[str] | None = None) -> dict[str, Finding]:
    """For each attribute the first finding, as far as all are of one commit.

    A source with another commit than one before it is about another checkout: of its findings only
    those count that are not about code, and a message is added to `conflicts`. A branch, tag or
    change from a source without a commit does not count beside another's commit, unless it was set
    in OTEL_RESOURCE_ATTRIBUTES. A version from the time of installation counts where the commit
    or its tag confirms it.
    """
    result: dict[str, Finding] = {}
    for source in sources:
        found = {it.attribute: it for it in source if not it.is_old or _is_confirmed(it, result)}
        theirs, ours = (of.get(_COMMIT) for of in (found, result))
        if theirs and ours and not is_same_commit(str(theirs.value), str(ours.value)):
            if conflicts is not None:
                conflicts.append(f"{theirs.source} names another commit than {ours.source}")
            found = {name: it for name, it in found.items() if not _is_about_code(it)}
        elif ours and not theirs:
            found = _without_facts_of_commit(found)
        elif theirs and not ours:
            result = _without_facts_of_commit(result)
        result = found | result
    return result


def _without_facts_of_commit(found: Mapping[str, Finding]) -> dict[str, Finding]:
    return {
        name: it
        for name, it in found.items()
        if name not in _OF_COMMIT or it.source == RESOURCE_VARIABLE
    }


_COMMIT_IN_VERSION: Final = re.compile(r"\+g([0-9a-f]{7,40})\b")


def _is_confirmed(version: Finding, found: Mapping[str, Finding]) -> bool:
    """Whether a version is that of the commit: it names the commit, or the tag names it."""
    public, _, local = str(version.value).partition("+")
    tag = _of_tag(found)
    if tag and tag != public:
        return False
    named = _COMMIT_IN_VERSION.search(f"+{local}")
    commit = found.get(_COMMIT)
    if named:
        return commit is not None and is_same_commit(named[1], str(commit.value))
    return tag is not None


def _of_tag(found: Mapping[str, Finding]) -> str | None:
    """The version that a tag names: ``1.2`` of ``v1.2``."""
    tag = found.get(semconv.VCS_REF_HEAD_TAG)
    number = re.search(r"(?<!\w)v?(\d.*)", str(tag.value)) if tag else None
    return number[1] if number else None


def _is_about_code(finding: Finding) -> bool:
    name = finding.attribute
    return name.startswith(semconv.VCS_PREFIX) or name == semconv.SERVICE_VERSION


# --- Platforms -----------------------------------------------------------------------------------


def checkout_and_platforms(
    program: Program, checkout: list[Finding]
) -> tuple[list[Finding], list[list[Finding]]]:
    """What counts of the findings of a program's checkout, and of those of each platform.

    Where the checkout is a merge that the platform made of a change, the commit is the change's
    head.
    """
    platforms = detected_platforms(os.environ)
    code = _origin(program) if platforms else None
    is_job = any(platform.is_ci and _has_workspace(platform) for platform in platforms)
    counting = []
    for platform in platforms:
        if is_job and not platform.is_ci:
            continue
        found = platform.findings
        if not _has_built(platform, code):
            found = [it for it in found if not _is_about_code(it)]
        elif platform.change:
            checkout, found = _at_head(platform.change, checkout, found, program)
        counting.append(found)
    return checkout, counting


def _origin(program: Program) -> Path | None:
    """Where a program's code lies or was installed from; None for code from elsewhere."""
    if program.code is None or not is_installed(program.code):
        return program.code
    info = distribution_of(program)
    return source_folder_of(info) if info else None


def _has_workspace(platform: DetectedPlatform) -> bool:
    folder = _workspace(platform)
    return folder is not None and is_folder(folder)


def _has_built(platform: DetectedPlatform, code: Path | None) -> bool:
    workspace = _workspace(platform)
    return code is not None and (workspace is None or code.is_relative_to(workspace))


def _workspace(platform: DetectedPlatform) -> Path | None:
    # CircleCI's begins with a tilde.
    typed = platform.workspace and os.path.expanduser(platform.workspace)  # noqa: PTH111 - can raise
    return real_path(typed, None) if typed else None


# --- Changes -------------------------------------------------------------------------------------

_PARENTS_OF_MERGE: Final = 2


def _at_head(
    change: Change, checkout: list[Finding], platform: list[Finding], program: Program
) -> tuple[list[Finding], list[Finding]]:
    """The findings of a checkout and of the platform, with the change's head in place of a merge.

    Where it is not known which of the merge's parents is the head, the commit is left out.
    """
    checked_out = commit_of(checkout)
    repository = program.repository if checked_out else None
    if checked_out is None or repository is None:
        return checkout, platform
    is_merge, head = _head_of(change, checked_out, repository)
    if not is_merge:
        return checkout, platform
    kept = (
        {semconv.VCS_REPOSITORY_URL_FULL, semconv.VCS_REF_HEAD_DIRTY}
        if head
        else {semconv.VCS_REPOSITORY_URL_FULL}
    )
    commit = [head] if head else []
    return (
        [*commit, *(it for it in checkout if it.attribute in kept)],
        [*commit, *(it for it in platform if it.attribute != _COMMIT)],
    )


def _head_of(
    change: Change, checked_out: str, repository: Repository
) -> tuple[bool, Finding | None]:
    """Whether a commit is the platform's merge of a change, and the change's head, if known."""
    built = change.commit
    is_built = built is not None and is_same_commit(str(built.value), checked_out)
    if change.head and is_built:
        return not is_same_commit(str(change.head.value), checked_out), change.head
    parents = _parents(repository, checked_out)
    named = change.head or built
    for parent in parents:
        if named and is_same_commit(str(named.value), parent):
            return True, named._replace(value=parent)
    if not parents:  # they cannot be read
        return change.is_second or change.target is not None, None
    if change.head or not is_built or len(parents) != _PARENTS_OF_MERGE:
        return False, None
    target = change.target and _ref(repository, f"refs/remotes/origin/{change.target}")
    if change.is_second or target == parents[0]:
        return True, Finding(_COMMIT, parents[1], "second parent of .git/HEAD")
    # A person may just as well have merged the target into the head.
    return target == parents[1], None


def _parents(repository: Repository, commit: str) -> Sequence[str]:
    try:
        return read_parents(repository, commit)
    except (RepositoryError, OSError):
        return ()


def _ref(repository: Repository, ref: str) -> str | None:
    try:
        return read_ref(repository, ref)
    except (RepositoryError, OSError):
        return None
