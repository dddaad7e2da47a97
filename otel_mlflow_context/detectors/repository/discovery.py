"""Which git repository a program's code belongs to: no process, no object store.

The formats are git's own: gitrepository-layout(5), gitformat-index(5) and, of the variables that
name another repository, "ENVIRONMENT VARIABLES" in git(1).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from otel_mlflow_context.detectors._files import (
    INSTALLATIONS,
    is_environment,
    is_folder,
    real_path,
    working_directory,
)
from otel_mlflow_context.detectors.repository.config import read_format
from otel_mlflow_context.detectors.repository.files import (
    Repository,
    RepositoryError,
    read_pointer,
)
from otel_mlflow_context.detectors.repository.index import has_index, tracks, tracks_below


def find_repository(path: Path) -> Repository | None:
    """The repository that a program's file, or the folder of its code, belongs to, or None.

    The first ``.git`` from there upwards, as git finds it, and then the one that ``GIT_DIR``
    names. A repository merely around a program is not its own: git must track the file. A
    folder is its own where git tracks anything in its top folder of the work tree, or nothing at
    all yet; and not in a virtual environment or an installation inside the checkout, nor where
    the work tree is the home folder.

    Raises:
        RepositoryError: a ``.git`` file that leads nowhere.
    """
    path = Path(os.path.realpath(path))
    around = _around(path)
    if around and _holds(around, path):
        return around
    named = _named_in(os.environ, working_directory())
    return named if named and named != around and _holds(named, path) else None


def _around(path: Path) -> Repository | None:
    for root in (path, *path.parents):
        git = root / ".git"
        # A folder without HEAD is no repository for git either: it looks further up.
        if os.path.lexists(git / "HEAD"):
            return _with_work_tree(_repository(root, git))
        if git.is_file():
            return _with_work_tree(_repository(root, _folder_named_in(git, prefix="gitdir:")))
    return None


def _repository(root: Path, git_dir: Path) -> Repository:
    has_common_dir = (git_dir / "commondir").exists()
    common_dir = _folder_named_in(git_dir / "commondir") if has_common_dir else git_dir
    return Repository(root, git_dir, common_dir)


def _with_work_tree(repository: Repository) -> Repository | None:
    """The repository with its own work tree, which may be elsewhere; None where it has none."""
    try:
        is_bare, work_tree, is_sha256 = read_format(repository)
    except (RepositoryError, OSError):  # it is reported where the remotes are read
        return repository
    if is_sha256:
        repository = replace(repository, id_length=32)
    if repository.git_dir != repository.common_dir:
        return repository  # of `git worktree`
    if work_tree:
        root = real_path(work_tree, repository.git_dir)
        return replace(repository, root=root) if root else None
    return None if is_bare else repository


def _named_in(environ: Mapping[str, str], cwd: Path | None) -> Repository | None:
    """The repository that variables name, as in a hook or on a server that checks out there."""
    if not environ.get("GIT_DIR"):
        return None
    git_dir = real_path(environ["GIT_DIR"], cwd)
    if git_dir is None or not os.path.lexists(git_dir / "HEAD"):
        return None
    # Without a name of its own, the work tree is where git is started.
    root = real_path(environ.get("GIT_WORK_TREE") or ".", cwd)
    if root in (None, git_dir):
        return None
    repository = _repository(root or git_dir, git_dir)
    if common_dir := environ.get("GIT_COMMON_DIR"):
        repository = replace(repository, common_dir=real_path(common_dir, cwd) or git_dir)
    return repository if "GIT_WORK_TREE" in environ else _with_work_tree(repository)


def _folder_named_in(file: Path, prefix: str = "") -> Path:
    text = read_pointer(file) or ""
    name = text.removeprefix(prefix).strip()
    if text.startswith(prefix) and name and "\0" not in name:
        folder = Path(os.path.realpath(file.parent / name))
        # Git does not follow a second `.git` file either, so there is no loop to get caught in.
        if folder.is_dir():
            return folder
    raise RepositoryError(f"{file} names no folder")


def _holds(repository: Repository, path: Path) -> bool:
    """Whether a file or folder is the repository's own, and does not merely lie in it."""
    if not path.is_relative_to(repository.root):
        return False
    below = path.relative_to(repository.root)
    if not is_folder(path):
        return tracks(repository, below.as_posix())
    folders = [path, *path.parents][: len(below.parts)]
    if not INSTALLATIONS.isdisjoint(below.parts) or any(is_environment(f) for f in folders):
        return False
    if not below.parts or not has_index(repository):
        return not _is_home(repository.root)
    try:
        # The top folder decides, so that a new folder deep in a project is the project's.
        return tracks_below(repository, below.parts[0]) and not _is_home(repository.root)
    except (RepositoryError, OSError):
        return True  # an index that git cannot read either


def _is_home(folder: Path) -> bool:
    return str(folder) == os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111 - Path.home can raise
