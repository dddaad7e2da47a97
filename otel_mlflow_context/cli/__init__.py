"""The command `otel-mlflow-context`: one module a subcommand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from otel_mlflow_context.cli import backfill, compare, history, show, stamp, verify, versions
from otel_mlflow_context.cli.console import PROGRAM

_COMMANDS: Final = (show, stamp, verify, compare, history, versions, backfill)
"""Each has `add_to`, which adds its arguments, and `run`, which imports what it needs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result goes to stdout, problems and progress go to stderr.

    Args:
        arguments: the command line without the program; by default this process's.

    Returns:
        the exit status. Wrong usage ends the process with status 2 (argparse).
    """
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM, description="Code version, deployment, user and session for every MLflow trace."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for command in _COMMANDS:
        command.add_to(commands).set_defaults(run=command.run)
    return parser
