"""CI systems and hosting platforms, by their environment variables: `ci` and `hosting`.

A new platform is a new row in one of the two, in the format that `lookup` describes. Only
the variables of rows are read, each only where its platform is known; none holds a secret. There
is no network call, and one file is read: the event of a pull request in GitHub Actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors.platforms.ci import CI
from otel_mlflow_context.detectors.platforms.hosting import HOSTING
from otel_mlflow_context.detectors.platforms.lookup import (
    Change,
    change_of,
    findings_of,
    is_known,
    rows,
    workspace_of,
)

_CI: Final = tuple(rows(CI))
PLATFORMS: Final = (*rows(HOSTING), *_CI)
"""What runs the process comes before what built it. More than one may apply."""


class DetectedPlatform(NamedTuple):
    """A platform that a process is on, as its variables describe it."""

    findings: list[Finding]
    is_ci: bool
    workspace: str | None
    """The folder of the code that it builds, as its variable has it."""
    change: Change | None
    """The proposed change that it builds."""


def detected_platforms(environ: Mapping[str, str]) -> list[DetectedPlatform]:
    """The platforms that a process is on, in the order of `PLATFORMS`. Never raises."""
    return [
        DetectedPlatform(
            findings_of(row, environ),
            row in _CI,
            workspace_of(row, environ),
            change_of(row, environ),
        )
        for row in PLATFORMS
        if is_known(row, environ)
    ]
