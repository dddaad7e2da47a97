"""What the program's package says of the commit that it was made of: for who has no repository.

Three writers leave that behind: installers (PEP 610), setuptools-scm, and `git archive`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._files import read_text
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._stamp import checked, commit_of
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.distribution import (
    direct_url_of,
    distribution_of,
    version_of,
)
from otel_mlflow_context.detectors.program.project import own_folders

_DIRECT_URL: Final = "direct_url.json"
_VERSION_FILE: Final = "_version.py"
_ARCHIVAL_FILE: Final = ".git_archival.txt"
_DISTRIBUTION: Final = "installed distribution"
_MAX_LENGTH: Final = 64 << 10  # bytes of any of these files; they have some hundred
_BRANCH: Final = "branch"  # a value of `vcs.ref.head.type`
_BRANCHES: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"


def package_findings(program: Program) -> list[Finding]:
    """The version of the program's distribution, and the commit that it was made of.

    The commit, branch, tag and repository are those of the first that knows a commit:

    - ``direct_url.json``, which ``pip install git+https://...`` leaves;
    - ``_version.py`` of setuptools-scm (9 and later) in a package that is installed; in a
      source folder it may be years old;
    - ``.git_archival.txt`` at the top of a source folder that `git archive` made (GitHub's
      "Download ZIP" too).

    Never raises; a file that no such writer wrote says nothing.
    """
    info = distribution_of(program)
    found = _from_direct_url(direct_url_of(info)) if info else []
    found = found or (_from_version_file(program, info.parent) if info else [])
    found = found or _from_archive(program)
    version = checked(semconv.SERVICE_VERSION, version_of(info)) if info else None
    return [*found, Finding(semconv.SERVICE_VERSION, version, _DISTRIBUTION)] if version else found


# --- pip install git+https://... -----------------------------------------------------------------


def _from_direct_url(direct_url: Mapping[str, Any]) -> list[Finding]:
    """https://packaging.python.org/en/latest/specifications/direct-url/"""
    vcs = direct_url.get("vcs_info")
    if not isinstance(vcs, dict) or vcs.get("vcs") != "git":
        return []
    commit = checked(semconv.VCS_REF_HEAD_REVISION, vcs.get("commit_id"))
    if not commit:
        return []
    return _findings(
        _DIRECT_URL,
        (semconv.VCS_REF_HEAD_REVISION, commit),
        *_of_requested(vcs.get("requested_revision")),
        (semconv.VCS_REPOSITORY_URL_FULL, direct_url.get("url")),
    )


def _of_requested(revision: object) -> Iterator[tuple[str, object]]:
    """What stands after the @: a branch, a tag or a commit, and installers do not write which."""
    if not isinstance(revision, str) or revision == "HEAD" or commit_of(revision):
        return
    if revision.startswith(_TAGS):
        yield semconv.VCS_REF_HEAD_TAG, revision.removeprefix(_TAGS)
    elif revision.startswith(_BRANCHES):
        yield semconv.VCS_REF_HEAD_NAME, revision.removeprefix(_BRANCHES)
        yield semconv.VCS_REF_HEAD_TYPE, _BRANCH
    elif not revision.startswith("refs/"):
        # The conventions' name of the ref may be that of either; its type stays unsaid.
        yield semconv.VCS_REF_HEAD_NAME, revision


# --- setuptools-scm ------------------------------------------------------------------------------

# "g" stands for git, as in `git describe`:
# https://setuptools-scm.readthedocs.io/en/latest/config/
_COMMIT_ID: Final = re.compile(
    r"""^__commit_id__ *= *(?:commit_id *= *)?(["'])g(?P<commit>[0-9a-f]{7,64})\1\s*$""",
    re.MULTILINE,
)


def _from_version_file(program: Program, installation: Path) -> list[Finding]:
    for folder in own_folders(program):
        if installation not in folder.parents:  # of an editable installation, or not of a package
            continue
        if match := _COMMIT_ID.search(_text(folder / _VERSION_FILE)):
            return _findings(_VERSION_FILE, (semconv.VCS_REF_HEAD_REVISION, match["commit"]))
    return []


# --- git archive ---------------------------------------------------------------------------------

_ARCHIVED: Final = re.compile(r"^(node|describe-name|ref-names): *(.*?)[ \r]*$", re.MULTILINE)
_BEHIND_A_TAG: Final = re.compile(r"-\d+-g[0-9a-f]+$")


def _from_archive(program: Program) -> list[Finding]:
    """https://setuptools-scm.readthedocs.io/en/latest/usage/#git-archives"""
    texts = (_text(folder / _ARCHIVAL_FILE) for folder in own_folders(program))
    archived = dict(_ARCHIVED.findall(next(filter(None, texts), "")))
    # In a checkout it is a placeholder, $Format:%H$, and no commit.
    commit = checked(semconv.VCS_REF_HEAD_REVISION, archived.get("node"))
    if not commit:
        return []
    refs = archived.get("ref-names", "").split(", ")
    branch = _first_of(refs, "HEAD -> ")
    described = archived.get("describe-name", "")
    # Git before 2.32 leaves the placeholder of `describe` as it is.
    is_tag = not ("$" in described or _BEHIND_A_TAG.search(described))
    return _findings(
        _ARCHIVAL_FILE,
        (semconv.VCS_REF_HEAD_REVISION, commit),
        (semconv.VCS_REF_HEAD_NAME, branch),
        (semconv.VCS_REF_HEAD_TYPE, branch and _BRANCH),
        (semconv.VCS_REF_HEAD_TAG, (is_tag and described) or _first_of(refs, "tag: ")),
    )


def _first_of(refs: Iterable[str], prefix: str) -> str | None:
    return next((ref.removeprefix(prefix) for ref in refs if ref.startswith(prefix)), None)


def _findings(source: str, *said: tuple[str, object]) -> list[Finding]:
    return [
        Finding(attribute, value, source)
        for attribute, raw in said
        if (value := checked(attribute, raw)) is not None
    ]


def _text(file: Path) -> str:
    try:
        return read_text(file, _MAX_LENGTH)
    except (OSError, ValueError):  # most often: it is not there
        return ""
