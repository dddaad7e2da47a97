"""How much does otel-mlflow-context cost, and how much do others?

Prints tables of medians and ratios; goals stand beside the figures, nothing is asserted: times
differ from machine to machine, ratios much less. What is compared is measured in turns within one
run, so that a busy machine is unfair to nobody. Comparisons with what is not installed are left
out. The checkout that this file is part of is what is measured.

sections:
  spans      a span's cost: ours, no processor, an empty one, OpenTelemetry's BaggageSpanProcessor
             and a single call of set_attributes, with 0, 3 and 20 baggage entries (about 20 s)
  detection  finding out which code runs: ours, GitPython and MLflow's own way (about 45 s)
  imports    import time, and which heavy modules it loads (about 10 s)
  propagation  headers and baggage in and out, beside the W3C propagator, and a late update
             (about 15 s)
  export     traces a second into a real MLflow server: ours, the plain OTLP exporter and MLflow's
             own SDK (about 2 min)
  server     traces a second that a server stores: without the plugin, with it, and with
             LoggedModels of versions (about 4 min)
  health     health checks while a server with the plugin stores the largest requests (about 7 min)
  compare    comparing two versions of 100,000 traces, beside a loop over them (about 6 min)
  explain    how often a planted cause is explained first, in simulated versions (about 5 min)
  history    how often a change is marked in simulated histories, and found (about 8 min)

examples:
  python benchmarks/run.py                    all of it
  python benchmarks/run.py --quick            a first impression, in a few seconds
  python benchmarks/run.py spans > spans.txt  one section; progress is on stderr
"""

import argparse
import os
import platform
import sys
from importlib import import_module, metadata
from pathlib import Path

# The checkout, wherever this is run from and whatever else is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _tables import progress_done

# A module each, imported when its turn comes: the last ones load MLflow into this process.
SECTIONS = (
    "spans",
    "propagation",
    "detection",
    "imports",
    "export",
    "server",
    "health",
    "compare",
    "explain",
    "history",
)
_DISTRIBUTIONS = (
    "opentelemetry-sdk",
    "opentelemetry-processor-baggage",
    "mlflow",
    "GitPython",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="section",
        help=f"what to measure, of {', '.join(SECTIONS)}; all by default",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds: shows that it works, ratios are rough"
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.sections if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    print(_header())
    for name in arguments.sections or SECTIONS:
        tables = import_module(name).run(quick=arguments.quick)
        progress_done()
        print(f"\n\n== {name} ==\n\n{tables}", flush=True)


def _header() -> str:
    python = f"Python {platform.python_version()} ({platform.python_implementation()})"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    versions = ", ".join(f"{name} {_version(name)}" for name in _DISTRIBUTIONS)
    return f"{python}, {machine}\n{versions}"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
