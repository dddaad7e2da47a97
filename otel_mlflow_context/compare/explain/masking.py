"""Messages without what differs from one error to the next: numbers, ids and quoted text."""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 160
_READ: Final = 2_000
"""Characters of a message that are looked at: a message may be a whole document."""
_QUOTED: Final = re.compile(
    r"\"[^\"]*\"|`[^`]*`|(?<!\w)'[^']*'(?!\w)|\u201c[^\u201d]*\u201d|\u2018[^\u2019]*\u2019"
)
_ID: Final = re.compile(
    r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"  # a UUID
    r"|\b0x[0-9a-fA-F]+\b"
    r"|\b(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{8,}\b"
    r"|\b(?=[\w-]*\d)[A-Za-z]+[-_](?=[\w-]*\d)[\w-]{6,}\b"  # req_7Fh2k9, tr-0af7...
)
_NUMBER: Final = re.compile(r"(?<![A-Za-z_])[-+]?\d+(?:[.,:]\d+)*")


def masked(message: str) -> str:
    """The first line of a message, with numbers, ids and quoted text replaced.

    >>> masked("Timeout after 30.5 s for 'ada@example.com' (request req_7Fh2k9x)\\nmore")
    'Timeout after <number> s for <text> (request <id>)'
    """
    lines = message[:_READ].strip().splitlines()
    line = lines[0] if lines else ""
    line = _NUMBER.sub("<number>", _ID.sub("<id>", _QUOTED.sub("<text>", line)))
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}\u2026"
