"""Which program this process runs: not the launcher that `sys.argv[0]` names, but the application."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """An application, as its command line names it."""

    name: str | None
    """The entry point as a person would write it: ``app.main:app``, ``pkg.job``, or a script's path
    as given to Python (the source detector makes it relative to the repository); None if unknown."""
    directory: Path | None
    """The folder that holds its code (absolute): of the script, the module, or, for an installed
    launcher, the working directory; None when the code is not in a folder of its own."""
    package: str | None
    """Its top-level import package, where the entry point is a module: ``pkg``."""


def current_program() -> Program:
    raise RuntimeError
