"""A trace of MLflow's SDK, on each of its paths, with the real MLflow in a process of its own.

P1: MLflow's own provider. P2: one provider with OpenTelemetry. P3: sent by OTLP. P4: both.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pytest
from packaging.version import Version
from programs import ASK, ASK_FOR_ADA, DEPLOYMENT, DUAL, INSTRUMENT, READ, REPORT, UNIFIED, expected

MLFLOW = Version(mlflow.__version__)


def root_attributes(commit: str) -> dict[str, str]:
    facts = expected(commit)
    return facts | {
        "session.id": facts.pop("mlflow.trace.session"),
        "user.id": facts.pop("mlflow.trace.user"),
        "mlflow.client_request_id": "r-1",
        "otel_mlflow_context.metadata_keys": "tenant",
    }


@pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["P1", "P2"])
@pytest.mark.parametrize(
    "program",
    [
        INSTRUMENT + ASK + ASK_FOR_ADA,
        ASK + INSTRUMENT + ASK_FOR_ADA,
        ASK + "ask('before')" + INSTRUMENT + ASK_FOR_ADA,
    ],
    ids=["before-import", "before-first-trace", "after-first-trace"],
)
def test_the_trace_has_every_fact(
    run: Any, run_anew: Any, store: str, commit: str, program: str, mode: dict[str, str]
) -> None:
    run = run_anew if program.startswith(INSTRUMENT) else run
    traces = run(
        program + READ + REPORT,
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT, **mode},
    )
    assert traces[-1]["metadata"].items() >= expected(commit).items()
    assert traces[-1]["client_request_id"] == "r-1"
    # Read back as they were set: "1.10" is not the number 1.1.
    assert traces[-1]["root"].items() >= root_attributes(commit).items()
    assert not any("app_version" in child for child in traces[-1]["children"])


def test_every_fact_is_found_by_search(run: Any, store: str, commit: str) -> None:
    found = run(
        f"""
{INSTRUMENT}{ASK}{ASK_FOR_ADA}
mlflow.flush_trace_async_logging()
report([
    len(mlflow.search_traces(filter_string=f"metadata.`{{key}}` = '{{value}}'", return_type="list"))
    for key, value in {expected(commit)!r}.items()
] + [
    len(mlflow.search_traces(filter_string="client_request_id = 'r-1'", return_type="list"))
])
""",
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT},
    )
    assert found == [1] * (len(expected(commit)) + 1)


@pytest.mark.parametrize("order", ["processor-first", "mlflow-first"])
def test_on_one_provider_the_processor_alone_is_enough(
    run: Any, store: str, commit: str, order: str
) -> None:
    if order == "processor-first" and Version("3.8") > MLFLOW:
        pytest.skip("MLflow before 3.8 adds nothing to a provider that is there already")
    register = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from otel_mlflow_context import MlflowContextSpanProcessor
if not isinstance(trace.get_tracer_provider(), TracerProvider):
    trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(MlflowContextSpanProcessor())
"""
    first = register + ASK if order == "processor-first" else ASK + "ask('before')" + register
    traces = run(
        first + ASK_FOR_ADA + READ + REPORT,
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT, **UNIFIED},
    )
    assert traces[-1]["metadata"].items() >= expected(commit).items()
    assert traces[-1]["client_request_id"] == "r-1"
    assert traces[-1]["root"].items() >= root_attributes(commit).items()


@pytest.mark.parametrize("when", ["before-first-trace", "after-first-trace"])
def test_what_is_sent_by_otlp_carries_the_facts_as_plain_text(
    run: Any, commit: str, collector: Any, when: str
) -> None:
    before = "ask('before')" if when == "after-first-trace" else ""
    run(
        ASK + before + INSTRUMENT + ASK_FOR_ADA + "report(None)",
        environment={**DEPLOYMENT, **collector.environment},
    )
    root = collector.roots[-1]
    assert root.items() >= root_attributes(commit).items()


def test_with_dual_export_both_ends_have_the_facts(
    run: Any, store: str, commit: str, collector: Any
) -> None:
    traces = run(
        INSTRUMENT + ASK + ASK_FOR_ADA + READ + REPORT,
        environment={
            "MLFLOW_TRACKING_URI": store,
            **DEPLOYMENT,
            **DUAL,
            **collector.environment,
        },
    )
    assert traces[-1]["metadata"].items() >= expected(commit).items()
    assert traces[-1]["client_request_id"] == "r-1"
    assert traces[-1]["root"].items() >= root_attributes(commit).items()
    assert collector.roots[-1].items() >= root_attributes(commit).items()
