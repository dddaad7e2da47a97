"""The folders that belong to a program: where files about it are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors._files import (
    INSTALLATIONS,
    has_one_of,
    is_environment,
    is_installed,
)
from otel_mlflow_context.detectors.program.command_line import Program

_TOPS: Final = (".git", "pyproject.toml", "setup.py", "setup.cfg")
"""What the top folder of a project holds, one of them at least."""
_MAX_FOLDERS: Final = 8
"""The folder of the program and those around it: deeper than any layout in use."""


def own_folders(program: Program) -> Iterator[Path]:
    """The program's packages, its folder, and the folders around it that are its own.

    The nearest first. A folder around the program is not its own

    - outside of its project: the nearest folder with ``.git``, ``pyproject.toml``, ``setup.py`` or
      ``setup.cfg`` is the last;
    - where it is installed: only packages with an ``__init__.py`` count there, since several
      distributions share the folders above them;
    - in a home folder, at the top of a file system and in a virtual environment, unless the
      program lies right there, or there is a project.
    """
    if program.directory is None:
        return
    for folder in _packages_below(program, program.directory):
        # Most often it is not there: then the folder is that of the module already.
        if not is_installed(folder) or _is_package(folder):
            yield folder
    if is_installed(program.directory):
        yield from _packages_around(program.directory)
    else:
        yield from _project_around(program.directory)


def _packages_below(program: Program, directory: Path) -> Iterator[Path]:
    """``acme.shop``, ``acme`` of ``acme.shop:app``, as far as these can be folders."""
    if not program.package:
        return
    module = (program.name or "").partition(":")[0]
    names = module.split(".") if module.split(".")[0] == program.package else [program.package]
    for count in range(len(names), 0, -1):
        yield directory.joinpath(*names[:count])


def _packages_around(directory: Path) -> Iterator[Path]:
    for folder in (directory, *directory.parents):
        if folder.name in INSTALLATIONS or not _is_package(folder):
            return
        yield folder


def _project_around(directory: Path) -> Iterator[Path]:
    home = os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111 - Path.home can raise
    for folder in islice((directory, *directory.parents), _MAX_FOLDERS):
        is_project = has_one_of(folder, _TOPS)
        if folder is not directory and not is_project:
            is_top = not folder.name  # of a file system
            if is_top or str(folder) == home or is_environment(folder):
                return
        yield folder
        if is_project:
            return


def _is_package(folder: Path) -> bool:
    return has_one_of(folder, ("__init__.py",))
