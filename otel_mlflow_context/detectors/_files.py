"""Questions to the file system: about paths that users type, and files that others left.

The methods of `pathlib.Path` raise for names that are too long, NUL characters, folders that are
gone or forbidden, in some versions of Python or all. What returns a path or a truth here does not.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

INSTALLATIONS: Final = frozenset({"site-packages", "dist-packages"})
"""Names of the folders that installers put packages into."""


_STANDARD_LIBRARY: Final = os.path.dirname(os.path.realpath(os.__file__))  # noqa: PTH120 - no Path yet


def real_path(path: str | Path, folder: Path | None) -> Path | None:
    """A path that starts from `folder`, absolute and without symbolic links.

    None for what is no path, and for a relative one where there is no folder.
    """
    if folder is None and not Path(path).is_absolute():
        return None
    try:
        return Path(os.path.realpath(folder / path if folder else path))
    except (OSError, ValueError):
        return None


def is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def has_one_of(folder: Path, names: tuple[str, ...]) -> bool:
    # No Path for each: this is asked for many folders at every start of every program.
    prefix = f"{folder}/"
    return any(os.path.lexists(prefix + name) for name in names)


def is_installed(folder: Path) -> bool:
    """Whether a folder lies where installers put packages."""
    return not INSTALLATIONS.isdisjoint(folder.parts)


def is_standard(folder: Path) -> bool:
    """Whether a folder is of the standard library."""
    return folder.is_relative_to(_STANDARD_LIBRARY) and not is_installed(folder)


def is_environment(folder: Path) -> bool:
    """Whether a folder is a virtual environment."""
    return has_one_of(folder, ("pyvenv.cfg",))


def working_directory() -> Path | None:
    """None when it was deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None


def open_file(file: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: it is another thing than a file.
    """
    # A pipe would block at open.
    if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - half the time of Path.stat
        raise ValueError("is no regular file")
    return file.open("rb")


def read_bytes(file: Path, max_length: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it is not there, or may not be read.
        ValueError: it cannot be used. The message says why, after the words "the file".
    """
    with open_file(file) as opened:
        content = opened.read(max_length + 1)
    if len(content) > max_length:
        raise ValueError(f"is too large: more than {max_length} bytes")
    return content


def read_text(file: Path, max_length: int) -> str:
    """The text of a regular file in UTF-8, with or without a byte order mark.

    Raises:
        OSError, ValueError: as for `read_bytes`, and where it is not UTF-8.
    """
    try:
        return read_bytes(file, max_length).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def read_text_if_possible(file: Path, max_length: int) -> str:
    """The same, and an empty text for a file that is not there or cannot be used."""
    try:
        return read_text(file, max_length)
    except (OSError, ValueError):
        return ""
