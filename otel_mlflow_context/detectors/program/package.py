"""The version of the program's package, and the commit that it was built from.

Three writers leave the commit behind: installers (PEP 610), setuptools-scm, and `git archive`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._files import read_text_if_possible
from otel_mlflow_context.detectors._finding import (
    Finding,
    branch,
    commit_findings,
    commit_id,
    findings,
)
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.distribution import (
    direct_url_of,
    distribution_of,
    editable_folder_of,
    version_of,
)
from otel_mlflow_context.detectors.program.project import own_folders
from otel_mlflow_context.detectors.program.static_version import static_version

_DIRECT_URL: Final = "direct_url.json"
_VERSION_FILE: Final = "_version.py"
_ARCHIVAL_FILE: Final = ".git_archival.txt"
_DISTRIBUTION: Final = "installed distribution"
_EDITABLE: Final = "editable installation"
_MAX_LENGTH: Final = 64 << 10  # bytes of any of these files; they have some hundred
_BRANCHES: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"


def package_findings(program: Program) -> list[Finding]:
    """The version of the program's distribution, and the commit that it was built from.

    The commit, branch, tag and repository are those of the first that knows a commit:

    - ``direct_url.json``, which ``pip install git+https://...`` leaves;
    - ``_version.py`` of setuptools-scm (9 and later) in a package that is installed; in a
      source folder it may be years old;
    - ``.git_archival.txt`` at the top of a source folder that `git archive` made (GitHub's
      "Download ZIP" too).

    Never raises; a file of another writer is ignored.
    """
    info = distribution_of(program)
    found = _from_direct_url(direct_url_of(info)) if info else []
    found = found or (_from_version_file(program, info.parent) if info else [])
    found = found or _from_archive(program)
    return [*found, *(_version_findings(info) if info else [])]


def _version_findings(info: Path) -> list[Finding]:
    """The version of a distribution; of an editable installation, that of its project now."""
    project = editable_folder_of(info)
    if project and (static := static_version(project)):
        return findings(static.file, {semconv.SERVICE_VERSION: static.version})
    found = findings(_DISTRIBUTION, {semconv.SERVICE_VERSION: version_of(info)})
    return [it._replace(source=_EDITABLE, is_old=True) for it in found] if project else found


# --- pip install git+https://... -----------------------------------------------------------------


def _from_direct_url(direct_url: Mapping[str, Any]) -> list[Finding]:
    """https://packaging.python.org/en/latest/specifications/direct-url/"""
    vcs = direct_url.get("vcs_info")
    if not isinstance(vcs, dict) or vcs.get("vcs") != "git":
        return []
    others = _requested(vcs.get("requested_revision"))
    url = {semconv.VCS_REPOSITORY_URL_FULL: direct_url.get("url")}
    return commit_findings(_DIRECT_URL, vcs.get("commit_id"), others | url)


def _requested(revision: object) -> dict[str, object]:
    """The text after the @: a branch, a tag or a commit, and installers do not write which."""
    if not isinstance(revision, str) or revision == "HEAD" or commit_id(revision):
        return {}
    if revision.startswith(_TAGS):
        return {semconv.VCS_REF_HEAD_TAG: revision.removeprefix(_TAGS)}
    if revision.startswith(_BRANCHES):
        return branch(revision.removeprefix(_BRANCHES))
    # The conventions' name of the ref may be that of either; its type is left out.
    return {} if revision.startswith("refs/") else {semconv.VCS_REF_HEAD_NAME: revision}


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
        text = read_text_if_possible(folder / _VERSION_FILE, _MAX_LENGTH)
        if match := _COMMIT_ID.search(text):
            return commit_findings(_VERSION_FILE, match["commit"], {})
    return []


# --- git archive ---------------------------------------------------------------------------------

_ARCHIVED: Final = re.compile(r"^(node|describe-name|ref-names): *(.*?)[ \r]*$", re.MULTILINE)
_BEHIND_A_TAG: Final = re.compile(r"-\d+-g[0-9a-f]+$")


def _from_archive(program: Program) -> list[Finding]:
    """https://setuptools-scm.readthedocs.io/en/latest/usage/#git-archives"""
    files = (folder / _ARCHIVAL_FILE for folder in own_folders(program))
    texts = (read_text_if_possible(file, _MAX_LENGTH) for file in files)
    archived = dict(_ARCHIVED.findall(next(filter(None, texts), "")))
    refs = archived.get("ref-names", "").split(", ")
    described = archived.get("describe-name", "")
    # Git before 2.32 leaves the placeholder of `describe` as it is.
    is_tag = not ("$" in described or _BEHIND_A_TAG.search(described))
    tag = (is_tag and described) or _first_of(refs, "tag: ")
    # In a checkout the commit is a placeholder too, $Format:%H$, and not usable.
    return commit_findings(
        _ARCHIVAL_FILE,
        archived.get("node"),
        {**branch(_first_of(refs, "HEAD -> ")), semconv.VCS_REF_HEAD_TAG: tag},
    )


def _first_of(refs: Iterable[str], prefix: str) -> str | None:
    return next((ref.removeprefix(prefix) for ref in refs if ref.startswith(prefix)), None)
