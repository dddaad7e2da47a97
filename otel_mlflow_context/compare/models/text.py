"""Versions for people, as a table."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

from rich.console import Console
from rich.text import Text

from otel_mlflow_context.compare.explain.labels import printable
from otel_mlflow_context.compare.models.result import LinkedVersion, Listing
from otel_mlflow_context.compare.report.labels import ABSENT
from otel_mlflow_context.compare.report.text import write_table

_HEADINGS: Final = [
    *("service", "version", "commit", "environments", "traces", "first seen", "last seen"),
    "model",
]
_SHORT: Final = 10
"""Digits of a commit."""
_MS_PER_S: Final = 1_000


def write(found: Listing, console: Console) -> None:
    """Write the table to a console, in the colors that it has."""
    rows = [_row(version) for version in found.versions]
    write_table(console, _HEADINGS, rows, left=(0, 1, 2, 3, 5, 6, 7))
    if not found.complete:
        more = f"There are more than these {len(found.versions)} versions: see --versions."
        console.print(Text(more), style="dim")


def _row(version: LinkedVersion) -> list[str]:
    commit = (version.commit or ABSENT)[:_SHORT] + (" (dirty)" if version.dirty else "")
    texts = [
        version.service_name or ABSENT,
        version.app_version or ABSENT,
        commit,
        ", ".join(version.environments) or ABSENT,
        f"{version.traces:,}",
        _time(version.first_seen_ms),
        _time(version.last_seen_ms),
        version.model_id,
    ]
    return [printable(text) for text in texts]


def _time(time_ms: int) -> str:
    """In UTC."""
    return f"{datetime.fromtimestamp(time_ms / _MS_PER_S, tz=timezone.utc):%Y-%m-%d %H:%M}"
