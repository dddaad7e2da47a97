"""The subcommand `verify`: whether traces of this environment arrive in MLflow."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.cli.console import USAGE_ERROR, log_to_stderr, print_error, seconds

if TYPE_CHECKING:
    from otel_mlflow_context.cli.console import Commands

_DESCRIPTION: Final = """\
Send one trace the way this environment would, read it back from the MLflow
server or the Databricks workspace, and show fact by fact what arrived.

The server, the credentials and the experiment are MLflow's own variables
(MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_TRACKING_TOKEN, ...); the
process facts come from the environment, OTEL_RESOURCE_ATTRIBUTES and the
detectors. The process is this command: its entry point and code are not those
of your application. One trace named "otel-mlflow-context verify" stays on the
server. An experiment that is missing is made, as the exporter does.
"""
_EPILOG: Final = """\
example:
  $ export MLFLOW_TRACKING_URI=http://localhost:5000 MLFLOW_EXPERIMENT_NAME=qa
  $ export APP_VERSION=1.2.0
  $ otel-mlflow-context verify

exit status: 0 when every fact that is known arrived, 1 when one did not (what
to do next is on stderr), 2 for wrong usage or when the extra is not installed:
pip install 'otel-mlflow-context[otlp]'
"""


def add_to(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "verify",
        help="send one trace from this environment and show what arrived",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON, for machines")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for the server at each step (default: 10)",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    log_to_stderr()
    try:
        from otel_mlflow_context.cli.verify.verification import verify
    except ImportError as error:
        print_error(error)
        return USAGE_ERROR
    except Exception as error:
        # OpenTelemetry reads some of its variables when it is imported, and raises for bad ones.
        problem = f"OpenTelemetry cannot be loaded in this environment: {error!r}"
        if options.json:
            result = {"ok": False, "server": None, "trace_id": None, "problem": problem}
            sys.stdout.write(f"{json.dumps({**result, 'facts': []}, indent=2)}\n")
        print_error(f"{problem}; correct the OTEL_ variables")
        return 1
    print_error("sending a trace and reading it back ...")
    found = verify(timeout=options.timeout)
    text = json.dumps(found.as_dict(), indent=2) if options.json else found.as_text()
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if found.problem:
        print_error(found.problem)
    return 0 if found.ok else 1
