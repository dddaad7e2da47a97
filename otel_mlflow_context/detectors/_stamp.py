"""The build stamp: a JSON file that says what was true where the program was built.

Its specification is docs/build-stamp.md; `otel_mlflow_context.cli.stamp.build_stamp` writes it.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._files import read_text
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._paths import is_folder, real_path
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.project import is_installed, own_folders
from otel_mlflow_context.detectors.repository.url import browsable_url
from otel_mlflow_context.facts.values import clean
from otel_mlflow_context.settings import environment_variables as env

_logger = logging.getLogger(__name__)

# Not hidden: `zip -r app.zip *`, `cp src/*`, GitHub's upload-artifact and many a `.dockerignore`
# leave files out that begin with a dot, and this one is made to be copied.
FILE_NAME: Final = "otel-mlflow-context-stamp.json"
SCHEMA: Final = 1
FIELDS: Final[Mapping[str, str]] = {
    "commit": semconv.VCS_REF_HEAD_REVISION,
    "branch": semconv.VCS_REF_HEAD_NAME,
    "tag": semconv.VCS_REF_HEAD_TAG,
    "dirty": semconv.VCS_REF_HEAD_DIRTY,
    "repository": semconv.VCS_REPOSITORY_URL_FULL,
    "change": semconv.VCS_CHANGE_ID,
    "version": semconv.SERVICE_VERSION,
}
"""The keys of a stamp that say something of the program, and the resource attributes they are."""

_BRANCH: Final = "branch"  # a value of `vcs.ref.head.type`
_MAX_LENGTH: Final = 64 << 10  # bytes; a stamp has some 300
_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?=T)")
_TRUTH: Final = {"true": True, "false": False}


class StampError(Exception):
    """A stamp that cannot be used; the message says why, after the words "the stamp"."""


def stamp_findings(program: Program, environ: Mapping[str, str], cwd: Path | None) -> list[Finding]:
    """What the program's build stamp says; nothing where there is none. Never raises.

    That is the file (or the folder with the file) that ``OTEL_MLFLOW_CONTEXT_STAMP`` names, from
    the working directory `cwd` where the path is relative, and no other then. Else it is the
    nearest in the folders that are the program's own (see `own_folders`), and for an installed
    program then in the working directory. One that cannot be used is logged, once, and no other
    takes its place.
    """
    named = environ.get(env.OTEL_MLFLOW_CONTEXT_STAMP, "").strip()
    file = _named(named, cwd) if named else _nearest(program, cwd)
    if named and file is None:
        _log_once(f"{env.OTEL_MLFLOW_CONTEXT_STAMP} names a path that leads nowhere")
    if file is None:
        return []
    try:
        return read_stamp(file)
    except StampError as error:
        by = f" ({env.OTEL_MLFLOW_CONTEXT_STAMP})" if named else ""
        _log_once(f"the build stamp {file}{by} is ignored: it {error}")
        return []


def read_stamp(file: Path) -> list[Finding]:
    """What a stamp says. A value of the wrong form is logged and left out.

    Raises:
        StampError: nothing in it can be used.
    """
    stamp = _parsed(file)
    source = _source(stamp)
    findings = []
    unusable = []
    for key, attribute in FIELDS.items():
        said = stamp.get(key)
        if said is None or said == "":
            continue
        value = checked(attribute, said)
        if value is None:
            unusable.append(key)
            continue
        findings.append(Finding(attribute, value, source))
        if attribute == semconv.VCS_REF_HEAD_NAME:
            findings.append(Finding(semconv.VCS_REF_HEAD_TYPE, _BRANCH, source))
    if unusable:
        # By key only: the value may be anything, a secret too.
        _log_once(f"the build stamp {file} has no usable {', '.join(unusable)}")
    return findings


def checked(attribute: str, value: object) -> str | bool | None:
    """A value in the form that its attribute has, or None where it cannot have it."""
    if attribute == semconv.VCS_REF_HEAD_DIRTY:
        return value if isinstance(value, bool) else _TRUTH.get(str(value))
    text = clean(value) if isinstance(value, str) else None
    if text is None:
        return None
    if attribute == semconv.VCS_REF_HEAD_REVISION:
        return commit_of(text)
    return browsable_url(text) if attribute == semconv.VCS_REPOSITORY_URL_FULL else text


def commit_of(text: str) -> str | None:
    """A commit in lower case, whole or shortened to no less than 7 digits; None for another."""
    return text.lower() if _COMMIT.fullmatch(text.lower()) else None


# --- Which file ----------------------------------------------------------------------------------


def _named(path: str, cwd: Path | None) -> Path | None:
    file = real_path(path, cwd)
    return file / FILE_NAME if file and is_folder(file) else file


def _nearest(program: Program, cwd: Path | None) -> Path | None:
    folders = own_folders(program)
    if cwd and program.directory and is_installed(program.directory):
        # An image's: the program installed, the stamp copied into the WORKDIR.
        folders = chain(folders, [cwd])
    for folder in folders:
        file = f"{folder}/{FILE_NAME}"
        if os.path.lexists(file):
            return Path(file)
    return None


# --- What it says --------------------------------------------------------------------------------


def _parsed(file: Path) -> dict[str, Any]:
    try:
        stamp = json.loads(read_text(file, _MAX_LENGTH))
    except OSError as error:
        raise StampError(f"cannot be read ({error.strerror})") from None
    except json.JSONDecodeError:
        raise StampError("is not JSON") from None
    except RecursionError:
        raise StampError("is nested too deeply") from None
    except ValueError as error:
        raise StampError(str(error)) from None
    if not isinstance(stamp, dict):
        raise StampError("is no JSON object")
    # `true` and 1.0 are equal to 1.
    if type(stamp.get("schema")) is not int or stamp["schema"] != SCHEMA:
        raise StampError(f"is not of schema {SCHEMA}")
    return stamp


def _source(stamp: Mapping[str, Any]) -> str:
    time = stamp.get("time")
    date = _DATE.match(time) if isinstance(time, str) else None
    return f"build stamp of {date[0]}" if date else "build stamp"


_logged: set[str] = set()


def _log_once(message: str) -> None:
    if message not in _logged:
        _logged.add(message)
        _logger.warning(message)
