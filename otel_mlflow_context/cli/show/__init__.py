"""The subcommand `show`: the facts that traces of a program would carry, and their sources."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.cli.console import log_to_stderr, print_error

if TYPE_CHECKING:
    from otel_mlflow_context.cli.console import Commands

_DESCRIPTION: Final = """\
Show every fact that traces of a program would carry, with its value and its
source; other values for it that do not count; and for each fact that is not
known the first thing to try. The program is not started.

Give the command that starts it, as you would type it, from the folder and with
the environment that it is started in. Without a command, any program in the
working directory is described.
"""
_EPILOG: Final = """\
examples:
  $ otel-mlflow-context show
  $ otel-mlflow-context show -- uvicorn app.main:app --port 8000
  $ APP_VERSION=1.2.0 otel-mlflow-context show --json -- python -m shop.job

exit status: 0; 2 for wrong usage.
"""


def add_to(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "show",
        usage="%(prog)s [-h] [--json] [-- COMMAND ...]",
        help="show the facts that traces of a program would carry, and their sources",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON, for machines")
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command that starts it"
    )
    return parser


def run(options: argparse.Namespace) -> int:
    from otel_mlflow_context.cli.show.description import describe

    log_to_stderr()
    command = options.program[1:] if options.program[:1] == ["--"] else options.program
    description = describe(command)
    for problem in description.problems:
        print_error(problem)
    as_json = options.json
    text = json.dumps(description.as_dict(), indent=2) if as_json else description.as_text()
    sys.stdout.write(f"{text}\n")
    return 0
