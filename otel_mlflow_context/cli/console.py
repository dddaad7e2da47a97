"""What the subcommands of `otel-mlflow-context` have in common."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

PROGRAM: Final = "otel-mlflow-context"
USAGE_ERROR: Final = 2
"""The exit status of wrong usage, and of an extra that is not installed: argparse's."""
_MAX_TIMEOUT: Final = 3600


def print_error(problem: object) -> None:
    """Write one line to stderr, after the name of the program."""
    sys.stderr.write(f"{PROGRAM}: {problem}\n")


def seconds(text: str) -> float:
    """A time limit as an argument: more than 0, at most an hour."""
    value = float(text)
    if not 0 < value <= _MAX_TIMEOUT:
        raise argparse.ArgumentTypeError(
            f"must be more than 0, at most {_MAX_TIMEOUT}, got {text!r}"
        )
    return value


class _OneLine(logging.Formatter):
    """The message without a traceback: it is for users, not for developers."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{PROGRAM}: {record.getMessage()}"


def log_to_stderr() -> None:
    """Show warnings, in one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine())
    # OpenTelemetry logs OTEL_EXPORTER_OTLP_HEADERS, a credential, when it cannot read it.
    handler.addFilter(lambda record: record.name != "opentelemetry.util.re")
    logging.getLogger().addHandler(handler)
