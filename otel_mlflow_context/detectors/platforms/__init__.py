"""CI systems and hosting platforms, by their environment variables: `ci` and `hosting`.

A new platform is a new row in one of the two, in the format that `lookup` describes. Only
the variables of rows are read, each only where its platform is known; none holds a secret. There
is no network call, and one file is read: the event of a pull request in GitHub Actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors.platforms.ci import CI
from otel_mlflow_context.detectors.platforms.hosting import HOSTING
from otel_mlflow_context.detectors.platforms.lookup import (
    findings_of,
    is_known,
    merge_commit,
    rows,
)

PLATFORMS: Final = (*rows(HOSTING), *rows(CI))
"""What runs the process comes before what built it. More than one may apply."""


def platform_findings(environ: Mapping[str, str]) -> list[list[Finding]]:
    """The findings of each platform that a process is on, in their order. Never raises."""
    return [findings_of(row, environ) for row in PLATFORMS if is_known(row, environ)]


def merge_commits(environ: Mapping[str, str]) -> frozenset[str]:
    """Commits that a platform made and checked out in place of a pull request's head."""
    commits = (merge_commit(row, environ) for row in PLATFORMS if is_known(row, environ))
    return frozenset(filter(None, commits))
