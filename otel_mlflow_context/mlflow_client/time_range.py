"""The start of a time range, as people write it on a command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"(\d{1,6})([mhdw])")
_LENGTH: Final = re.compile(r"(\d{1,6})([smhdw])")
_MS_PER_S: Final = 1_000


def start_of(since: str | datetime | timedelta | None, now: datetime) -> int | None:
    """The start of a time range, in milliseconds since 1970.

    Args:
        since: a time back from now (``30m``, ``12h``, ``7d``, ``2w``) or a time of ISO 8601.
            A time without a zone is UTC.
        now: with a zone.

    >>> start_of("1970-01-02", datetime.now(timezone.utc))
    86400000

    Raises:
        ValueError: it is neither.
    """
    if since is None:
        return None
    try:
        if isinstance(since, timedelta):
            start = now - since
        elif isinstance(since, datetime):
            start = since
        elif ago := _AGO.fullmatch(since.strip()):
            start = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            start = datetime.fromisoformat(since.strip().replace("Z", "+00:00"))
        if start.tzinfo is None:
            start = start.replace(tzinfo=timezone.utc)
        return int(start.timestamp() * _MS_PER_S)
    except (ValueError, OverflowError):  # OverflowError: before the year 1
        raise ValueError(
            "since must be a time back from now, such as 30m, 12h, 7d or 2w, or a time such "
            f"as 2026-11-01 or 2026-11-01T12:00:00Z, got {since!r}"
        ) from None


def seconds_of(wait: str | timedelta) -> float:
    """A length of time in seconds.

    Args:
        wait: ``90s``, ``30m``, ``2h``, or a `timedelta`.

    >>> seconds_of("30m")
    1800.0

    Raises:
        ValueError: it is neither.
    """
    if isinstance(wait, str) and (length := _LENGTH.fullmatch(wait.strip())):
        wait = timedelta(**{_UNITS[length[2]]: int(length[1])})
    if isinstance(wait, timedelta) and wait >= timedelta(0):
        return wait.total_seconds()
    raise ValueError(f"wait must be a length of time, such as 90s, 30m or 2h, got {wait!r}")
