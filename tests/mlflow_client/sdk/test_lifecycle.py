"""What MLflow does to its provider in the life of a program, and what undoes us."""

from __future__ import annotations

from typing import Any

import pytest
from programs import ASK, DEPLOYMENT, INSTRUMENT, READ, UNIFIED

CHANGES = {
    "set_destination": """
from mlflow.entities.trace_location import MlflowExperimentLocation
mlflow.tracing.set_destination(MlflowExperimentLocation(experiment_id="0"))
""",
    "disable-enable": "mlflow.tracing.disable(); ask('hidden'); mlflow.tracing.enable()",
    "reset": "mlflow.tracing.reset()",
    "experiment": "mlflow.set_experiment(experiment_id='0')",
}


@pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["own-provider", "one-provider"])
def test_it_survives_what_rebuilds_mlflows_provider(
    run: Any, store: str, mode: dict[str, str]
) -> None:
    steps = "".join(f"{change}\nask({name!r})\n" for name, change in CHANGES.items())
    traces = run(
        f"{INSTRUMENT}{ASK}ask('first')\n{steps}{READ}report(read())",
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT, **mode},
    )
    assert [trace["metadata"].get("app_version") for trace in traces] == ["1.10"] * 5


def test_uninstrument_undoes_it_and_it_can_be_done_again(run: Any, store: str) -> None:
    traces = run(
        f"""{INSTRUMENT}{ASK}
ask("with")
MlflowContextInstrumentor().uninstrument()
ask("without")
mlflow.tracing.reset()
ask("without, in a new provider")
MlflowContextInstrumentor().instrument()
ask("with again")
{READ}
import mlflow.tracing.provider as provider
MlflowContextInstrumentor().uninstrument()
report([read(), hasattr(provider._get_span_processors, "__wrapped__")])
""",
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT},
    )
    traces, wrapped = traces
    versions = [trace["metadata"].get("app_version") for trace in traces]
    assert versions == ["1.10", None, None, "1.10"]
    assert not wrapped


@pytest.mark.parametrize("first", [INSTRUMENT + "import mlflow", "import mlflow" + INSTRUMENT])
def test_mlflows_provider_has_the_processor_once(run_anew: Any, first: str) -> None:
    names = run_anew(
        f"""{first}
import mlflow.tracing.provider as provider
report([type(it).__name__ for it in provider._get_span_processors()])
"""
    )
    assert names.count("MlflowContextSpanProcessor") == 1


def test_instrumenting_before_mlflow_is_imported_does_not_import_it(run_anew: Any) -> None:
    loaded = run_anew(
        f"{INSTRUMENT}import sys\nreport([name for name in sys.modules if name == 'mlflow'])"
    )
    assert loaded == []


def test_many_threads_keep_their_own_sessions(run: Any, store: str) -> None:
    traces = run(
        f"""{INSTRUMENT}{ASK}
from concurrent.futures import ThreadPoolExecutor

def request(n):
    with trace_context(session_id=f"s-{{n}}"):
        ask(f"s-{{n}}")

with ThreadPoolExecutor(8) as pool:
    list(pool.map(request, range(40)))
import json
mlflow.flush_trace_async_logging()
report([
    (json.loads(trace.info.trace_metadata["mlflow.traceInputs"])["question"],
     trace.info.trace_metadata["mlflow.trace.session"])
    for trace in mlflow.search_traces(return_type="list")
])
""",
        environment={"MLFLOW_TRACKING_URI": store},
    )
    assert len(traces) == 40
    assert all(question == session for question, session in traces)


def test_the_program_is_not_disturbed(run: Any, store: str) -> None:
    # Nothing is written to stdout, and nothing is left running that would keep it from ending.
    said = run(
        f"""
import contextlib, io
out = io.StringIO()
with contextlib.redirect_stdout(out):
    {INSTRUMENT.strip().replace(chr(10), "; ")}
    from otel_mlflow_context import trace_context
    import mlflow
    with trace_context(session_id="s"), mlflow.start_span("root"):
        pass
report(out.getvalue())
""",
        environment={"MLFLOW_TRACKING_URI": store},
    )
    assert said == ""
