"""The subcommand `compare`: is the new version worse than the old one?"""

from __future__ import annotations

import argparse
import os
import sys
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
    from otel_mlflow_context.compare import Comparison

_DESCRIPTION: Final = """\
Compare the traces of one version with those of another: errors, latency,
tokens, cost, assessments (feedback of users, scores of judges), sessions and
users, with intervals, tests, and a verdict: worse, better, different, or no
evidence either way.

The server, the credentials and the experiment are those of MLflow's variables
(MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, ...). The server computes what it
can (MLflow 3.10 and later), a random sample of traces is read for the rest.
"""
_EPILOG: Final = """\
examples:
  $ otel-mlflow-context compare --baseline 1.0.0 --candidate 1.1.0 --since 7d
  $ otel-mlflow-context compare --by commit --baseline 9f1c3aa... --fail-on worse
  $ otel-mlflow-context compare --by feature_flag_rerank --baseline off \\
        --where "metadata.environment = 'production'" --format html -o report.html
  $ otel-mlflow-context compare --baseline 1.0.0 --candidate 1.1.0 \\
        --metrics errors,quality --better tone=warm --better verbosity=lower
  $ otel-mlflow-context compare --baseline 1.0.0 --candidate 1.1.0 --since 2h \\
        --min-traces 500 --wait 30m --tolerance latency=10%,errors=0.5pp \\
        --format github --fail-on worse

exit status: 0; 1 when --fail-on is met; 2 when the comparison is not possible
(stderr tells why), for wrong usage, or when the extra is not installed:
pip install 'otel-mlflow-context[compare]'; 3 when there are fewer traces than
--min-traces, also after --wait: not enough to tell
"""
_PASSED: Final = (
    *("by", "baseline", "candidate", "where", "since", "experiment", "sample", "timeout"),
    *("explain", "metrics", "better", "tolerance", "min_traces", "wait", "over_time", "log"),
)
"""The options that are arguments of `compare_versions`."""
_FORMATS: Final = ("table", "json", "csv", "html", "markdown", "junit", "github")
_OVER_TIME: Final = ("json", "html")
"""The formats that have the traces over time, for which the source computes them once more."""
_WIDTH: Final = 120


def add_to(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "compare",
        help="test whether the traces of a new version are worse than the old one's",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--baseline", required=True, metavar="VALUE", help="the value of the baseline"
    )
    parser.add_argument(
        "--candidate",
        action="append",
        metavar="VALUE",
        help="the value of a candidate; may be repeated (default: every other value of the traces)",
    )
    add_selection(parser)
    parser.add_argument(
        "--sample",
        type=count,
        metavar="TRACES",
        help="how many traces of each group are read at most (default: 2000, or 20000 where the "
        "server computes nothing)",
    )
    add_metrics(parser)
    parser.add_argument(
        "--tolerance",
        type=_amounts,
        metavar="NAME=AMOUNT,...",
        help="how much worse a metric may be, and only what is beyond that is worse: "
        "latency=10%%,errors=0.5pp, or latency=50ms, score=0.2 (default: not at all)",
    )
    parser.add_argument(
        "--min-traces",
        type=count,
        metavar="TRACES",
        help="how many traces of each version are enough to tell; with fewer the exit status is 3",
    )
    parser.add_argument(
        "--wait",
        metavar="TIME",
        help="how long to wait for as many: 90s, 30m, 2h (default: not at all)",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="where the difference comes from: spans, errors, models, regions, ...",
    )
    add_output(
        parser,
        _FORMATS,
        "of the result: junit for a pipeline's test report, markdown for a comment, github "
        "for annotations and the summary page of GitHub Actions (default: table)",
        worse="a candidate is worse",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    options.over_time = options.format in _OVER_TIME
    return answer(
        options, "compare_versions", _PASSED, failed="the comparison failed", write=_write
    )


def _write(found: Comparison, options: argparse.Namespace) -> None:
    from otel_mlflow_context.compare.report import github, text

    form = options.format
    if form == "github":
        # The runner reads the annotations from stdout; the page is a file.
        sys.stdout.write(f"{github.commands(found)}\n")
        sys.stdout.flush()
        form = "markdown"
        if options.output is None:
            if summary := os.environ.get(github.SUMMARY):
                with Path(summary).open("a", encoding="utf-8") as page:
                    page.write(f"{found.as_markdown()}\n")
            return
    write_answer(found, form, options.output, text.write, width=_WIDTH)


def _amounts(text: str) -> dict[str, str]:
    amounts = {}
    for it in text.split(","):
        name, _, amount = it.rpartition("=")
        if not name.strip() or not amount.strip():
            raise argparse.ArgumentTypeError(
                f"must be NAME=AMOUNT, several separated by commas, got {text!r}"
            )
        amounts[name.strip()] = amount.strip()
    return amounts
