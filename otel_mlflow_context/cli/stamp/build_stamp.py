"""Writing the build stamp: what is true of a checkout now, for when the checkout is gone.

The file's specification is docs/build-stamp.md; the detectors read it (`detectors._stamp`).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._code import changes, merged, repository_findings
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._stamp import FIELDS, FILE_NAME, SCHEMA, checked
from otel_mlflow_context.detectors.platforms.table import findings_of, merge_commits, platforms
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.package import package_findings
from otel_mlflow_context.settings import environment_variables as env

__all__ = ["FILE_NAME", "Stamp", "checkout_findings", "current_findings", "stamp_of", "write"]

_logger = logging.getLogger(__name__)

Stamp = Mapping[str, "str | bool | int"]

_GIT_SECONDS: Final = 10.0
_SOURCE_DATE_EPOCH: Final = "SOURCE_DATE_EPOCH"


def current_findings(directory: Path, program: Program) -> list[Finding]:
    """What is known of a checkout and the build that runs in it, one finding an attribute.

    The sources in the order of the detectors: environment variables, ``.git``, those of the
    CI platform, and what an installed package says.

    Args:
        directory: a folder of the checkout.
        program: whose package is asked. It is not the running program, which is a build tool.
    """
    sources = (
        _from_variables(),
        [it for it in checkout_findings(directory) if it.value not in merge_commits(os.environ)],
        *(findings_of(platform, os.environ) for platform in platforms(os.environ)),
        package_findings(program),
    )
    left_out: list[str] = []
    findings = merged(*map(_usable, sources), left_out=left_out)
    for reason in left_out:
        _logger.warning("%s, and is left out", reason)
    return list(findings.values())


def checkout_findings(directory: Path) -> list[Finding]:
    """What the repository says that a folder belongs to. What cannot be read is logged."""
    problems: list[str] = []
    findings = {it.attribute: it for it in repository_findings(directory, problems)}
    if changed := changes(directory, problems):
        findings[changed.attribute] = changed
    if problems:
        _logger.warning("facts from git are missing: %s", "; ".join(problems))
    if semconv.VCS_REF_HEAD_REVISION not in findings:
        return []
    # Asked only where git is there and agrees to answer.
    if semconv.VCS_REF_HEAD_DIRTY in findings and (tag := _tag(directory)):
        findings[semconv.VCS_REF_HEAD_TAG] = Finding(semconv.VCS_REF_HEAD_TAG, tag, "git describe")
    return list(findings.values())


def stamp_of(findings: Iterable[Finding], version: str | None = None) -> Stamp:
    """The content of a stamp, its time included: now, or ``SOURCE_DATE_EPOCH``.

    Args:
        findings: what is true; values of a form that no stamp has are left out.
        version: the version of the program; by default that of the findings.

    https://reproducible-builds.org/specs/source-date-epoch/
    """
    found: dict[str, object] = {finding.attribute: finding.value for finding in findings}
    if version:
        found[semconv.SERVICE_VERSION] = version
    values = {key: checked(attribute, found.get(attribute)) for key, attribute in FIELDS.items()}
    said = {key: value for key, value in values.items() if value is not None}
    return {"schema": SCHEMA, "time": _time(), **said}


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


def _usable(findings: Iterable[Finding]) -> list[Finding]:
    """Those of a form that a stamp takes: a commit that is none must not hide one that is."""
    return [it for it in findings if checked(it.attribute, it.value) is not None]


def _from_variables() -> Iterator[Finding]:
    # The last counts.
    if version := os.environ.get(env.APP_VERSION):
        yield Finding(semconv.SERVICE_VERSION, version, env.APP_VERSION)
    for attribute, value in OTELResourceDetector().detect().attributes.items():
        yield Finding(attribute, str(value), "OTEL_RESOURCE_ATTRIBUTES")


def _tag(folder: Path) -> str | None:
    """The tag of the commit that is checked out; an annotated one before another."""
    try:
        described = subprocess.run(
            ["git", "describe", "--tags", "--exact-match", "HEAD"],  # noqa: S607 - whichever is used
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,  # it fails where there is no tag
        )
    except (OSError, subprocess.SubprocessError) as error:
        _logger.warning("the tag is not known: %s", type(error).__name__)
        return None
    return described.stdout.decode("utf-8", "replace").strip() or None
