"""The subcommand `backfill`: metadata for traces that are stored already."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.cli.console import USAGE_ERROR, log_to_stderr, print_error, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_mlflow_context.cli.console import Commands
    from otel_mlflow_context.mlflow_client.backfill import Change, Progress

_DESCRIPTION: Final = """\
Write the metadata of traces that reached MLflow without it: by a plain OTLP
exporter, or by a Collector. Their facts are read from the attributes of the root
span (which MlflowContextSpanProcessor wrote) and, from MLflow 3.14 on, from the
tags that the resource attributes became (service.version, ...).

With --versions, traces are linked to the LoggedModel of their service, version
and commit too, for MLflow's pages of versions.

What a trace has is left as it is, so that a second run finds nothing to do.
Traces in progress are left alone. The server, the credentials and the
experiment are MLflow's own variables (MLFLOW_TRACKING_URI,
MLFLOW_EXPERIMENT_NAME, MLFLOW_TRACKING_TOKEN, ...).
"""
_EPILOG: Final = """\
examples:
  $ otel-mlflow-context backfill --experiment qa --since 7d --dry-run
  $ otel-mlflow-context backfill --experiment qa --filter "status = 'ERROR'"
  $ otel-mlflow-context backfill --experiment qa --versions

exit status: 0; 1 when some traces could not be written (which and why is on
stderr); 2 when nothing could be read, for wrong usage, or when the extra is not
installed: pip install 'otel-mlflow-context[otlp]'
"""


_BAR: Final = 40
"""Characters of the progress bar."""
_RARE: Final = {"in_progress": "in progress and left alone", "failed": "failed"}


def add_to(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "backfill",
        help="write the metadata of traces that are stored without it",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--experiment", metavar="NAME", help="the experiment (default: of MLflow's variables)"
    )
    parser.add_argument(
        "--filter", default="", metavar="FILTER", help="of MLflow's search: only these traces"
    )
    parser.add_argument(
        "--since", metavar="TIME", help="7d, 12h, 30m, 2w or 2026-11-01 (default: all traces)"
    )
    parser.add_argument(
        "--metadata-keys",
        metavar="KEYS",
        help="more attributes of the root span or the resource to write, comma-separated",
    )
    parser.add_argument(
        "--versions",
        action="store_true",
        help="link traces to the LoggedModel of their version, which is made if need be",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what is missing, and write nothing"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON, for machines")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait for each answer of the server (default: 60)",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    log_to_stderr()
    try:
        from otel_mlflow_context.mlflow_client.backfill import CannotBackfill, backfill
    except ImportError as error:
        print_error(f"{error}: pip install 'otel-mlflow-context[otlp]'")
        return USAGE_ERROR
    counts = dict.fromkeys(("traces", "changed", "in_progress", "failed"), 0)
    try:
        for progress in backfill(
            experiment=options.experiment,
            filter_string=options.filter,
            since=options.since,
            metadata_keys=options.metadata_keys,
            versions=options.versions,
            dry_run=options.dry_run,
            timeout=options.timeout,
        ):
            counts["traces"] = progress.traces
            counts["changed"] += len(progress.changes) - len(progress.failed)
            counts["in_progress"] += progress.unfinished
            counts["failed"] += len(progress.failed)
            if options.dry_run and not options.json:
                _print(progress.changes)
            _show(progress)
    except (CannotBackfill, ValueError) as error:
        print_error(error)
        return USAGE_ERROR
    if options.json:
        text = json.dumps({**counts, "dry_run": options.dry_run}, indent=2)
    else:
        verb = "to change" if options.dry_run else "changed"
        text = f"{counts['traces']} traces, {counts['changed']} {verb}" + "".join(
            f", {counts[key]} {label}" for key, label in _RARE.items() if counts[key]
        )
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return 1 if counts["failed"] else 0


def _print(changes: Iterable[Change]) -> None:
    for change in changes:
        items = [f"{key}={value}" for key, value in change.metadata.items()]
        if change.version:
            items.append(f"version {change.version}")
        sys.stdout.write(f"{change.trace_id}  {', '.join(items)}\n")


def _show(progress: Progress) -> None:
    """How far it is, on a terminal; and what failed."""
    if sys.stderr.isatty():
        done = progress.seen * _BAR // progress.traces
        bar = "#" * done + "." * (_BAR - done)
        end = "\n" if progress.seen == progress.traces or progress.failed else ""
        sys.stderr.write(f"\r[{bar}] {progress.seen} of {progress.traces} traces{end}")
        sys.stderr.flush()
    for problem in progress.failed:
        print_error(problem)
