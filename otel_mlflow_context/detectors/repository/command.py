"""Runs git, for what its files do not hold as text: uncommitted changes, and the nearest tag."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors.repository.files import Repository, RepositoryError

_SECONDS: Final = 1.0
"""For each question: somebody's application is waiting to start."""
_SECONDS_TO_END: Final = 0.05

# Tracked files only, as `git describe --dirty` has it. Nothing is written (no refreshed index)
# and no program that the repository names is run as a hook (no fsmonitor).
_STATUS: Final = (
    "--no-optional-locks",
    *("-c", "core.fsmonitor=false"),
    *("status", "--porcelain", "-z", "--untracked-files=no"),
    "--no-renames",
)
_PATH: Final = 3
"""Where the path stands in an entry of the status, behind two letters."""
_CLOCK: Final = 0.02
"""Seconds by which the time of a file may be behind the clock."""
# Nothing from the network, and messages in English. A git that does not know GIT_NO_LAZY_FETCH
# fetches what a partial clone does not have, by a program that its config names.
_ENVIRONMENT: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "LC_ALL": "C",
}
# With these set, as in a git hook, git would look at another repository, and at one that it would
# otherwise refuse for its owner.
_ELSEWHERE: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR")
_EXECUTABLE: Final = "GIT_PYTHON_GIT_EXECUTABLE"
"""The variable that names git for GitPython, and so for MLflow."""
_unanswered: Final[set[str]] = set()
"""Executables that did not answer in time: they are not started again."""


def is_dirty(repository: Repository, since: float = math.inf) -> bool | None:
    """Whether tracked files differ from the commit; None where git is missing or looks elsewhere.

    Args:
        repository: in which a program runs.
        since: when its code was loaded. None where each file that differs was changed after that.

    Raises:
        RepositoryError: git refuses (a repository of somebody else's), or takes too long. It is
            killed then, with all that it started in its process group.
    """
    # The folder that git finds the repository from: the work tree may be another (core.worktree).
    git_dir = repository.git_dir
    output = ask(git_dir.parent if git_dir.name == ".git" else repository.root, _STATUS)
    if not output:
        return None if output is None else False
    is_index_old = _is_changed_before(repository.git_dir / "index", since)
    entries = (os.fsdecode(entry) for entry in output.split(b"\0") if entry)
    return (
        True
        if any(
            _is_changed_before(repository.root / entry[_PATH:], since)
            # Where the file does not differ from the index, the index differs from the commit.
            and (is_index_old or entry[1] != " ")
            for entry in entries
        )
        else None
    )


def _is_changed_before(file: Path, time: float) -> bool:
    """Whether a file was changed, or deleted, before a time."""
    for path in (file, *file.parents):
        with suppress(OSError):
            return os.lstat(path).st_mtime < time - _CLOCK
    return False


def describe(root: Path, *options: str) -> str | None:
    """``v1.2.0-3-g9f1c3aa``: the nearest tag, and the distance from it; None as for `is_dirty`.

    Raises:
        RepositoryError: as for `is_dirty`, and where there is no tag.
    """
    output = ask(root, ("describe", "--tags", *options))
    return output.decode("utf-8", "replace").strip() if output else None


def ask(folder: Path, arguments: Sequence[str], seconds: float = _SECONDS) -> bytes | None:
    """The output of git in a folder; None as for `is_dirty`.

    Args:
        folder: the top folder of a work tree.
        arguments: of git. What is not known beforehand stands behind ``--end-of-options``.
        seconds: how long git may take.

    Raises:
        RepositoryError: as for `is_dirty`, and where git fails.
    """
    executable = shutil.which(os.environ.get(_EXECUTABLE) or "git")
    if executable is None or any(name in os.environ for name in _ELSEWHERE):
        return None
    if executable in _unanswered:
        raise RepositoryError("git did not answer before")
    # A broken `.git` must not make git look in the folders above.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    process = subprocess.Popen(  # noqa: S603 - git, with arguments of this package
        [executable, *arguments],
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT, **ceiling},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _unanswered.add(executable)
        _kill(process)
        raise RepositoryError(f"git did not answer within {seconds:g} s") from None
    if process.returncode != 0:
        reason = errors.decode("utf-8", "replace").partition("\n")[0]
        raise RepositoryError(f"git failed: {reason or process.returncode}")
    return output


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # one that waits for a disk cannot end
        process.wait(_SECONDS_TO_END)
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()
