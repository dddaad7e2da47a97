"""The program's checkout: commit, branch, tag, URL, and uncommitted changes.

A program may commit, or check out another branch, while it runs. So a checkout is read once, as
early as possible, and the reading is kept: it is about the code that was loaded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._finding import Finding, commit_of
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.repository.config import remote_urls
from otel_mlflow_context.detectors.repository.files import Repository
from otel_mlflow_context.detectors.repository.refs import read_head, read_tag
from otel_mlflow_context.detectors.repository.ssh import host_of
from otel_mlflow_context.detectors.repository.url import browsable_url

_T = TypeVar("_T")


class Checkout(NamedTuple):
    """What was read of a repository, without git."""

    git_dir: Path
    findings: tuple[Finding, ...]
    time: float

    @property
    def commit(self) -> str | None:
        return commit_of(self.findings)


def read_checkout(
    program: Program, problems: list[str], early: Checkout | None = None
) -> Checkout | None:
    """Commit, branch, tag and URL of the program's repository; None where it has none.

    Args:
        program: whose code it is.
        problems: a message is added for each file that is there and cannot be read.
        early: an earlier reading, which counts if it is of the same repository.
    """
    repository = _attempt(lambda: program.repository, problems)
    if repository is None:
        return None
    if early and early.git_dir == repository.git_dir:
        return early
    now = time.time()
    return Checkout(repository.git_dir, tuple(_findings(repository, problems)), now)


def described_version(program: Program, checkout: Checkout, problems: list[str]) -> list[Finding]:
    """The version from `git describe` of the checkout's commit."""
    repository, commit = program.repository, checkout.commit
    if repository is None or commit is None:
        return []
    from otel_mlflow_context.detectors.repository.command import describe

    version = _attempt(lambda: describe(repository.root, commit), problems)
    return [Finding(semconv.SERVICE_VERSION, version, "git describe")] if version else []


def uncommitted_changes(
    program: Program, problems: list[str], early: Checkout | None = None
) -> list[Finding]:
    """Whether tracked files of the program's repository differ, or did so early; starts git."""
    # Its errors are among the problems of `read_checkout`.
    repository = _attempt(lambda: program.repository, [])
    head = _attempt(lambda: read_head(repository), []) if repository else None
    # Without a commit there is nothing to differ from.
    if repository is None or head is None or not head.commit:
        return []
    since = math.inf
    if early and early.git_dir == repository.git_dir:
        since = early.time
        if early.commit != head.commit:  # then git would answer for another commit
            return []
    # Imported here: with the check turned off it costs nothing.
    from otel_mlflow_context.detectors.repository.command import is_dirty

    is_changed = _attempt(lambda: is_dirty(repository, since), problems)
    if is_changed is None:
        return []
    return [Finding(semconv.VCS_REF_HEAD_DIRTY, is_changed, "git status")]


def _findings(repository: Repository, problems: list[str]) -> Iterator[Finding]:
    where = f"of {repository.root.name}/"
    head = _attempt(lambda: read_head(repository), problems)
    if head and head.commit:
        yield Finding(semconv.VCS_REF_HEAD_REVISION, head.commit, f".git/HEAD {where}")
    if head and head.branch:
        yield Finding(semconv.VCS_REF_HEAD_NAME, head.branch, f".git/HEAD {where}")
        yield Finding(semconv.VCS_REF_HEAD_TYPE, "branch", f".git/HEAD {where}")
    commit = head.commit if head else None
    if commit and (tag := _attempt(lambda: read_tag(repository, commit), problems)):
        yield Finding(semconv.VCS_REF_HEAD_TAG, tag, f".git/refs/tags {where}")
    if url := _attempt(lambda: _url(repository, head.branch if head else None), problems):
        yield Finding(semconv.VCS_REPOSITORY_URL_FULL, url, f".git/config {where}")


def _url(repository: Repository, branch: str | None) -> str | None:
    urls = (browsable_url(it, host_of) for it in remote_urls(repository, branch))
    return next(filter(None, urls), None)


def _attempt(read: Callable[[], _T], problems: list[str]) -> _T | None:
    """A result, or None and a message in `problems`: one bad file costs no other facts."""
    try:
        return read()
    except Exception as error:
        problems.append(str(error) or type(error).__name__)
        return None
