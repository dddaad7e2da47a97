"""Questions to the file system about paths that anybody may have typed. None of them raises.

The methods of `pathlib.Path` do: for names that are too long, NUL characters, folders that are
gone or forbidden, in some versions of Python or all.
"""

from __future__ import annotations

import os
from pathlib import Path


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


def working_directory() -> Path | None:
    """None when it was deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None
