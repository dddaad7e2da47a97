"""How the launchers of Python applications name the application on their command line.

A launcher is an installed program that runs somebody else's code: a web server, a worker, a test
runner, a kernel. Each is a row of `LAUNCHERS`; a new one is a new row. `WRAPPERS` are the ones
that take a whole Python command line: debuggers, profilers, coverage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors._files import is_file
from otel_mlflow_context.settings import environment_variables as env


@dataclass(frozen=True)
class Launcher:
    """Where a launcher's arguments, environment and working directory name the application."""

    positional: bool = False
    """The application is the first argument that is no option and no option's value."""
    commands: tuple[str, ...] = ()
    """Only after one of these subcommands."""
    options: tuple[str, ...] = ()
    """The application is the value of one of these options."""
    variable: str | None = None
    """Else it is in this environment variable."""
    files: tuple[str, ...] = ()
    """Else it is the first of these files that there is."""
    directory: tuple[str, ...] = ()
    """Options whose value is the folder to find the application in."""
    flags: frozenset[str] = frozenset()
    """Options without a value. Only needed where a positional argument can follow them."""
    own_name: bool = False
    """It has no single application: it is itself what a person would name."""


@dataclass(frozen=True)
class Launch:
    """The application that a launcher was given."""

    app: str | None
    """The application as typed."""
    directory: str | None
    """The folder to find it in as typed; None is the working directory."""


def launch_of(
    launcher: Launcher, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path | None
) -> Launch:
    """The application from a launcher's arguments, else from its environment and files."""
    options, words = _read(arguments, launcher.flags)
    if launcher.commands:
        words = words[1:] if words[:1] and words[0] in launcher.commands else []
    app = (
        _first(options, launcher.options)
        or (words[0] if launcher.positional and words else None)
        or (environ.get(launcher.variable) if launcher.variable else None)
        or next((name for name in launcher.files if cwd and is_file(cwd / name)), None)
    )
    return Launch(app, _first(options, launcher.directory))


def command_name(path: str) -> str:
    """The name that a person types for an installed program: no folder, no suffix of Windows.

    >>> command_name("/env/bin/uvicorn"), command_name(r"C:\\env\\Scripts\\uvicorn.exe")
    ('uvicorn', 'uvicorn')
    """
    return _WINDOWS_SUFFIX.sub("", re.split(r"[\\/]", path)[-1])


_WINDOWS_SUFFIX: Final = re.compile(r"(-script\.pyw?|\.exe)$", re.IGNORECASE)
_SHORT_OPTION: Final = 2  # characters


def _read(arguments: Sequence[str], flags: frozenset[str]) -> tuple[dict[str, str], list[str]]:
    """Options with their values (the last counts), and the words that are neither."""
    options: dict[str, str] = {}
    words: list[str] = []
    remaining = list(reversed(arguments))
    while remaining:
        word = remaining.pop()
        if word == "--":
            return options, [*words, *reversed(remaining)]
        if not word.startswith("-"):
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > _SHORT_OPTION:
            options[word[:2]] = word[2:]  # -w4
        elif equals:
            options[name] = value
        elif word not in flags and remaining and not remaining[-1].startswith("-"):
            options[word] = remaining.pop()
    return options, words


def _first(options: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((options[name] for name in names if options.get(name)), None)


def _flags(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _switches(text: str) -> frozenset[str]:
    """Flags that come in pairs: ``reload`` is ``--reload`` and ``--no-reload``."""
    return frozenset(f"--{no}{name}" for name in text.split() for no in ("", "no-"))


_GUNICORN_FLAGS: Final = _flags(
    """-D -R --capture-output --casefold-http-method --check-config --daemon
    --disable-redirect-access-to-syslog --do-handshake-on-connect --enable-backlog-metric
    --enable-stdio-inheritance --http2 --initgroups --log-syslog --no-control-socket --no-sendfile
    --permit-obsolete-folding --permit-unconventional-http-method
    --permit-unconventional-http-version --preload --print-config --reload --reuse-port --spew
    --strip-header-spaces --suppress-ragged-eofs --version"""
)
_TEST_RUNNER: Final = Launcher(own_name=True)
# Our own commands are about the application in the working directory.
_OWN_COMMAND: Final = Launcher()
_WAITRESS: Final = Launcher(
    positional=True,
    options=("--app",),
    flags=_flags("--call --help")
    | _switches(
        """asyncore-use-poll clear-untrusted-proxy-headers expose-tracebacks ipv4 ipv6
        log-socket-errors log-untrusted-proxy-headers"""
    ),
)
_KERNEL: Final = Launcher()

LAUNCHERS: Final[Mapping[str, Launcher]] = {
    "uvicorn": Launcher(
        positional=True,
        directory=("--app-dir",),
        flags=_flags("--factory --http2 --reset-contextvars --version")
        | _switches("access-log date-header proxy-headers reload server-header use-colors"),
    ),
    "gunicorn": Launcher(positional=True, directory=("--chdir",), flags=_GUNICORN_FLAGS),
    "hypercorn": Launcher(positional=True, flags=_flags("-D --daemon --debug --reload --version")),
    "granian": Launcher(
        positional=True,
        directory=("--working-dir",),
        flags=_flags("--version")
        | _switches(
            """access-log factory http1-keep-alive http1-pipeline-flush http2-adaptive-window log
            metrics reload reload-ignore-worker-failure respawn-failed-workers ssl-client-verify
            ws"""
        ),
    ),
    "daphne": Launcher(positional=True, flags=_flags("--no-server-name --proxy-headers")),
    "waitress-serve": _WAITRESS,
    "waitress": _WAITRESS,
    "uwsgi": Launcher(
        options=("--module", "-w", "--wsgi", "--wsgi-file"), directory=("--chdir", "--chdir2")
    ),
    "flask": Launcher(
        options=("--app", "-A"),
        variable=env.FLASK_APP,
        files=("wsgi.py", "app.py"),
    ),
    "fastapi": Launcher(
        positional=True,
        commands=("run", "dev"),
        options=("--entrypoint", "-e"),
        files=("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py"),
        flags=_switches("reload proxy-headers"),
    ),
    "celery": Launcher(options=("--app", "-A"), variable=env.APP, directory=("--workdir",)),
    "streamlit": Launcher(positional=True, commands=("run",)),
    "chainlit": Launcher(
        positional=True,
        commands=("run",),
        flags=_flags("-w --watch -h --headless -d --debug -c --ci --no-cache"),
    ),
    "django-admin": Launcher(directory=("--pythonpath",)),
    "otel-mlflow-context": _OWN_COMMAND,
    "pytest": _TEST_RUNNER,
    "py.test": _TEST_RUNNER,
    "unittest": _TEST_RUNNER,
    "ipython": Launcher(positional=True),
    "IPython": Launcher(positional=True),
    "ipykernel_launcher": _KERNEL,
    "ipykernel": _KERNEL,
    "colab_kernel_launcher": _KERNEL,
}
"""By the name of the installed program, and of the module where ``python -m`` starts it."""

NOTEBOOK_KERNELS: Final = frozenset(name for name, row in LAUNCHERS.items() if row is _KERNEL)


@dataclass(frozen=True)
class Wrapper:
    """A program that runs, after its own options, ``-m module`` or a script."""

    command: str | None = None
    """Only after this subcommand."""
    flags: frozenset[str] = frozenset()
    """Its own options without a value."""


WRAPPERS: Final[Mapping[str, Wrapper]] = {
    "pdb": Wrapper(),
    "cProfile": Wrapper(),
    "profile": Wrapper(),
    "coverage": Wrapper(
        command="run",
        flags=_flags(
            "-a --append --branch -L --pylib -p --parallel-mode --timid --no-source-warnings"
        ),
    ),
    "debugpy": Wrapper(
        flags=_flags(
            """--wait-for-client --log-to-stderr --disable-sys-remote-exec
            --linux-attach-prefer-lldb"""
        )
    ),
}


def wrapped_command(wrapper: Wrapper, arguments: Sequence[str]) -> list[str]:
    """The Python command line that a wrapper runs: ``["-m", module, ...]`` or ``[script, ...]``.

    >>> wrapped_command(WRAPPERS["coverage"], ["run", "--branch", "--source", "x", "-m", "pkg"])
    ['-m', 'pkg']
    """
    remaining = list(arguments)
    if wrapper.command and remaining[:1] != [wrapper.command]:
        return []
    if wrapper.command:
        del remaining[0]
    while remaining and remaining[0].startswith("-") and remaining[0] != "-m":
        option = remaining.pop(0)
        if "=" not in option and option not in wrapper.flags:
            del remaining[:1]
    return remaining
