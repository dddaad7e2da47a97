"""The repository's side of a history: the order of its commits, and what lies between two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from otel_mlflow_context.compare.history.result import Bisection, Commit, Version
from otel_mlflow_context.compare.sources.base import CannotCompare
from otel_mlflow_context.detectors.repository.command import ask
from otel_mlflow_context.detectors.repository.config import remote_urls
from otel_mlflow_context.detectors.repository.discovery import find_repository
from otel_mlflow_context.detectors.repository.files import RepositoryError
from otel_mlflow_context.detectors.repository.ssh import host_of
from otel_mlflow_context.detectors.repository.url import browsable_url, comparison_url
from otel_mlflow_context.facts.values import clean

_SECONDS: Final = 30.0
"""For each question to git."""
_MOST: Final = 200_000
"""Commits of the line that are read."""
_MOST_BETWEEN: Final = 1_000
_ID: Final = re.compile(r"[0-9a-f]{7,64}")
_LONGEST_SUBJECT: Final = 200
# Nothing of the repository's configuration runs a program, and nothing is fetched.
_SAFE: Final = (
    *("--no-pager", "--no-replace-objects"),
    *("-c", "core.fsmonitor=false", "-c", "log.showSignature=false"),
)
_FIRST_PARENTS: Final = (*_SAFE, "rev-list", "--first-parent", f"--max-count={_MOST}")
_LOG: Final = (
    *(*_SAFE, "log", "-z", "--format=%H%x00%s", "--encoding=UTF-8", "--no-patch", "--no-color"),
    *("--first-parent", f"--max-count={_MOST_BETWEEN}"),
)


def is_commit(text: str | None) -> bool:
    """Whether a text has the form of a commit's id, whole or abbreviated.

    >>> is_commit("9f1c3aa"), is_commit("--output=/tmp/x"), is_commit("HEAD"), is_commit(None)
    (True, False, False, False)
    """
    return text is not None and _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Checkout:
    """A checkout of the repository."""

    root: Path
    line: Sequence[str]
    """The commits of HEAD and its first parents, the oldest first."""
    url: str | None
    """The http(s) address of its remote."""
    is_shallow: bool = False
    """Whether older commits were not fetched."""

    def position(self, commit: str) -> int | None:
        """The place of a commit on the line, whole or abbreviated; None where it is not on it."""
        if commit in self._places:
            return self._places[commit]
        return next((at for at, it in enumerate(self.line) if it.startswith(commit)), None)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {it: at for at, it in enumerate(self.line)}

    def commit(self, commit: str) -> Commit:
        """A commit with its subject.

        Raises:
            RepositoryError: git does not know it, or fails.
        """
        [found] = self._log("--max-count=1", commits=[commit])
        return found

    def way(self, before: str, after: str) -> list[Commit]:
        """The commits from one to another, without the first, the oldest first.

        Raises:
            RepositoryError: git does not know one of them, or fails.
        """
        return self._log(commits=[after, before])[::-1]

    def _log(self, *options: str, commits: Sequence[str]) -> list[Commit]:
        """The first of some commits with its ancestors, but not those of the others."""
        if not all(map(is_commit, commits)):
            raise RepositoryError("it is no id of a commit")
        first, *others = commits
        ids = (first, *(f"^{it}" for it in others))
        output = ask(self.root, (*_LOG, *options, "--end-of-options", *ids, "--"), _SECONDS)
        parts = (output or b"").decode("utf-8", "replace").split("\0")
        pairs = zip(parts[::2], parts[1::2], strict=False)
        return [Commit(it, clean(subject, _LONGEST_SUBJECT)) for it, subject in pairs]


def checkout_at(folder: str | Path | None) -> tuple[Checkout | None, str | None]:
    """The checkout that a folder is in, by default the working directory, or why there is none.

    Raises:
        CannotCompare: a folder is named, and is no checkout that git reads.
    """
    try:
        return _checkout(Path(folder or ".")), None
    except (RepositoryError, OSError) as error:
        why = f"{folder or 'the working directory'}: {clean(str(error))}"
        if folder is not None:
            raise CannotCompare(why) from None
        return None, why


def _checkout(folder: Path) -> Checkout:
    found = find_repository(folder)
    if found is None:
        raise RepositoryError("there is no checkout of a git repository")
    output = ask(found.root, (*_FIRST_PARENTS, "--end-of-options", "HEAD", "--"), _SECONDS)
    if output is None:
        raise RepositoryError("git is missing, or GIT_DIR names another repository")
    urls = (browsable_url(it, host_of) for it in remote_urls(found, None))
    line = output.decode("ascii", "replace").split()[::-1]
    is_shallow = (found.common_dir / "shallow").exists()
    return Checkout(found.root, line, next((it for it in urls if it), None), is_shallow)


def bisection(
    before: Version, after: Version, checkout: Checkout | None, ran: Sequence[str]
) -> Bisection:
    """The commits between which a change happened.

    Args:
        before: the last version before the change.
        after: the first one with it.
        checkout: of the repository, where there is one.
        ran: the commits of all versions.
    """
    last, first = before.last_commit, after.commit
    notes = [
        f"{it.value} ran with uncommitted changes, so its commit is not all of it"
        for it in (before, after)
        if it.dirty
    ]
    if last is None or first is None:
        ends = ((before, last), (after, first))
        missing = " and ".join(it.value for it, commit in ends if commit is None)
        known = [None if commit is None else Commit(commit) for _, commit in ends]
        notes.insert(0, f"no commit is known of {missing}")
        return Bisection(known[0], known[1], None, None, tuple(notes))
    if last == first:
        notes.append("both are of the same commit: what changed is not the code")
    url = after.repository or (checkout.url if checkout else None)
    link = comparison_url(url, last, first) if url and last != first else None
    unknown = "the commits between are not known: "
    if checkout is None:
        notes.append(f"{unknown}there is no checkout to ask")
        return Bisection(Commit(last), Commit(first), None, link, tuple(notes))
    try:
        commits = checkout.commit(last), checkout.commit(first)
        way = checkout.way(last, first)
    except RepositoryError as error:
        notes.append(f"{unknown}{clean(str(error))}")
        return Bisection(Commit(last), Commit(first), None, link, tuple(notes))
    if not way and last != first:
        notes.append("the second of them is not newer than the first")
    between = tuple(it for it in way if it.id not in {*ran, commits[1].id})
    return Bisection(*commits, between, link, tuple(notes))
