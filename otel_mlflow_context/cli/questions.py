"""What the commands that ask questions of the traces have in common: options, errors, output."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_mlflow_context.cli.console import USAGE_ERROR, log_to_stderr, print_error, seconds

if TYPE_CHECKING:
    from rich.console import Console

    from otel_mlflow_context.compare import Comparison, History, LinkedVersions

_Answer = TypeVar("_Answer", "Comparison", "History", "LinkedVersions")
_NOT_ENOUGH: Final = 3
"""The exit status when there are fewer traces than asked for."""


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose traces."""
    parser.add_argument(
        "--by",
        default="app_version",
        metavar="KEY",
        help="the metadata key of the versions, or a fact's name: commit, environment, ... "
        "(default: app_version)",
    )
    add_range(parser)


def add_range(parser: argparse.ArgumentParser) -> None:
    """Add the options on which traces, of which experiment."""
    parser.add_argument(
        "--where", default="", metavar="FILTER", help="a filter of MLflow's search, for all traces"
    )
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="start of the time range: 7d, 12h, 30m, 2w or 2026-11-01 (default: all traces)",
    )
    parser.add_argument(
        "--experiment",
        metavar="NAME",
        help="the experiment (default: the one of MLflow's variables)",
    )


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Add the options on what is tested."""
    parser.add_argument(
        "--metrics",
        type=lambda text: [name.strip() for name in text.split(",")],
        metavar="NAMES",
        help="what is tested, separated by commas: errors, latency, tokens, cost, the name of an "
        "assessment, or quality for all assessments (default: everything)",
    )
    parser.add_argument(
        "--better",
        action=_Pairs,
        metavar="NAME=WHAT",
        help="what is better of an assessment or metric: lower, higher, none (they may only "
        "differ), or the best of an assessment's texts; may be repeated (default: more, of "
        "assessments that are yes or no, true or false, or numbers; less of everything else)",
    )


def add_output(
    parser: argparse.ArgumentParser, forms: tuple[str, ...], about: str, *, worse: str
) -> None:
    """Add the options on the result and its verdict. `worse` is when the command fails."""
    add_result(parser, forms, about)
    parser.add_argument("--fail-on", choices=("worse",), help=f"end with status 1 when {worse}")
    parser.add_argument(
        "--log",
        action="store_true",
        help="write the numbers as metrics of the versions' LoggedModels, by a new run, and the "
        "verdict as their tag otel_mlflow_context.verdict",
    )


def add_result(parser: argparse.ArgumentParser, forms: tuple[str, ...], about: str) -> None:
    """Add the options on the result; the first form is the default."""
    parser.add_argument("--format", choices=forms, default=forms[0], help=about)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write it (default: stdout)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait for each answer of a server (default: 120)",
    )


def count(text: str) -> int:
    """A number as an argument: at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text!r}")
    return value


def answer(
    options: argparse.Namespace,
    function: str,
    arguments: Sequence[str],
    *,
    failed: str,
    write: Callable[[Any, argparse.Namespace], None],
) -> int:
    """Ask a question of the traces, and write the answer.

    Args:
        options: of the command line.
        function: of `otel_mlflow_context.compare`, by its name.
        arguments: the options that are its arguments.
        failed: begins the message when nothing else is known of a failure.
        write: writes the answer, in the form that the options name.

    Returns:
        the exit status.
    """
    log_to_stderr()
    try:
        from otel_mlflow_context import compare
    except ImportError as error:
        print_error(f"{error}: pip install 'otel-mlflow-context[compare]'")
        return USAGE_ERROR
    try:
        with progress() as report:
            found = getattr(compare, function)(
                **{name: getattr(options, name) for name in arguments}, progress=report
            )
        write(found, options)
    except compare.NotEnoughTraces as few:
        print_error(few)
        return _NOT_ENOUGH
    except (compare.CannotCompare, ValueError) as problem:
        print_error(problem)
        return USAGE_ERROR
    except OSError as error:
        print_error(f"{error.filename or 'the result'} cannot be written: {error.strerror}")
        return USAGE_ERROR
    except Exception as error:
        print_error(f"{failed}: {type(error).__name__}: {error}")
        return USAGE_ERROR
    return 1 if options.fail_on and found.verdict is compare.Verdict.WORSE else 0


def write_answer(
    found: _Answer,
    form: str,
    output: Path | None,
    write_table: Callable[[_Answer, Console], None],
    *,
    width: int,
) -> None:
    """Write an answer to a file, or to stdout.

    A table that is not for a terminal has `width`: a pipe has none, and what reads it may search
    the lines.
    """
    if form == "table" and output is None:
        from rich.console import Console

        write_table(found, Console(width=None if sys.stdout.isatty() else width))
        sys.stdout.flush()
        return
    if form == "json":
        text = json.dumps(found.as_dict(), indent=2)
    elif form == "table":
        text = found.as_text(width=width)
    else:
        text = getattr(found, f"as_{form}")().rstrip("\n")
    if output is None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    else:
        output.write_text(f"{text}\n", encoding="utf-8")
        print_error(f"written to {output}")


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on a terminal; elsewhere a line for each group."""
    from otel_mlflow_context.compare.explain.labels import printable

    if not sys.stderr.isatty():
        groups: set[str] = set()

        def line(group: str, _: int, total: int) -> None:
            if group not in groups:
                groups.add(group)
                print_error(f"reading at most {total:,} traces of {printable(group)} ...")

        yield line
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(group: str, done: int, total: int) -> None:
            if group not in tasks:
                tasks[group] = bars.add_task(
                    f"reading traces of {escape(printable(group))}", total=total
                )
            bars.update(tasks[group], completed=done)

        yield bar


class _Pairs(argparse.Action):
    """Collects ``NAME=VALUE`` of an option that may be repeated."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        name, equals, value = values.rpartition("=")
        if not name or not equals or not value:
            parser.error(f"argument {option_string}: must be NAME=VALUE, got {values!r}")
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), name: value})
