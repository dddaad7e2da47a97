"""Reads the build stamp: a JSON file with the facts of the checkout that a program was built from.

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
from otel_mlflow_context.detectors._files import is_folder, is_installed, read_text, real_path
from otel_mlflow_context.detectors._finding import Finding, branch, findings
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.project import own_folders
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
"""The keys of a stamp that hold facts, and the resource attributes that they become."""

_MAX_LENGTH: Final = 64 << 10  # bytes; a stamp has some 300
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?=T)")


class StampError(Exception):
    """A stamp that cannot be used; the message says why, after the words "the stamp"."""


def stamp_findings(program: Program, environ: Mapping[str, str], cwd: Path | None) -> list[Finding]:
    """The facts in the program's build stamp; none where there is no stamp. Never raises.

    The stamp is the file (or the folder with the file) that ``OTEL_MLFLOW_CONTEXT_STAMP`` names,
    from the working directory `cwd` where the path is relative, and no other then. Else it is the
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
    """The facts in a stamp. A value of the wrong form is logged and left out.

    Raises:
        StampError: nothing in it can be used.
    """
    stamp = _parsed(file)
    values = {attribute: stamp.get(key) for key, attribute in FIELDS.items()}
    found = findings(_source(stamp), values | branch(values[semconv.VCS_REF_HEAD_NAME]))
    usable = {finding.attribute for finding in found}
    unusable = [
        key
        for key, attribute in FIELDS.items()
        if values[attribute] not in (None, "") and attribute not in usable
    ]
    if unusable:
        # By key only: the value may be anything, a secret too.
        _log_once(f"the build stamp {file} has no usable {', '.join(unusable)}")
    return found


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


# --- Its content ---------------------------------------------------------------------------------


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
