"""The folders of a git repository, and its files: read up to a limit, and nothing but files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from otel_mlflow_context.detectors import _files

_MAX_POINTER: Final = 4_096
"""Bytes of a file that holds one path, ref or id: PATH_MAX on Linux."""


class RepositoryError(Exception):
    """A repository is there, but cannot be read; the message says why."""


@dataclass(frozen=True)
class Repository:
    """The folders of a repository."""

    root: Path
    """The work tree's top folder."""
    git_dir: Path
    """``.git``, or the folder that a worktree's or submodule's ``.git`` file names."""
    common_dir: Path
    """What all worktrees share: branches and config. The same as `git_dir` outside of worktrees."""
    id_length: int = 20
    """Bytes of an object's id: of SHA-1, or 32 of SHA-256."""


def open_file(path: Path) -> BinaryIO | None:
    """A regular file, open for reading; None where there is none of that name."""
    try:
        return _files.open_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise RepositoryError(f"{path} {error}") from None


def read_bytes(path: Path, limit: int) -> bytes | None:
    """The content of a file; None where there is none of that name."""
    try:
        return _files.read_bytes(path, limit)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise RepositoryError(f"{path} {error}") from None


def read_pointer(path: Path) -> str | None:
    """The text of a file that holds one path, ref or id; None when there is none."""
    content = read_bytes(path, _MAX_POINTER)
    return None if content is None else decoded(content).strip()


def decoded(raw: bytes) -> str:
    """As text that leads back to the same bytes, since it may name a file."""
    return raw.decode("utf-8", "surrogateescape")
