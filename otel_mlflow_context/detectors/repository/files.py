"""Where a git repository keeps its things, and reading its files: bounded, and only files."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_MAX_POINTER: Final = 4_096
"""Bytes of a file that holds one path, ref or id: PATH_MAX on Linux."""


class RepositoryError(Exception):
    """A repository is there, but does not answer; the message says why."""


@dataclass(frozen=True)
class Repository:
    """Where a repository keeps its things."""

    root: Path
    """The work tree's top folder."""
    git_dir: Path
    """``.git``, or the folder that a worktree's or submodule's ``.git`` file names."""
    common_dir: Path
    """What all worktrees share: branches and config. The same as `git_dir` outside of worktrees."""


def open_file(path: Path) -> BinaryIO | None:
    """A regular file, open for reading; None when there is none of that name."""
    try:
        # A pipe would block at open.
        if not stat.S_ISREG(path.stat().st_mode):
            raise RepositoryError(f"{path} is not a file")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_bytes(path: Path, limit: int) -> bytes | None:
    """The content of a file; None when there is none of that name."""
    file = open_file(path)
    if file is None:
        return None
    with file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise RepositoryError(f"{path} is too large")
    return content


def read_pointer(path: Path) -> str | None:
    """The text of a file that holds one path, ref or id; None when there is none."""
    content = read_bytes(path, _MAX_POINTER)
    return None if content is None else decoded(content).strip()


def decoded(raw: bytes) -> str:
    """As text that leads back to the same bytes, since it may name a file."""
    return raw.decode("utf-8", "surrogateescape")
