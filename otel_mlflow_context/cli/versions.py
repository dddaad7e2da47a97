"""The subcommand `versions`: the LoggedModels that traces are linked to."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.cli.questions import add_range, add_result, answer, count, write_answer

if TYPE_CHECKING:
    from otel_mlflow_context.cli.console import Commands
    from otel_mlflow_context.compare.models.listing import LinkedVersions

_DESCRIPTION: Final = """\
List the LoggedModels that the traces of an experiment are linked to, in the
order in which they were first seen: service, version, commit, environments, how
many traces each has, and the times of the first and the last of them (UTC).

Traces are linked where OTEL_MLFLOW_CONTEXT_VERSIONS=true is set, and stored ones
by `otel-mlflow-context backfill --versions`. The server, the credentials and the
experiment are those of MLflow's variables (MLFLOW_TRACKING_URI,
MLFLOW_EXPERIMENT_NAME, ...).
"""
_EPILOG: Final = """\
examples:
  $ otel-mlflow-context versions --experiment qa
  $ otel-mlflow-context versions --where "metadata.environment = 'production'" \\
        --since 30d --format json

exit status: 0; 2 when no trace is linked (stderr tells what to do), for wrong
usage, or when the extra is not installed:
pip install 'otel-mlflow-context[compare]'
"""
_PASSED: Final = ("where", "since", "experiment", "versions", "timeout")
"""The options that are arguments of `linked_versions`."""
_WIDTH: Final = 160


def add_to(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "versions",
        help="list the LoggedModels that traces are linked to",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_range(parser)
    parser.add_argument(
        "--versions",
        type=count,
        default=50,
        metavar="NUMBER",
        help="how many are looked for, the newest (default: 50)",
    )
    add_result(parser, ("table", "json"), "of the result (default: table)")
    parser.set_defaults(fail_on=None)
    return parser


def run(options: argparse.Namespace) -> int:
    return answer(
        options, "linked_versions", _PASSED, failed="the versions are not known", write=_write
    )


def _write(found: LinkedVersions, options: argparse.Namespace) -> None:
    from otel_mlflow_context.compare.models import text

    write_answer(found, options.format, options.output, text.write, width=_WIDTH)
