"""A trace of MLflow's SDK in a Databricks workspace: its unmodified client, and a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from databricks_workspace import DatabricksWorkspace
from mlflow.tracing.export import inference_table
from packaging.version import Version
from programs import ASK, ASK_FOR_ADA, DEPLOYMENT, DUAL, INSTRUMENT, expected

SCHEMA = """
from mlflow.entities.trace_location import UCSchemaLocation
mlflow.set_experiment("/Shared/qa")
mlflow.tracing.set_destination(UCSchemaLocation("main", "traces"))
"""
EXPERIMENT = """
mlflow.set_experiment("/Shared/qa")
"""
LINKED = """
mlflow.set_experiment("/Shared/linked")
"""
READ = """
mlflow.flush_trace_async_logging()
trace = mlflow.get_trace(mlflow.get_last_active_trace_id())
report({
    "id": trace.info.trace_id,
    "metadata": trace.info.trace_metadata,
    "client_request_id": trace.info.client_request_id,
    "root": next(it for it in trace.data.spans if it.parent_id is None).attributes,
    "spans": len(trace.data.spans),
})
"""
LATE = """
from otel_mlflow_context import update_trace_context
mlflow.set_experiment("/Shared/qa")
mlflow.tracing.set_destination(UCSchemaLocation("main", "traces"))

@mlflow.trace
def late():
    update_trace_context(session_id="12345", user_id="ada", metadata={"tenant": "42"})
    mlflow.update_current_trace(client_request_id="r-1")
    return retrieve("q")
late()
"""
# It sets the session of a root that has ended, which this OpenTelemetry refuses.
ENDS_TRACES = pytest.mark.skipif(
    Version(mlflow.__version__).release[:2] == (3, 12),
    reason="MLflow 3.12 loses traces in Unity Catalog that have a session, also without us",
)
IS_LINKED = pytest.mark.skipif(
    Version(mlflow.__version__) < Version("3.11"),
    reason=f"MLflow {mlflow.__version__} knows no experiments that are linked to Unity Catalog",
)
SERVES_UNITY_CATALOG = pytest.mark.skipif(
    not hasattr(inference_table, "maybe_add_trace_to_serving_buffer"),
    reason=f"MLflow {mlflow.__version__} returns no traces of Unity Catalog from an endpoint",
)


def session_and_user(found: Any) -> tuple[str, str]:
    # MLflow sets the session itself at the end of a root in Unity Catalog, and reads it as JSON.
    return str(found["root"]["session.id"]), found["root"]["user.id"]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[DatabricksWorkspace]:
    with DatabricksWorkspace.running() as made:
        made.artifacts = str(tmp_path / "artifacts")
        made.link("/Shared/linked", "main.traces.shop")
        yield made


@pytest.mark.parametrize(
    ("destination", "variables", "location"),
    [
        pytest.param(SCHEMA, {}, "trace:/main.traces/", id="schema", marks=ENDS_TRACES),
        pytest.param(
            EXPERIMENT,
            {"MLFLOW_TRACING_DESTINATION": "main.traces"},
            "trace:/main.traces/",
            id="schema of the environment",
            marks=ENDS_TRACES,
        ),
        pytest.param(
            LINKED, {}, "trace:/main.traces.shop/", id="prefix", marks=[IS_LINKED, ENDS_TRACES]
        ),
        pytest.param(EXPERIMENT, {}, "tr-", id="experiment"),
    ],
)
@pytest.mark.parametrize("order", ["destination first", "destination last", "destination changed"])
def test_the_trace_has_every_fact(
    run_with_mlflow: Any,
    workspace: DatabricksWorkspace,
    commit: str,
    destination: str,
    variables: dict[str, str],
    location: str,
    order: str,
) -> None:
    program = {
        "destination first": ASK + destination + INSTRUMENT,
        "destination last": INSTRUMENT + ASK + destination,
        "destination changed": INSTRUMENT + ASK + EXPERIMENT + "ask('before')" + destination,
    }[order]
    found = run_with_mlflow(
        program + ASK_FOR_ADA + READ,
        environment={**workspace.environment, **DEPLOYMENT, **variables},
    )
    assert found["id"].startswith(location)
    assert found["metadata"].items() >= expected(commit).items()
    assert found["client_request_id"] == "r-1"
    assert found["root"]["app_version"] == "1.10"
    assert session_and_user(found) == ("12345", "ada")
    assert found["spans"] == 2


@ENDS_TRACES
def test_what_is_known_late_is_in_the_metadata(
    run_with_mlflow: Any, workspace: DatabricksWorkspace, commit: str
) -> None:
    found = run_with_mlflow(
        INSTRUMENT + ASK + SCHEMA + LATE + READ,
        environment={**workspace.environment, **DEPLOYMENT},
    )
    assert found["metadata"].items() >= expected(commit).items()
    assert session_and_user(found) == ("12345", "ada")


@ENDS_TRACES
def test_with_dual_export_both_ends_have_the_facts(
    run_with_mlflow: Any, workspace: DatabricksWorkspace, commit: str, collector: Any
) -> None:
    found = run_with_mlflow(
        INSTRUMENT + ASK + SCHEMA + ASK_FOR_ADA + READ,
        environment={**workspace.environment, **DEPLOYMENT, **DUAL, **collector.environment},
    )
    assert found["id"].startswith("trace:/main.traces/")
    assert found["metadata"].items() >= expected(commit).items()
    root = collector.roots[-1]
    assert (root["app_version"], root["session.id"], root["user.id"]) == ("1.10", "12345", "ada")
    assert root["mlflow.source.git.commit"] == commit


SERVE = """
from mlflow.pyfunc.context import Context, set_prediction_context
from mlflow.tracing.export.inference_table import pop_trace
from otel_mlflow_context import update_trace_context

def predict(question):
    with trace_context(session_id="12345", user_id="ada", metadata={"tenant": "42"}):
        return ask(question)

@mlflow.trace
def late(question):
    update_trace_context(session_id="12345", user_id="ada", metadata={"tenant": "42"})

def serve(function, request_id):
    with set_prediction_context(Context(request_id=request_id, endpoint_name="qa-endpoint")):
        function("q")
    trace = pop_trace(request_id)
    return {"info": trace["info"], "spans": len(trace["data"]["spans"])}

found = [serve(predict, "request-1"), serve(late, "request-2")]
mlflow.flush_trace_async_logging()
report(found)
"""
SERVING = {"IS_IN_DB_MODEL_SERVING_ENV": "true", "ENABLE_MLFLOW_TRACING": "true"}


@pytest.mark.parametrize("order", [INSTRUMENT + ASK, ASK + INSTRUMENT])
@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="inference table"),
        pytest.param({"MLFLOW_EXPERIMENT_ID": "1"}, id="inference table and experiment"),
        pytest.param(
            {"MLFLOW_TRACING_DESTINATION": "main.traces"}, id="schema", marks=SERVES_UNITY_CATALOG
        ),
    ],
)
def test_a_trace_that_a_serving_endpoint_returns_has_every_fact(
    run_with_mlflow: Any,
    workspace: DatabricksWorkspace,
    commit: str,
    variables: dict[str, str],
    order: str,
) -> None:
    found = run_with_mlflow(
        order + SERVE,
        environment={**workspace.environment, **DEPLOYMENT, **SERVING, **variables},
    )
    for each, spans in zip(found, (2, 1), strict=True):
        metadata = each["info"]["trace_metadata"]
        assert metadata.items() >= expected(commit).items()
        if "MLFLOW_TRACING_DESTINATION" not in variables:
            assert metadata["mlflow.databricks.modelServingEndpointName"] == "qa-endpoint"
        assert each["info"]["client_request_id"] == f"request-{1 + found.index(each)}"
        assert each["spans"] == spans
    if "MLFLOW_EXPERIMENT_ID" in variables:
        assert len(workspace.experiment_infos) == len(found)
        for info in workspace.experiment_infos.values():
            assert info.trace_metadata.items() >= expected(commit).items()
