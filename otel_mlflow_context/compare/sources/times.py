"""Times as MLflow's REST API writes them."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final

_MS_PER_S: Final = 1_000
_FRACTION: Final = re.compile(r"\.(\d+)")
_MICROSECONDS: Final = 6


def milliseconds(text: str) -> int:
    """A time as protobuf writes it, with no, 3, 6 or 9 digits of a second.

    >>> milliseconds("1970-01-01T00:00:01.5Z"), milliseconds("1970-01-01T00:00:01.123456789Z")
    (1500, 1123)
    """
    text = _FRACTION.sub(lambda it: f".{it[1]:0<{_MICROSECONDS}.{_MICROSECONDS}}", text)
    time_ = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round((time_ - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds() * _MS_PER_S)
