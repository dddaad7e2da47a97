"""The program that this process runs.

It is read from the interpreter's own command line (`sys.orig_argv`), because that is the same from
start to end: before there is a ``__main__``, as under ``opentelemetry-instrument``, as well as in
the middle of a request, whatever a debugger or the program itself did to `sys.argv`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from otel_mlflow_context.detectors._files import (
    is_file,
    is_installed,
    is_standard,
    real_path,
    working_directory,
)
from otel_mlflow_context.detectors.program.command_line import (
    Program,
    has_interpreter,
    is_beside_interpreter,
    program_of,
    target_of,
)
from otel_mlflow_context.detectors.program.notebook import is_notebook, notebook


def current_program() -> Program:
    """The program of this process. Never raises: what cannot be known is None."""
    program = named_program()
    if program.is_launcher and (caller := _caller()):
        return Program(caller.name, caller.parent, script=caller, file=caller)
    if is_notebook(program):
        return notebook(program, os.environ, working_directory())
    return program


def named_program() -> Program:
    """The program that the command line names: it may be a launcher or a notebook's kernel."""
    cwd = working_directory()
    return program_of(_command_line(), environ=os.environ, cwd=cwd, main_file=_main_file())


_PACKAGE: Final = Path(__file__).parents[2]


def _caller() -> Path | None:
    """The file of the project from which detection was asked for; None where there is none.

    It is the nearest caller that is neither installed nor of the standard library: what an
    installed program that is no known launcher runs.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - `inspect` takes long to import
    while frame is not None:
        file = real_path(frame.f_code.co_filename, None)
        if file and _is_of_a_project(file):
            return file
        frame = frame.f_back
    return None


def _is_of_a_project(file: Path) -> bool:
    if not is_file(file) or file.is_relative_to(_PACKAGE) or is_beside_interpreter(file):
        return False
    return not is_installed(file.parent) and not is_standard(file.parent)


# A worker process of these starts with a command line of its own and then runs its parent's
# program.
_WORKER_CODE: Final = re.compile(r"from (multiprocessing|billiard)\.\w+ import ")
_WORKER_MODULE: Final = re.compile(r"(joblib\.externals\.)?loky\.backend\.\w+")
_COMMAND_LINE_LENGTH: Final = 65_536  # bytes


def _command_line() -> list[str]:
    own = _words(sys.orig_argv)
    if not own:  # Python inside another program
        return _words(getattr(sys, "argv", None) or ())
    return (_parents_command_line() or _prepared_arguments()) if _is_worker(own) else own


def _is_worker(command_line: Sequence[str]) -> bool:
    target = target_of(command_line)
    return bool(
        _WORKER_CODE.match(target.code or "") or _WORKER_MODULE.fullmatch(target.module or "")
    )


def _parents_command_line() -> list[str] | None:
    """From Linux' /proc; None elsewhere, and where the parent is a worker too."""
    try:
        with Path(f"/proc/{os.getppid()}/cmdline").open("rb") as file:
            words = os.fsdecode(file.read(_COMMAND_LINE_LENGTH)).rstrip("\0").split("\0")
    except OSError:
        return None
    return words if has_interpreter(words) and not _is_worker(words) else None


def _prepared_arguments() -> list[str]:
    """What `multiprocessing.spawn.prepare` takes over from the parent.

    Before it has run, that is nothing: `sys.argv` starts with ``-c``.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    words = _words(sys.argv)
    return ["python", "-m", spec.name, *words[1:]] if spec else words


def _words(arguments: Iterable[object]) -> list[str]:
    """Only text: a program that embeds Python can leave anything there."""
    return [word for word in arguments if isinstance(word, str)]


def _main_file() -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file) if isinstance(file, str) and Path(file).is_absolute() else None
