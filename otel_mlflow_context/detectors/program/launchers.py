"""How the launchers of Python applications name the application on their command line.

A launcher is an installed program that runs somebody else's code: a web server, a worker, a test
runner, a kernel. Each is a row of `LAUNCHERS`; a new one is a new row. `WRAPPERS` are the ones
that take a whole Python command line: debuggers, profilers, coverage.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_mlflow_context.detectors._files import is_file, read_text_if_possible, real_path
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
    path: tuple[str, ...] = ()
    """Options whose value is folders to find it in before that, with commas between them."""
    also: tuple[str, ...] = ()
    """Options whose value is a folder to find it in where it is nowhere else."""
    arguments: str | None = None
    """An environment variable with arguments that come before those of the command line."""
    config: tuple[str, ...] = ()
    """Options whose value is a Python file with the setting ``wsgi_app``; the last is its default
    name."""
    flags: frozenset[str] = frozenset()
    """Options without a value. Only needed where a positional argument can follow them."""
    own_name: bool = False
    """It has no single application: it is itself what a person would name."""
    imports: bool = False
    """What it runs is known only to the code that it imports: see `process`."""


@dataclass(frozen=True)
class Launch:
    """The application that a launcher was given."""

    app: str | None
    """The application as typed."""
    directory: str | None
    """The folder to find it in as typed; None is the working directory."""
    before: tuple[str, ...] = ()
    """Folders as typed that come before that one."""
    behind: str | None = None
    """A folder as typed that comes after it."""


def launch_of(
    launcher: Launcher, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path | None
) -> Launch:
    """The application from a launcher's arguments, else from its environment and files."""
    if launcher.arguments:
        with suppress(ValueError):  # a quotation mark without its other half
            arguments = [*shlex.split(environ.get(launcher.arguments, "")), *arguments]
    options, words = _read(arguments, launcher.flags)
    if launcher.commands:
        words = words[1:] if words[:1] and words[0] in launcher.commands else []
    directory = _first(options, launcher.directory)
    app = (
        _first(options, launcher.options)
        or (words[0] if launcher.positional and words else None)
        or (environ.get(launcher.variable) if launcher.variable else None)
        or (_configured(options, launcher.config, cwd) if launcher.config and cwd else None)
        or next((name for name in launcher.files if cwd and is_file(cwd / name)), None)
    )
    path = (_first(options, launcher.path) or "").split(",")
    return Launch(
        app, directory, before=tuple(filter(None, path)), behind=_first(options, launcher.also)
    )


_WSGI_APP: Final = re.compile(r"""^wsgi_app\s*=\s*(["'])(?P<app>[^"']+)\1""", re.MULTILINE)
_MAX_CONFIG: Final = 64 << 10  # bytes


def _configured(options: Mapping[str, str], config: Sequence[str], cwd: Path) -> str | None:
    *names, default = config
    file = real_path((_first(options, names) or default).removeprefix("file:"), cwd)
    found = file and _WSGI_APP.search(read_text_if_possible(file, _MAX_CONFIG))
    return found["app"] if found else None


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
        if not _is_option(word):
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > _SHORT_OPTION:
            options[word[:2]] = word[2:]  # -w4
        elif equals:
            options[name] = value
        elif word not in flags and remaining and not _is_option(remaining[-1]):
            options[word] = remaining.pop()
    return options, words


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"  # which is standard input or output


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
_APPLICATION: Final = Launcher(positional=True)
_WORKERS: Final = Launcher(positional=True, commands=("worker", "scheduler"))
_IMPORTS: Final = Launcher(imports=True)
_OF_CODE: Final = Launcher()
_IPYTHON: Final = Launcher(
    positional=True,
    options=("-m",),
    flags=_flags("--classic --debug --init --nosep --quick --quiet -i")
    | _switches(
        """autoedit-syntax autoindent automagic banner color-info confirm-exit ignore-cwd pdb pprint
        simple-prompt term-title tip"""
    ),
)

LAUNCHERS: Final[Mapping[str, Launcher]] = {
    "uvicorn": Launcher(
        positional=True,
        directory=("--app-dir",),
        flags=_flags("--factory --http2 --reset-contextvars --version")
        | _switches("access-log date-header proxy-headers reload server-header use-colors"),
    ),
    "gunicorn": Launcher(
        positional=True,
        directory=("--chdir",),
        path=("--pythonpath",),
        arguments=env.GUNICORN_CMD_ARGS,
        config=("-c", "--config", "gunicorn.conf.py"),
        flags=_GUNICORN_FLAGS,
    ),
    "hypercorn": Launcher(positional=True, flags=_flags("-D --daemon --debug --reload --version")),
    "granian": Launcher(
        positional=True,
        also=("--working-dir",),
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
    "dramatiq": Launcher(
        positional=True, path=("--path", "-P"), flags=_flags("--skip-logging --use-spawn -v -vv")
    ),
    "huey_consumer": _APPLICATION,
    "huey_consumer.py": _APPLICATION,
    "arq": Launcher(positional=True, flags=_flags("--burst --check -v --verbose")),
    "taskiq": _WORKERS,
    "rq": _IMPORTS,
    "airflow": _IMPORTS,
    "kedro": _IMPORTS,
    "locust": Launcher(options=("-f", "--locustfile"), files=("locustfile.py",)),
    "gradio": _APPLICATION,
    "marimo": Launcher(
        positional=True,
        commands=("run", "edit"),
        flags=_flags("--headless --no-token --watch --sandbox --no-sandbox --include-code"),
    ),
    "dagster": Launcher(options=("-f", "--python-file", "-m", "--module-name")),
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
    "ipython": _IPYTHON,
    "IPython": _IPYTHON,
    "ipykernel_launcher": _KERNEL,
    "ipykernel": _KERNEL,
    "colab_kernel_launcher": _KERNEL,
    # The same by path, as editors and platforms start them.
    "ipykernel_launcher.py": _KERNEL,
    "colab_kernel_launcher.py": _KERNEL,
    "db_ipykernel_launcher.py": _KERNEL,
    "default_worker.py": _IMPORTS,  # Ray's
    "timeit": _OF_CODE,
}
"""By the name of the installed program, and of the module where ``python -m`` starts it."""

NOTEBOOK_KERNELS: Final = frozenset(name for name, row in LAUNCHERS.items() if row is _KERNEL)


@dataclass(frozen=True)
class Wrapper:
    """A program that runs, after its own options, ``-m module``, a script, or a command."""

    commands: tuple[str, ...] = ()
    """Only after this subcommand, of one word or more."""
    flags: frozenset[str] = frozenset()
    """Its own options without a value."""
    module: tuple[str, ...] = ("-m",)
    """The options that make a module of what follows."""
    after: str | None = None
    """The option that what it runs follows."""
    only_modules: bool = False
    """It runs modules, and has no option for them."""


_PROFILER: Final = Wrapper()
_RUNNER: Final = Wrapper(("run",))

WRAPPERS: Final[Mapping[str, Wrapper]] = {
    "pdb": _PROFILER,
    "cProfile": _PROFILER,
    "profile": _PROFILER,
    "pyinstrument": _PROFILER,
    "viztracer": _PROFILER,
    "scalene": _PROFILER,
    "kernprof": _PROFILER,
    "memray": Wrapper(
        ("run",),
        flags=_flags(
            """--live --native -q --quiet -f --force --follow-fork --aggregate --compress-on-exit
            --no-compress --trace-python-allocators"""
        ),
    ),
    "trace": Wrapper(
        module=("--module",),
        flags=_flags(
            """-c --count -t --trace -l --listfuncs -T --trackcalls -r --report -R --no-report -m
            --missing -s --summary -g --timing"""
        ),
    ),
    "runpy": Wrapper(only_modules=True),
    "coverage": Wrapper(
        ("run",),
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
    "pydevd.py": Wrapper(after="--file", module=("--module",)),
    "pydevd": Wrapper(after="--file", module=("--module",)),
    "opentelemetry-instrument": _PROFILER,
    "ddtrace-run": _PROFILER,
    "torchrun": _PROFILER,
    "accelerate": Wrapper(("launch",), flags=_flags("--cpu --multi_gpu --tpu --quiet --debug")),
    "ray": Wrapper(("job", "submit")),
    "uv": _RUNNER,
    "pdm": _RUNNER,
    "hatch": _RUNNER,
    "poetry": _RUNNER,
    "pipenv": _RUNNER,
    "rye": _RUNNER,
}


def wrapped_command(wrapper: Wrapper, arguments: Sequence[str]) -> list[str]:
    """The command line that a wrapper runs: ``["-m", module, ...]``, ``[script, ...]``, a command.

    >>> wrapped_command(WRAPPERS["coverage"], ["run", "--branch", "--source", "x", "-m", "pkg"])
    ['-m', 'pkg']
    """
    words = len(wrapper.commands)
    if tuple(arguments[:words]) != wrapper.commands:
        return []
    remaining = list(arguments[words:])
    if wrapper.after:
        at = remaining.index(wrapper.after) if wrapper.after in remaining else len(remaining)
        own, behind = remaining[:at], remaining[at + 1 :]
        return ["-m", *behind] if not set(wrapper.module).isdisjoint(own) else behind
    while remaining and remaining[0].startswith("-") and remaining[0] not in wrapper.module:
        option = remaining.pop(0)
        if option == "--":
            break
        # A script is no option's value, whatever options a later version has.
        if "=" in option or option in wrapper.flags or not remaining:
            continue
        if not _is_option(remaining[0]) and not remaining[0].endswith(".py"):
            del remaining[0]
    if remaining and (wrapper.only_modules or remaining[0] in wrapper.module):
        return ["-m", *remaining[0 if wrapper.only_modules else 1 :]]
    return remaining
