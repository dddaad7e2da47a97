"""The installed distribution that a program belongs to: its version, and where it came from.

Read from the ``*.dist-info`` folders that installers leave:
https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from otel_mlflow_context.detectors._files import is_file, real_path
from otel_mlflow_context.detectors.program.command_line import Program

# https://packaging.python.org/en/latest/specifications/core-metadata/#version
_VERSION: Final = re.compile(r"^Version:\s*(\S+)", re.MULTILINE)
_MAX_RECORDS: Final = 1_000  # lists of files to look into; a hundred take some 5 ms


def distribution_of(program: Program) -> Path | None:
    """The ``*.dist-info`` folder of the program's own distribution, not of its launcher's.

    That is the distribution whose list of files holds the program's package, in the folder where
    the package is; or the editable installation whose source folder holds the program.
    """
    if program.directory is None:
        return None
    info = None
    if program.package:
        info = _installed(program.package, program.directory)
    if info is None and (program.package or program.script):
        info = _editable(program.directory)
    return info


def version_of(info: Path) -> str | None:
    """The version of the distribution that a ``*.dist-info`` folder describes."""
    # `importlib.metadata` takes longer to import than everything else here.
    headers, _, _ = _read(info / "METADATA").partition("\n\n")
    version = _VERSION.search(headers)
    return version[1] if version else None


def direct_url_of(info: Path) -> dict[str, Any]:
    """The installer's record of where the distribution came from; empty where there is none.

    https://packaging.python.org/en/latest/specifications/direct-url/
    """
    text = _read(info / "direct_url.json")
    try:
        direct_url = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return direct_url if isinstance(direct_url, dict) else {}


def _installed(package: str, directory: Path) -> Path | None:
    """The distribution whose RECORD lists the package."""

    def is_namesake(info: Path) -> bool:
        return info.name.lower().startswith(f"{package.lower()}-")

    for folder, beginnings in _installation_folders(package, directory):
        # A distribution that is named like its package, as most are, is read first.
        infos = sorted(folder.glob("*.dist-info"), key=is_namesake, reverse=True)
        for info in infos[:_MAX_RECORDS]:
            record = "\n" + _read(info / "RECORD")
            if any(f"\n{beginning}" in record for beginning in beginnings):
                return info
    return None


def _installation_folders(package: str, directory: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Folders that the package may be installed in, and how a line of their RECORD then begins."""
    yield directory, (f"{package}.", f"{package}/")
    for folder in (directory, *directory.parents):
        if folder.name == package:
            yield folder.parent, (f"{directory.relative_to(folder.parent).as_posix()}/",)


_PROJECT_FILES: Final = ("pyproject.toml", "setup.py", "setup.cfg")


def _editable(directory: Path) -> Path | None:
    """The editable installation with the nearest source folder around `directory`."""
    around = (directory, *directory.parents)
    # Without one of these nothing can be installed from a folder, and no look is needed.
    if not any(is_file(folder / name) for folder in around for name in _PROJECT_FILES):
        return None
    infos = itertools.chain.from_iterable(_installed_from_url(folder) for folder in sys.path)
    folders = {_editable_folder(info): info for info in infos}
    return next((folders[folder] for folder in around if folder in folders), None)


def _installed_from_url(folder: str) -> Iterator[Path]:
    """The ``*.dist-info`` folders that can be editable ones: a few of all that are there."""
    # No Path for each: there may be hundreds, and it would take longer than the look itself.
    try:
        names = os.listdir(folder) if folder else []  # noqa: PTH208
    except OSError:  # a zip file, or nothing
        return
    for name in names:
        if name.endswith(".dist-info") and os.path.exists(f"{folder}/{name}/direct_url.json"):  # noqa: PTH110
            yield Path(folder, name)


def _editable_folder(info: Path) -> Path | None:
    dir_info = direct_url_of(info).get("dir_info")
    is_editable = isinstance(dir_info, dict) and dir_info.get("editable")
    return source_folder_of(info) if is_editable else None


def source_folder_of(info: Path) -> Path | None:
    """The folder that a distribution was installed from; None where it comes from elsewhere."""
    direct_url = direct_url_of(info)
    try:
        if "dir_info" not in direct_url:
            return None
        path = unquote(urlsplit(direct_url["url"]).path)
    except (ValueError, KeyError, AttributeError, TypeError):  # no installer wrote this
        return None
    return real_path(path[1:] if os.name == "nt" else path, None)  # file:///C:/project


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # most often: it is not there
        return ""
