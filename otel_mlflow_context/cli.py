"""The command `otel-mlflow-context`: its arguments, and what it prints where."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

_PROGRAM: Final = "otel-mlflow-context"
_USAGE_ERROR: Final = 2
_LONGEST: Final = 3600

_VERIFY: Final = """\
Send one trace the way this environment would, read it back from the MLflow
server, and say fact by fact what arrived.

Where to, who asks and the experiment are taken from MLflow's own variables
(MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, MLFLOW_TRACKING_TOKEN, ...), what
is known of the process from the environment, OTEL_RESOURCE_ATTRIBUTES and the
detectors. The process is this command: its entry point and code are not those
of your application. One trace named "otel-mlflow-context verify" stays on the
server. An experiment that is missing is made, as the exporter does.
"""
_VERIFY_MORE: Final = """\
example:
  $ export MLFLOW_TRACKING_URI=http://localhost:5000 MLFLOW_EXPERIMENT_NAME=qa
  $ export APP_VERSION=1.2.0
  $ otel-mlflow-context verify

exit status: 0 when every fact that is known arrived, 1 when one did not (what
to do next is on stderr), 2 for wrong usage or when the extra is not installed:
pip install 'otel-mlflow-context[otlp]'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result goes to stdout, problems and progress go to stderr.

    Args:
        arguments: the command line without the program; by default this process's.

    Returns:
        the exit status. Wrong usage ends the process with status 2 (argparse).
    """
    options = _parser().parse_args(arguments)
    return _verify(as_json=options.json, timeout=options.timeout)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        _PROGRAM, description="Every MLflow trace says which code, deployment and user made it."
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {version(_PROGRAM)}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    verify = commands.add_parser(
        "verify",
        help="send one trace from this environment and say what arrived",
        description=_VERIFY,
        epilog=_VERIFY_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("--json", action="store_true", help="the result as JSON, for machines")
    verify.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for the server at each step (default: 10)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"must be more than 0, at most {_LONGEST}, got {text!r}")
    return seconds


def _verify(*, as_json: bool, timeout: float) -> int:
    _log_to_stderr()
    try:
        from otel_mlflow_context.verify import verify
    except ImportError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        return _USAGE_ERROR
    except Exception as error:
        # OpenTelemetry reads some of its variables when it is imported, and raises for bad ones.
        problem = f"OpenTelemetry cannot be loaded in this environment: {error!r}"
        if as_json:
            result = {"ok": False, "server": None, "trace_id": None, "problem": problem}
            sys.stdout.write(f"{json.dumps({**result, 'facts': []}, indent=2)}\n")
        sys.stderr.write(f"{_PROGRAM}: {problem}; correct the OTEL_ variables\n")
        return 1
    sys.stderr.write(f"{_PROGRAM}: sending a trace and reading it back ...\n")
    found = verify(timeout=timeout)
    sys.stdout.write(f"{json.dumps(found.as_dict(), indent=2) if as_json else found.as_text()}\n")
    sys.stdout.flush()
    if found.problem:
        sys.stderr.write(f"{_PROGRAM}: {found.problem}\n")
    return 0 if found.ok else 1


class _OneLine(logging.Formatter):
    """The message without a traceback: it is for who runs the command, not for who wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_PROGRAM}: {record.getMessage()}"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine())
    # OpenTelemetry logs OTEL_EXPORTER_OTLP_HEADERS, a credential, when it cannot read it.
    handler.addFilter(lambda record: record.name != "opentelemetry.util.re")
    logging.getLogger().addHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
