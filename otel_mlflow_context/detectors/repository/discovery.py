"""Which git repository a program's code belongs to: no process, no object store.

The formats are git's own: gitrepository-layout(5), gitformat-index(5) and, of the variables that
name another repository, "ENVIRONMENT VARIABLES" in git(1).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors._files import (
    INSTALLATIONS,
    is_environment,
    real_path,
    working_directory,
)
from otel_mlflow_context.detectors.repository.config import is_bare
from otel_mlflow_context.detectors.repository.files import (
    Repository,
    RepositoryError,
    read_bytes,
    read_pointer,
)

_MAX_INDEX: Final = 64 << 20


def find_repository(directory: Path) -> Repository | None:
    """The repository that a program's folder belongs to, or None.

    The first ``.git`` from the folder upwards; the one that ``GIT_DIR`` names is as if it lay at
    the top of its work tree. It is not the program's when it merely lies around it: the folder is
    in a virtual environment or an installation inside the checkout, or the repository tracks
    nothing there (a home folder with dotfiles, an ignored folder) or has no work tree at all.

    Raises:
        RepositoryError: a ``.git`` file that leads nowhere.
    """
    directory = Path(os.path.realpath(directory))
    named = _named_in(os.environ, working_directory())
    for root in (directory, *directory.parents):
        git = root / ".git"
        if named and named.root == root:
            repository = named
        # A folder without HEAD is no repository for git either: it looks further up.
        elif os.path.lexists(git / "HEAD"):
            repository = _repository(root, git)
        elif git.is_file():
            repository = _repository(root, _folder_named_in(git, prefix="gitdir:"))
        else:
            continue
        is_its_own = repository is named or _has_work_tree(repository)
        return repository if is_its_own and _holds_code_in(repository, directory) else None
    return None


def _repository(root: Path, git_dir: Path) -> Repository:
    has_common_dir = (git_dir / "commondir").exists()
    common_dir = _folder_named_in(git_dir / "commondir") if has_common_dir else git_dir
    return Repository(root, git_dir, common_dir)


def _named_in(environ: Mapping[str, str], cwd: Path | None) -> Repository | None:
    """The repository that variables name, as in a hook or on a server that checks out there."""
    if not environ.get("GIT_DIR"):
        return None
    git_dir = real_path(environ["GIT_DIR"], cwd)
    # Without a name of its own, the work tree is where git is started.
    root = real_path(environ.get("GIT_WORK_TREE") or ".", cwd)
    if git_dir is None or root in (None, git_dir) or not os.path.lexists(git_dir / "HEAD"):
        return None
    common_dir = real_path(environ.get("GIT_COMMON_DIR") or git_dir, cwd)
    return Repository(root, git_dir, common_dir) if root and common_dir else None


def _has_work_tree(repository: Repository) -> bool:
    """A repository with an index has one, and so has each of `git worktree`'s."""
    is_main = repository.git_dir == repository.common_dir
    return not is_main or (repository.git_dir / "index").exists() or not is_bare(repository)


def _folder_named_in(file: Path, prefix: str = "") -> Path:
    text = read_pointer(file) or ""
    name = text.removeprefix(prefix).strip()
    if text.startswith(prefix) and name and "\0" not in name:
        folder = Path(os.path.realpath(file.parent / name))
        # Git does not follow a second `.git` file either, so there is no loop to get caught in.
        if folder.is_dir():
            return folder
    raise RepositoryError(f"{file} names no folder")


def _holds_code_in(repository: Repository, directory: Path) -> bool:
    """Whether a folder in the work tree is the repository's own, and does not merely lie in it."""
    if directory == repository.root:
        return True
    below = directory.relative_to(repository.root)
    folders = [directory, *directory.parents][: len(below.parts)]
    if not INSTALLATIONS.isdisjoint(below.parts) or any(is_environment(f) for f in folders):
        return False
    # The top folder decides, so that a new folder deep in a project is the project's.
    return _tracks(repository, below.parts[0])


def _tracks(repository: Repository, folder: str) -> bool:
    """Whether the index holds anything in a folder at the top of the work tree.

    True where the index cannot tell: before the first `git add`, in version 4 (whose paths are
    compressed), when it is split in two files, and when it is too large to be read for this.
    """
    try:
        index = read_bytes(repository.git_dir / "index", _MAX_INDEX)
    except (OSError, RepositoryError):
        return True
    if index is None or not index.startswith((b"DIRC\0\0\0\2", b"DIRC\0\0\0\3")):
        return True
    # An entry's path stands literally, after 16 bits of which the lower 12 are its length (in
    # version 3 another 16 bits may be between): so a path of the same end is told apart.
    for match in re.finditer(re.escape(os.fsencode(folder)) + rb"/[^\0]*", index):
        length = min(len(match[0]), 0xFFF)
        for at in (match.start() - 2, match.start() - 4):
            if int.from_bytes(index[at : at + 2], "big") & 0xFFF == length:
                return True
    return any(repository.git_dir.glob("sharedindex.*"))
