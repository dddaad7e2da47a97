"""The subcommand `history`: the versions one after another, and since which one it is worse."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.cli.questions import (
    add_metrics,
    add_output,
    add_selection,
    answer,
    count,
    write_answer,
)

if TYPE_CHECKING:
    from otel_mlflow_context.cli.console import Commands
    from otel_mlflow_context.compare import History

_DESCRIPTION: Final = """\
List the versions that the traces have, in the order in which they were first
seen, each with its traces, errors, latency, cost and assessments and their
intervals, and mark the versions with which something changed: worse, better or
different. --by commit lists commits, in the order of the repository where this
is a checkout of it; --bisect names the last good commit, the first bad one, and
the commits between that never ran.

The server, the credentials and the experiment are those of MLflow's variables
(MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, ...). The server computes what it
can (MLflow 3.10 and later), a random sample of traces is read for the rest.

Of each metric the largest difference at any place is tested, by permutations,
and corrected for the number of metrics: among equal versions any change is
marked in less than 5 % of histories, however many versions there are.
"""
_EPILOG: Final = """\
examples:
  $ otel-mlflow-context history --since 30d
  $ otel-mlflow-context history --by commit --since 30d --bisect
  $ otel-mlflow-context history --where "metadata.environment = 'production'" \\
        --metrics errors,latency --format html -o history.html
  $ otel-mlflow-context history --by commit --repository ~/src/app --since 7d \\
        --bisect --fail-on worse

exit status: 0; 1 when --fail-on is met: the last change of a metric is for the
worse, and has not been mended since; 2 when there is no history (stderr tells
why), for wrong usage, or when the extra is not installed:
pip install 'otel-mlflow-context[compare]'
"""
_PASSED: Final = (
    *("by", "where", "since", "experiment", "versions", "sample", "timeout"),
    *("metrics", "better", "bisect", "repository", "log"),
)
"""The options that are arguments of `version_history`."""
_FORMATS: Final = ("table", "json", "csv", "html")
_WIDTH: Final = 140


def add_to(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "history",
        help="list the versions, and mark those with which it became worse or better",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    parser.add_argument(
        "--versions",
        type=count,
        default=50,
        metavar="NUMBER",
        help="how many are looked at, the newest (default: 50)",
    )
    parser.add_argument(
        "--sample",
        type=count,
        default=500,
        metavar="TRACES",
        help="how many traces of each version are read at most (default: 500)",
    )
    add_metrics(parser)
    parser.add_argument(
        "--bisect",
        action="store_true",
        help="for each change the commits between which it happened, their subjects, and the link "
        "to their comparison",
    )
    parser.add_argument(
        "--repository",
        type=Path,
        metavar="FOLDER",
        help="the checkout of the repository (default: the working directory, where it is one)",
    )
    add_output(
        parser,
        _FORMATS,
        "of the result (default: table)",
        worse="the last change of a metric is for the worse",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    return answer(options, "version_history", _PASSED, failed="there is no history", write=_write)


def _write(found: History, options: argparse.Namespace) -> None:
    from otel_mlflow_context.compare.history import text

    write_answer(found, options.format, options.output, text.write, width=_WIDTH)
