"""Runs git, for what its files do not hold as text: uncommitted changes, and tags in packs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors.repository.files import RepositoryError

_SECONDS: Final = 1.0
"""For each question: somebody's application is waiting to start."""

# Tracked files only, as `git describe --dirty` has it. Nothing is written (no refreshed index)
# and no program that the repository names is run as a hook (no fsmonitor).
_STATUS: Final = (
    "--no-optional-locks",
    *("-c", "core.fsmonitor=false"),
    *("status", "--porcelain", "--untracked-files=no"),
    "--no-renames",
)
_NO_NETWORK: Final = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
# With these set, as in a git hook, git would look at another repository, and at one that it would
# otherwise refuse for its owner.
_ELSEWHERE: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR")
_GIT_EXECUTABLE: Final = "GIT_PYTHON_GIT_EXECUTABLE"  # GitPython's own variable


def is_dirty(root: Path) -> bool | None:
    """Whether tracked files differ from the commit; None where git is missing or looks elsewhere.

    Raises:
        RepositoryError: git refuses (a repository of somebody else's), or takes too long. It is
            killed then, with all that it started in its process group.
    """
    output = ask(root, _STATUS)
    return None if output is None else bool(output)


def describe(root: Path, *options: str) -> str | None:
    """``v1.2.0-3-g9f1c3aa``: the nearest tag, and the distance from it; None as for `is_dirty`.

    Raises:
        RepositoryError: as for `is_dirty`, and where there is no tag.
    """
    output = ask(root, ("describe", "--tags", *options))
    return output.decode("utf-8", "replace").strip() if output else None


def ask(root: Path, arguments: Sequence[str], seconds: float = _SECONDS) -> bytes | None:
    """The output of git in the top folder of a work tree; None as for `is_dirty`.

    Args:
        root: the folder.
        arguments: of git. What is not known beforehand stands behind ``--end-of-options``.
        seconds: how long git may take.

    Raises:
        RepositoryError: as for `is_dirty`, and where git fails.
    """
    executable = os.environ.get(_GIT_EXECUTABLE) or "git"
    if not shutil.which(executable) or any(name in os.environ for name in _ELSEWHERE):
        return None
    deadline = time.monotonic() + seconds
    if "git" not in sys.modules:
        _check_that_git_answers(executable, deadline, seconds)
    from git import Git

    process = Git(root).execute(
        [Git.GIT_PYTHON_GIT_EXECUTABLE, *arguments],
        as_process=True,
        # A broken `.git` must not make git look in the folders above.
        env={**_NO_NETWORK, "GIT_CEILING_DIRECTORIES": str(root.parent)},
        start_new_session=True,
    )
    # `process` kills git when it is forgotten, so it is kept until git has answered.
    return _output(process.proc, deadline, seconds)


def _check_that_git_answers(executable: str, deadline: float, seconds: float) -> None:
    """`import git` runs `git version` without a limit of time, so it must be known to end."""
    process = subprocess.Popen(  # noqa: S603 - the same command that GitPython is going to run
        [executable, "version"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        _output(process, deadline, seconds)


def _output(process: subprocess.Popen[bytes], deadline: float, seconds: float) -> bytes:
    try:
        output, errors = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
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
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()
