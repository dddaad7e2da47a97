"""What the facts of a program are, from others than the code under test: real git, asked at the
program's own file, and the program itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from detectors.truth.case import (
    GIT,
    ITS_METADATA,
    ITS_PATH,
    OF_GIT,
    AnyOf,
    Confirmed,
    Start,
    any_of,
)

_GIT = shutil.which("git") or "git"
"""Also for a program that does not find it."""


@cache
def _of_one_repository() -> tuple[str, ...]:
    """The variables that lead git to another repository than that of the folder it is asked in."""
    output = subprocess.run(
        [_GIT, "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True
    ).stdout
    # Those of the configuration lead nowhere.
    return tuple(name for name in output.split() if not name.startswith("GIT_CONFIG"))


_NAMING_A_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR")
_STATUS = ("status", "--porcelain", "--untracked-files=no")
_OPTIONS = ("--no-optional-locks", "--literal-pathspecs")


class _Git:
    """Git, asked in one folder and environment. It answers None where it fails."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def __call__(self, *arguments: str) -> str | None:
        result = subprocess.run(
            # Whose repository it is does not change what is in it.
            [_GIT, "-c", "safe.directory=*", *_OPTIONS, *arguments],
            cwd=self._folder,
            env=dict(self._environ),
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
        return result.stdout.removesuffix("\n") if result.returncode == 0 else None


def git_says(
    file: Path, environ: Mapping[str, str], cwd: Path, *, is_checked: bool = True
) -> dict[str, object]:
    """Path, commit, branch, tags, URL and changes, where git tracks the file; else nothing.

    It is asked in the file's folder, and if it knows nothing there, in the program's working
    directory of the repository that variables of the program's environment name.
    """
    if not file.parent.is_dir():  # in a zip file
        return {}
    own = {name: value for name, value in environ.items() if name not in _of_one_repository()}
    git = _Git(file.parent, own)
    path = _tracked_path(git, file.name)
    if path is None and "GIT_DIR" in environ:
        variables = {name: environ[name] for name in _NAMING_A_REPOSITORY if name in environ}
        git = _Git(cwd, own | variables)
        path = _tracked_path(git, str(file))
    # One call for three answers: most of what a case costs is starting processes.
    checkout = path and git("rev-parse", "--show-toplevel", "HEAD", "--symbolic-full-name", "HEAD")
    if checkout:
        top, commit, branch = checkout.split("\n")
    elif path:  # before the first commit
        top, commit = git("rev-parse", "--show-toplevel"), None
        branch = git("symbolic-ref", "-q", "HEAD") or ""
    # Where the work tree is elsewhere, git takes the name for one at the top of that.
    if path is None or top is None or Path(top, path).resolve() != file.resolve():
        return {}
    tags = git("tag", "--points-at", "HEAD") if commit else None
    changes = git(*_STATUS) if commit and is_checked else None
    url = git("ls-remote", "--get-url")
    return {
        "path": path,
        "commit": commit,
        "branch": branch.removeprefix("refs/heads/") if branch.startswith("refs/heads/") else None,
        "tag": any_of(*tags.split("\n")) if tags else None,
        "dirty": None if changes is None else bool(changes),
        "url": web_address(url) if url else None,
    }


def _tracked_path(git: _Git, named: str) -> str | None:
    """The path in the repository of a file that is tracked."""
    paths = git("ls-files", "-z", "--full-name", "--error-unmatch", "--", named)
    return paths.split("\0")[0] if paths else None  # in a conflict it is there several times


_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[^/:@]{2,}):(?!//)(?P<path>.+)")


def web_address(remote: str) -> str | None:
    """``https://host/path`` of a remote as people write it: HTTP, SSH or SSH without a scheme."""
    scp = _SCP.fullmatch(remote)
    url = urlsplit(f"ssh://{scp['host']}/{scp['path']}" if scp else remote)
    if url.scheme not in ("http", "https", "ssh", "git") or not url.hostname:
        return None
    scheme = url.scheme if url.scheme.startswith("http") else "https"
    port = f":{url.port}" if url.port and url.scheme.startswith("http") else ""
    path = url.path.strip("/").removesuffix(".git")
    return f"{scheme}://{url.hostname}{port}/{path}" if path else None


def facts_of(start: Start, report: Mapping[str, object], typed: str | None) -> dict[str, object]:
    """What is expected of a program that was started, every fact of it."""
    file = start.question or (Path(str(report["file"])) if report["file"] else None)
    is_checked = start.environ.get("OTEL_MLFLOW_CONTEXT_DIRTY") != "false"
    said = git_says(file, start.environ, start.cwd, is_checked=is_checked) if file else {}
    expected: dict[str, object] = dict.fromkeys(("change", "version", "environment"))
    expected |= dict.fromkeys(("deployment", "service", "region"))
    expected |= dict.fromkeys(OF_GIT, GIT) | {"type": "LOCAL", "name": ITS_PATH} | start.expected
    for fact, right in expected.items():
        if right is GIT:
            expected[fact] = said.get(fact)
        elif isinstance(right, Confirmed):
            assert said.get(fact) == right, f"git says otherwise: {said.get(fact)}"
        elif right is ITS_PATH:
            expected[fact] = said.get("path") or typed
        elif right is ITS_METADATA:
            expected[fact] = report["version"]
    for fact, reason in start.absent.items():
        right = expected[fact]
        assert reason, f"no reason for the absence of {fact}"
        assert right is not None, f"no reason is needed for the absence of {fact}"
        expected[fact] = AnyOf({None, *(right if isinstance(right, AnyOf) else [right])})
    return expected


def described(value: object) -> str:
    return repr(value) if not isinstance(value, AnyOf) else f"one of {[*value]}"
