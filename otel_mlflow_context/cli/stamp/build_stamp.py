"""Writes the build stamp: the facts of a checkout, for where the program runs without it.

The file's specification is docs/build-stamp.md; the detectors read it (`detectors._stamp`).
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._checkout import uncommitted_changes
from otel_mlflow_context.detectors._decision import checkout_and_platforms, merged
from otel_mlflow_context.detectors._finding import (
    RESOURCE_VARIABLE,
    Finding,
    checked,
    findings,
)
from otel_mlflow_context.detectors._sources import checkout_findings as findings_of_checkout
from otel_mlflow_context.detectors._stamp import FIELDS, FILE_NAME, SCHEMA
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.package import package_findings
from otel_mlflow_context.detectors.repository.command import describe
from otel_mlflow_context.detectors.repository.files import RepositoryError
from otel_mlflow_context.settings import environment_variables as env

__all__ = ["FILE_NAME", "Stamp", "checkout_findings", "current_findings", "stamp_of", "write"]

_logger = logging.getLogger(__name__)

Stamp = Mapping[str, "str | bool | int"]

_SOURCE_DATE_EPOCH: Final = "SOURCE_DATE_EPOCH"


def current_findings(directory: Path, program: Program) -> list[Finding]:
    """The facts of a checkout and of the build that runs in it, one finding an attribute.

    The sources have the detectors' precedence: environment variables, ``.git``, the variables of
    the CI platform, the installed package.

    Args:
        directory: a folder of the checkout.
        program: whose package is read. It is not the running program, which is a build tool.
    """
    checkout, platforms = checkout_and_platforms(
        Program(directory=directory), checkout_findings(directory)
    )
    conflicts: list[str] = []
    found = merged(
        _variable_findings(),
        checkout,
        *platforms,
        package_findings(program),
        conflicts=conflicts,
    )
    for conflict in conflicts:
        _logger.warning("%s, and is left out", conflict)
    return list(found.values())


def checkout_findings(directory: Path) -> list[Finding]:
    """The facts of the repository that a folder belongs to. Unreadable files are logged."""
    problems: list[str] = []
    checkout = Program(directory=directory)
    everything = findings_of_checkout(checkout, problems) + uncommitted_changes(checkout, problems)
    found = {it.attribute: it for it in everything}
    if problems:
        _logger.warning("facts from git are missing: %s", "; ".join(problems))
    if semconv.VCS_REF_HEAD_REVISION not in found:
        return []
    # Only where git is there and accepts the repository. It fails where there is no tag.
    if semconv.VCS_REF_HEAD_DIRTY in found:
        with suppress(RepositoryError):
            repository = checkout.repository
            if repository and (tag := describe(repository.root, "--exact-match", "HEAD")):
                found[semconv.VCS_REF_HEAD_TAG] = Finding(
                    semconv.VCS_REF_HEAD_TAG, tag, "git describe"
                )
    return list(found.values())


def stamp_of(found: Iterable[Finding], version: str | None = None) -> Stamp:
    """The content of a stamp, its time included: now, or ``SOURCE_DATE_EPOCH``.

    Args:
        found: the facts; values of a form that no stamp has are left out.
        version: the version of the program; by default that of the findings.

    https://reproducible-builds.org/specs/source-date-epoch/
    """
    raw: dict[str, object] = {finding.attribute: finding.value for finding in found}
    if version:
        raw[semconv.SERVICE_VERSION] = version
    values = {key: checked(attribute, raw.get(attribute)) for key, attribute in FIELDS.items()}
    usable = {key: value for key, value in values.items() if value is not None}
    return {"schema": SCHEMA, "time": _time(), **usable}


def write(stamp: Stamp, file: Path) -> None:
    """Write a stamp whole or not at all: a program that starts meanwhile reads the old or the new.

    Raises:
        OSError: the folder is not there, or cannot be written to.
    """
    # Not `tempfile`: its files are for their owner only, and another user may run the program.
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(as_json(stamp), encoding="utf-8", newline="\n")
        beside.replace(file)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def as_json(stamp: Stamp) -> str:
    return json.dumps(stamp, indent=2, ensure_ascii=False) + "\n"


def _time() -> str:
    try:
        seconds = int(os.environ[_SOURCE_DATE_EPOCH])
        utc = time.gmtime(seconds)
    except (KeyError, ValueError, OverflowError, OSError):
        utc = time.gmtime()
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", utc)


# --- Sources -------------------------------------------------------------------------------------


def _variable_findings() -> list[Finding]:
    version = {semconv.SERVICE_VERSION: os.environ.get(env.APP_VERSION)}
    attributes = OTELResourceDetector().detect().attributes
    # The last counts.
    return [*findings(env.APP_VERSION, version), *findings(RESOURCE_VARIABLE, attributes)]
