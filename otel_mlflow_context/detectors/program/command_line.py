"""The program that a command line starts: the application, not its launcher."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors._files import (
    is_file,
    is_folder,
    is_installed,
    is_standard,
    real_path,
)
from otel_mlflow_context.detectors.program.launchers import (
    LAUNCHERS,
    WRAPPERS,
    command_name,
    launch_of,
    wrapped_command,
)
from otel_mlflow_context.detectors.repository.discovery import find_repository
from otel_mlflow_context.detectors.repository.files import Repository


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
    file: Path | None = field(default=None, compare=False)
    """The file that Python runs or imports first (absolute): its script or that of its module."""
    is_launcher: bool = field(default=False, compare=False)
    """It is installed, and may run code of somebody else, which its command line does not name."""

    @property
    def code(self) -> Path | None:
        """The file, or else the folder, that a repository must track to be the program's."""
        return self.file or self.directory

    @cached_property
    def repository(self) -> Repository | None:
        """The repository that its code belongs to.

        Raises:
            RepositoryError, OSError: it is there, but cannot be read.
        """
        return find_repository(self.code) if self.code else None


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
    target = target_of(command_line, environ)
    if target.command in LAUNCHERS:
        return _launched(target, environ, cwd)
    program = Program(directory=cwd)
    if target.module:
        program = _module(target, environ, cwd)
    elif target.script:
        program = _script(target.script, cwd, main_file)
    if program.is_launcher and (named := _named_in(target.arguments, environ, cwd)):
        return named
    return program


# --- Python's command line -------------------------------------------------------------------
# https://docs.python.org/3/using/cmdline.html

_NOTHING: Final[Mapping[str, str]] = {}
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
    is_safe: bool = False
    """The working directory is not searched for modules: ``-P``, ``-I``."""

    @property
    def command(self) -> str:
        """Its name in `LAUNCHERS` and `WRAPPERS`."""
        return self.module or command_name(self.script or "")


def target_of(command_line: Sequence[str], environ: Mapping[str, str] = _NOTHING) -> Target:
    target = _target(command_line, environ)
    while wrapper := WRAPPERS.get(target.command):
        target = _target(wrapped_command(wrapper, target.arguments), environ)
    return target


def _target(command_line: Sequence[str], environ: Mapping[str, str]) -> Target:
    if has_interpreter(command_line):
        return _python_target(command_line[1:])
    command, *arguments = command_line or [""]
    # As a shell does, but that a script of the working directory needs no ./ here.
    if command and not command.startswith("-") and Path(command).suffix not in _SUFFIXES_OF_SCRIPTS:
        from shutil import which  # a running program has an interpreter on its command line

        found = which(command, path=environ.get("PATH", ""))
        return Target(script=found or command, arguments=arguments)
    return _python_target(command_line)


def has_interpreter(command_line: Sequence[str]) -> bool:
    return bool(command_line) and bool(_INTERPRETER.fullmatch(command_name(command_line[0])))


def _python_target(arguments: Sequence[str]) -> Target:
    remaining = list(arguments)
    is_safe = False
    while remaining:
        word = remaining.pop(0)
        if word == "-":
            break
        if not word.startswith("-"):
            return Target(script=word, arguments=remaining, is_safe=is_safe)
        if word == _LONG_OPTION_WITH_VALUE:
            del remaining[:1]
        option = _OPTION_WITH_VALUE.fullmatch(word)
        letters = word[1 : option.start("letter")] if option else word[1:]
        is_safe |= not letters.startswith("-") and not {"P", "I"}.isdisjoint(letters)
        if not option:
            continue
        value = option["value"] or (remaining.pop(0) if remaining else "")
        if option["letter"] == "m":
            module = value.removesuffix(".__main__")
            return Target(module=module, arguments=remaining, is_safe=is_safe)
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
        typed = (*launch.before, folder, *([launch.behind] if launch.behind else ()))
        places = [it for place in typed if place and (it := real_path(place, cwd))]
        found = _find_module(path, places, environ)
        is_here = folder and _module_in(folder / _top_level(path), path)
        return Program(
            path + attribute,
            found.folder if found and not is_here else folder,
            package=_top_level(path),
            launcher=target.command,
            file=found and found.file,
        )
    for name in (path, f"{path}.py"):
        script = real_path(name, folder)
        if script and is_file(script):
            return Program(name, script.parent, script=script, launcher=target.command, file=script)
    is_launcher = launcher.imports
    return Program(directory=folder, launcher=target.command, is_launcher=is_launcher)


def _module(target: Target, environ: Mapping[str, str], cwd: Path | None) -> Program:
    """``python -m pkg.job``"""
    name = target.module or ""
    is_safe = target.is_safe or bool(environ.get("PYTHONSAFEPATH"))
    found = _find_module(name, [cwd] if cwd and not is_safe else [], environ)
    if found is None:
        # In a zip file, it is not the working directory's.
        is_elsewhere = bool(_places_of(_top_level(name), _listed(environ)))
        return Program(name, None if is_elsewhere else cwd, package=_top_level(name))
    program = Program(name, found.folder, package=_top_level(name), file=found.file)
    if is_standard(found.folder):
        return Program(directory=cwd, is_launcher=True)
    return replace(program, is_launcher=is_installed(found.folder))


def _script(typed: str, cwd: Path | None, main_file: Path | None) -> Program:
    """``python s.py``, and an installed command"""
    is_running = main_file is not None and main_file.name == Path(typed).name
    script = real_path(main_file if main_file and is_running else typed, cwd)
    if script is None:
        return Program(typed)
    if is_file(script) and script.suffix not in _SUFFIXES_OF_SCRIPTS:
        module = _module_of_command(script)
        found = _find_module(module, [], {}) if module else None
        # The checkout around a virtual environment is not the home of what is installed there.
        if found or is_beside_interpreter(script):
            return Program(
                command_name(typed),
                found and found.folder,
                package=module and _top_level(module),
                file=found and found.file,
                is_launcher=found is None or is_installed(found.folder),
            )
    if is_folder(script):
        main = script / "__main__.py"
        return Program(typed, script, script=script, file=main if is_file(main) else None)
    return Program(typed, script.parent, script=script, file=script)


def _named_in(
    arguments: Sequence[str], environ: Mapping[str, str], cwd: Path | None
) -> Program | None:
    """The file or module that the arguments of an installed program name, if it is a project's.

    What it is that an unknown launcher runs: ``whirl --fast app.py``, ``whirl app.main:app``.
    """
    for word in arguments:
        path, attribute = _path_and_attribute(word)
        script = real_path(path, cwd) if Path(path).suffix == ".py" else None
        if script and is_file(script):
            return Program(path, script.parent, script=script, file=script)
        if not _MODULE.fullmatch(path) or not ("." in path or attribute):
            continue
        found = _find_module(path, [cwd] if cwd else [], environ)
        if found and found.file and not is_standard(found.folder):
            name, package = path + attribute, _top_level(path)
            return Program(name, found.folder, package=package, file=found.file)
    return None


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


# --- Where a module lies ---------------------------------------------------------------------


class _Module(NamedTuple):
    folder: Path
    """The package's own, or the one that the module lies in."""
    file: Path | None
    """None for a package without ``__init__.py``."""


def _top_level(module: str) -> str:
    return module.partition(".")[0]


def _find_module(name: str, first: Sequence[Path], environ: Mapping[str, str]) -> _Module | None:
    """A module or package, looked for in some folders and then where Python does."""
    top_level = _top_level(name)
    folders = (*first, *map(Path, _listed(environ)))
    places = (folder / top_level for folder in folders)
    found = next(filter(None, (_module_in(place, name) for place in places)), None)
    if found is None:
        places_of_python = _places_of(top_level)
        found = next(filter(None, (_module_in(it, name) for it in places_of_python)), None)
    if found is None and "." in name:  # ``app.main``, where main is no module of the package app
        return _find_module(name.rpartition(".")[0], first, environ)
    return found


def _listed(environ: Mapping[str, str]) -> list[str]:
    return [it for it in environ.get("PYTHONPATH", "").split(os.pathsep) if it]


def _places_of(top_level: str, more: Sequence[str] = ()) -> list[Path]:
    """Where a top-level module or package is, in `more` too: its path without a suffix."""
    import importlib.util  # not loaded in every program, and not needed in most
    from importlib.machinery import PathFinder

    if not top_level.isidentifier():
        return []
    try:
        # Of a name without dots, the finders import nothing.
        spec = importlib.util.find_spec(top_level) or PathFinder.find_spec(top_level, more)
    except Exception:  # finders are anybody's code; a __main__ or stub module has no spec
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(location) for location in spec.submodule_search_locations]
    return [Path(spec.origin).with_suffix("")] if spec.has_location and spec.origin else []


def _module_in(place: Path, name: str) -> _Module | None:
    """Module `name`, if its top-level package is at `place`."""
    path = real_path(place.joinpath(*name.split(".")[1:]), None)
    if path is None:
        return None
    if is_folder(path):
        files = (path / f"{main}{suffix}" for main in _MAINS for suffix in all_suffixes())
        return _Module(path, next(filter(is_file, files), None))
    files = (path.with_name(path.name + suffix) for suffix in all_suffixes())
    file = next(filter(is_file, files), None)
    return _Module(path.parent, file) if file else None


_MAINS: Final = ("__main__", "__init__")


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


def is_beside_interpreter(script: Path) -> bool:
    return any(is_file(script.parent / name) for name in ("python3", "python.exe"))
