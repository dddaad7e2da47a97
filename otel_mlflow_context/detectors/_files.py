"""Reading a small file that anybody may have left where we look."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_text(file: Path, max_length: int) -> str:
    """The text of a regular file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: it is not there, or not for us.
        ValueError: it is another thing than a file, has more than `max_length` bytes, or is not
            UTF-8. The message says which, after the words "the file".
    """
    # A pipe would block at open.
    if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - half the time of Path.stat
        raise ValueError("is no regular file")
    with file.open("rb") as opened:
        content = opened.read(max_length + 1)
    if len(content) > max_length:
        raise ValueError(f"has more than {max_length} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
