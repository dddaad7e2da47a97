"""The installed distribution that a program belongs to: its version, and where it came from.

Read from the ``*.dist-info`` folders that installers leave:
https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
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
    info = _installed(program) if program.package else None
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


def _installed(program: Program) -> Path | None:
    """The distribution whose RECORD lists the program's file."""
    for folder, beginnings in _installation_folders(program):
        infos = _infos_in(folder, str(program.package))
        found = next((it for it in infos if _line_of(it, beginnings)), None)
        if found is None:
            continue
        # Of an update that was interrupted, or two installers, the metadata may be there twice.
        name = _name_of(found)
        same = [it for it in infos if _name_of(it) == name and _line_of(it, beginnings)]
        if len(same) > 1 and program.file:
            digest = _digest(program.file)
            same = [it for it in same if f"sha256={digest}," in _line_of(it, beginnings)]
        return same[0] if len(same) == 1 else None
    return None


def _installation_folders(program: Program) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Folders that a program may be installed in, and how a line of their RECORD then begins."""
    package, directory = str(program.package), program.directory
    if directory is None:
        return
    if file := program.file:
        # Several distributions may have modules in a package.
        for folder in file.parents:
            path = file.relative_to(folder)
            if path.parts[0].partition(".")[0] == package:
                yield folder, (f"{path.as_posix()},",)
        return
    yield directory, (f"{package}.", f"{package}/")
    for folder in (directory, *directory.parents):
        if folder.name == package:
            yield folder.parent, (f"{directory.relative_to(folder.parent).as_posix()}/",)


def _infos_in(folder: Path, package: str) -> list[Path]:
    """The ``*.dist-info`` folders, first those that are named like the package, as most are."""

    def is_namesake(info: Path) -> bool:
        return info.name.lower().startswith(package.lower())

    # Pip leaves ~ at the beginning of what it could not remove.
    infos = (it for it in folder.glob("*.dist-info") if not it.name.startswith("~"))
    return sorted(infos, key=is_namesake, reverse=True)[:_MAX_RECORDS]


def _line_of(info: Path, beginnings: Iterable[str]) -> str:
    """The first line of a RECORD that begins in one of these ways, or an empty text."""
    record = "\n" + _read(info / "RECORD")
    starts = (record.find(f"\n{beginning}") for beginning in beginnings)
    start = next((it for it in starts if it >= 0), None)
    return "" if start is None else record[start + 1 :].partition("\n")[0]


def _name_of(info: Path) -> str:
    return info.name.removesuffix(".dist-info").rpartition("-")[0].lower()


def _digest(file: Path) -> str:
    """As in a RECORD."""
    import hashlib  # hardly ever needed

    try:
        digest = hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return ""
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


_PROJECT_FILES: Final = ("pyproject.toml", "setup.py", "setup.cfg")


def _editable(directory: Path) -> Path | None:
    """The editable installation with the nearest source folder around `directory`."""
    around = (directory, *directory.parents)
    # Without one of these nothing can be installed from a folder, and no look is needed.
    if not any(is_file(folder / name) for folder in around for name in _PROJECT_FILES):
        return None
    infos = itertools.chain.from_iterable(_installed_from_url(folder) for folder in sys.path)
    folders = {editable_folder_of(info): info for info in infos}
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


def editable_folder_of(info: Path) -> Path | None:
    """The project of an editable installation; None for another distribution."""
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
