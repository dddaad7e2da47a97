"""What the commands that ask questions of the traces have in common: options and output."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from otel_mlflow_context.cli.console import print_error, seconds

WIDTH: Final = 120
"""Of a table that is not for a terminal: a pipe has no width, and what reads it may search the
lines."""


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose traces."""
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


def add_output(parser: argparse.ArgumentParser, forms: tuple[str, ...], about: str) -> None:
    """Add the options on the result; the first form is the default."""
    parser.add_argument("--format", choices=forms, default=forms[0], help=about)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write it (default: stdout)"
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add the limit of time."""
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


def write(text: str, output: Path | None) -> None:
    """Write a result to a file, or to stdout."""
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
