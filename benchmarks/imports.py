"""What does importing the package add to a process that has imported OpenTelemetry's SDK?

Fresh processes that take turns and time themselves. Each also says which of the heavy modules it
has loaded at the end; the package must load none before it needs one.
"""

import importlib.util
import statistics

from _processes import measure
from _tables import table

SDK = "opentelemetry.sdk.trace itself"

_HEAVY = ("mlflow", "git", "requests", "pandas", "rich", "click")

_STATEMENTS = {
    "otel_mlflow_context": ("import otel_mlflow_context", "< 10"),
    "MlflowContextSpanProcessor": (
        "from otel_mlflow_context import MlflowContextSpanProcessor",
        "< 10",
    ),
    "BaggageSpanProcessor": (
        "from opentelemetry.processor.baggage import BaggageSpanProcessor",
        "",
    ),
    "GitPython": ("import git", ""),
}
_NEEDS = {"BaggageSpanProcessor": "opentelemetry.processor.baggage", "GitPython": "git"}

_PROGRAM = """
import json, sys, time
{before}
modules = len(sys.modules)
start = time.perf_counter_ns()
{statement}
ns = time.perf_counter_ns() - start
heavy = [name for name in {heavy!r} if name in sys.modules]
print(json.dumps({{"ns": ns, "modules": len(sys.modules) - modules, "heavy": heavy}}))
"""


def run(*, quick: bool = False) -> str:
    """Measure, and return the table."""
    sdk = "import opentelemetry.sdk.trace"
    programs = {SDK: ("", sdk)} | {
        name: (sdk, statement) for name, (statement, _) in _STATEMENTS.items() if _is_there(name)
    }
    printed = measure(
        {
            name: ["-c", _PROGRAM.format(before=before, statement=statement, heavy=_HEAVY)]
            for name, (before, statement) in programs.items()
        },
        processes=1 if quick else 15,
        warm_up=not quick,
    )
    return table(
        "Import time over an imported SDK, milliseconds",
        ("", "median", "fastest", "modules", "heavy ones loaded", "goal"),
        [
            (name, *_cells(runs), _STATEMENTS.get(name, ("", ""))[1])
            for name, runs in printed.items()
        ],
        "",
        f"Heavy: {', '.join(_HEAVY)}.",
    )


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(_NEEDS.get(name, "otel_mlflow_context")) is not None
    except ModuleNotFoundError:
        return False


def _cells(runs) -> tuple[str, ...]:
    times = [run["ns"] / 1e6 for run in runs]
    heavy = sorted({name for run in runs for name in run["heavy"]})
    return (
        f"{statistics.median(times):.1f}",
        f"{min(times):.1f}",
        str(runs[-1]["modules"]),
        ", ".join(heavy) or "none",
    )
