"""The program that a command line starts: the application, not its launcher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors._files import is_file, is_folder, real_path
from otel_mlflow_context.detectors.program.launchers import (
    LAUNCHERS,
    WRAPPERS,
    command_name,
    launch_of,
    wrapped_command,
)


@dataclass(frozen=True)
class Program:
    """An application, as its command line names it."""

    name: str | None = None
    """The entry point as a person would write it: ``app.main:app``, ``pkg.job``, ``myapp`` (an
    installed command), or a script's path as typed. None where there is none: ``python -c``, a
    prompt, a notebook."""
    directory: Path | None = None
    """The folder that holds its code (absolute): of the script; of the module; the working
    directory for an application that a launcher finds there, and for code that is in no file.
    None where the code cannot be found."""
    package: str | None = None
    """Its top-level import package, where the entry point is a module: ``pkg``."""
    script: Path | None = None
    """Its file (absolute, symbolic links followed), where the entry point is one; the folder or
    zip file, where Python was given one of these."""
    launcher: str | None = None
    """The installed program that runs it, where one does: ``uvicorn``, a key of `LAUNCHERS`."""


def program_of(
    command_line: Sequence[str],
    *,
    environ: Mapping[str, str],
    cwd: Path | None,
    main_file: Path | None = None,
) -> Program:
    """The program that a command line starts. None of its code is imported. Never raises.

    Args:
        command_line: with the interpreter or without: ``["python", "-m", "pkg"]``, ``["s.py"]``.
        environ: the environment variables: some launchers take the application from there.
        cwd: the folder that relative paths start from; None if it is gone.
        main_file: the absolute path of the running script, which still counts when the program
            has moved to another working directory.

    >>> program_of(["uvicorn", "--port", "80", "app:create"], environ={}, cwd=None).name
    'app:create'
    """
    target = target_of(command_line)
    if target.command in LAUNCHERS:
        return _launched(target, environ, cwd)
    if target.module:
        return _module(target.module, cwd)
    if target.script:
        return _script(target.script, cwd, main_file)
    return Program(directory=cwd)


# --- Python's command line -------------------------------------------------------------------
# https://docs.python.org/3/using/cmdline.html

_INTERPRETER: Final = re.compile(r"(python|pypy)[0-9.]*[wtd]?", re.IGNORECASE)
# Short options may stand together (-Im pkg) and with their value (-Wignore).
_OPTION_WITH_VALUE: Final = re.compile(r"-[^-cmWX]*(?P<letter>[cmWX])(?P<value>.*)", re.DOTALL)
_LONG_OPTION_WITH_VALUE: Final = "--check-hash-based-pycs"


class Target(NamedTuple):
    """What the interpreter runs; at a prompt, nothing."""

    module: str | None = None
    script: str | None = None
    code: str | None = None
    arguments: Sequence[str] = ()

    @property
    def command(self) -> str:
        """Its name in `LAUNCHERS` and `WRAPPERS`."""
        return self.module or command_name(self.script or "")


def target_of(command_line: Sequence[str]) -> Target:
    target = _python_target(command_line[1:] if has_interpreter(command_line) else command_line)
    while wrapper := WRAPPERS.get(target.command):
        target = _python_target(wrapped_command(wrapper, target.arguments))
    return target


def has_interpreter(command_line: Sequence[str]) -> bool:
    return bool(command_line) and bool(_INTERPRETER.fullmatch(command_name(command_line[0])))


def _python_target(arguments: Sequence[str]) -> Target:
    remaining = list(arguments)
    while remaining:
        word = remaining.pop(0)
        if word == "-":
            break
        if not word.startswith("-"):
            return Target(script=word, arguments=remaining)
        if word == _LONG_OPTION_WITH_VALUE:
            del remaining[:1]
        if not (option := _OPTION_WITH_VALUE.fullmatch(word)):
            continue
        value = option["value"] or (remaining.pop(0) if remaining else "")
        if option["letter"] == "m":
            return Target(module=value.removesuffix(".__main__"), arguments=remaining)
        if option["letter"] == "c":
            return Target(code=value)
    return Target()


# --- The kinds of programs -------------------------------------------------------------------


def _launched(target: Target, environ: Mapping[str, str], cwd: Path | None) -> Program:
    """``uvicorn app.main:app``"""
    launcher = LAUNCHERS[target.command]
    launch = launch_of(launcher, target.arguments, environ, cwd)
    folder = _folder_of_launch(launch.directory, cwd)
    if launcher.own_name:
        return Program(target.command, folder, launcher=target.command)
    path, attribute = _path_and_attribute(launch.app or "")
    if _MODULE.fullmatch(path) and not path.endswith(".py"):
        return Program(
            path + attribute,
            _folder_of_launched_module(path, folder),
            package=_top_level(path),
            launcher=target.command,
        )
    for typed in (path, f"{path}.py"):
        script = real_path(typed, folder)
        if script and is_file(script):
            return Program(typed, script.parent, script=script, launcher=target.command)
    return Program(directory=folder, launcher=target.command)


def _module(name: str, cwd: Path | None) -> Program:
    """``python -m pkg.job``"""
    return Program(name, _folder_of_module(name, first=cwd) or cwd, package=_top_level(name))


def _script(typed: str, cwd: Path | None, main_file: Path | None) -> Program:
    """``python s.py``, and an installed command"""
    is_running = main_file is not None and main_file.name == Path(typed).name
    script = real_path(main_file if main_file and is_running else typed, cwd)
    if script is None:
        return Program(typed)
    if is_file(script) and script.suffix not in _SUFFIXES_OF_SCRIPTS:
        module = _module_of_command(script)
        folder = _folder_of_module(module) if module else None
        # The checkout around a virtual environment is not the home of what is installed there.
        if folder or _is_beside_interpreter(script):
            return Program(command_name(typed), folder, package=module and _top_level(module))
    return Program(typed, script if is_folder(script) else script.parent, script=script)


# --- What a launcher was given ---------------------------------------------------------------

_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_KIND: Final = re.compile(r"\A(asgi|wsgi|file):(?=[^:]+:)")  # Hypercorn's asgi:module:app
_CALL: Final = re.compile(r"(:[\w.]+)\(.*", re.DOTALL)


def _path_and_attribute(app: str) -> tuple[str, str]:
    """``app:create("secret")`` is ``app`` and ``:create``: arguments may hold secrets."""
    app = _CALL.sub(r"\1", _KIND.sub("", app.strip()))
    path, _, attribute = app.rpartition(":")
    return (path, f":{attribute}") if path and _MODULE.fullmatch(attribute) else (app, "")


def _folder_of_launch(typed: str | None, cwd: Path | None) -> Path | None:
    folder = real_path(typed, cwd) if typed else None
    # The launcher may be there already: then the relative path leads nowhere.
    return folder if folder and is_folder(folder) else cwd


def _folder_of_launched_module(name: str, folder: Path | None) -> Path | None:
    if folder and _folder_in(folder / _top_level(name), name):
        return folder
    return _folder_of_module(name) or folder


# --- Where a module lies ---------------------------------------------------------------------


def _top_level(module: str) -> str:
    return module.partition(".")[0]


def _folder_of_module(name: str, first: Path | None = None) -> Path | None:
    """The folder of a module or package, looked for in `first` and then where Python does."""
    top_level = _top_level(name)
    if first and (folder := _folder_in(first / top_level, name)):
        return folder
    folders = (_folder_in(place, name) for place in _places_of(top_level))
    return next((folder for folder in folders if folder), None)


def _places_of(top_level: str) -> list[Path]:
    """Where a top-level module or package is: its path without a suffix."""
    import importlib.util  # not loaded in every program, and not needed in most

    try:
        # Of a name without dots, the finders import nothing.
        spec = importlib.util.find_spec(top_level) if top_level.isidentifier() else None
    except Exception:  # finders are anybody's code; a __main__ or stub module has no spec
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(location) for location in spec.submodule_search_locations]
    return [Path(spec.origin).with_suffix("")] if spec.has_location and spec.origin else []


def _folder_in(place: Path, name: str) -> Path | None:
    """The folder of module `name`, if its top-level package is at `place`."""
    path = real_path(place.joinpath(*name.split(".")[1:]), None)
    if path is None or is_folder(path):
        return path
    is_there = any(is_file(path.with_name(path.name + suffix)) for suffix in all_suffixes())
    return path.parent if is_there else None


# --- Installed commands ----------------------------------------------------------------------

_SUFFIXES_OF_SCRIPTS: Final = frozenset({".py", ".pyw", ".pyz", ".zip"})
_COMMAND_LENGTH: Final = 4_096  # bytes; installers write a few hundred
# What pip, uv, Poetry and conda write for an entry point (`console_scripts`).
_COMMAND: Final = re.compile(
    rb"^from (?P<module>[\w.]+) import (?P<function>\w+)\s*$"
    rb".*^[ \t]+sys\.exit\((?P=function)[\w.]*\(\)\)",
    re.MULTILINE | re.DOTALL,
)


def _module_of_command(script: Path) -> str | None:
    """The module that an installed command calls, from its file."""
    try:
        with script.open("rb") as file:
            command = _COMMAND.search(file.read(_COMMAND_LENGTH))
    except OSError:
        return None
    return command["module"].decode() if command else None


def _is_beside_interpreter(script: Path) -> bool:
    return any(is_file(script.parent / name) for name in ("python3", "python.exe"))
