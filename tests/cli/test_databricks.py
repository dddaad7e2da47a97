"""The commands with a Databricks workspace: a stand-in of one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import mlflow
import pytest
from command_line import run_command
from databricks_workspace import DatabricksWorkspace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from packaging.version import Version

from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter

LOCATIONS = {
    "schema": {"MLFLOW_TRACING_DESTINATION": "main.traces", "MLFLOW_EXPERIMENT_NAME": "/Shared/qa"}
}
if Version(mlflow.__version__) >= Version("3.11"):  # which knows linked experiments
    LOCATIONS["prefix"] = {"MLFLOW_EXPERIMENT_NAME": "/Shared/shop"}
COUNT = 60
"""Traces of each version."""


@pytest.fixture
def workspace() -> Iterator[DatabricksWorkspace]:
    with DatabricksWorkspace.running() as made:
        made.link("/Shared/shop", "main.traces.shop")
        yield made


def command(
    workspace: DatabricksWorkspace, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    ran = run_command(*arguments, **(workspace.environment | variables))
    assert workspace.token not in ran.stdout + ran.stderr
    return ran


def write(version: str, failed: int) -> None:
    """Write traces of a version, some with an error."""
    ended = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(MlflowContextSpanProcessor(Resource({"service.version": version})))
    provider.add_span_processor(SimpleSpanProcessor(ended))
    tracer = provider.get_tracer("test")
    for number in range(COUNT):
        with tracer.start_as_current_span("answer") as root:
            with tracer.start_as_current_span("generate") as child:
                if number < failed:
                    child.record_exception(TimeoutError("no answer"))
                    child.set_status(StatusCode.ERROR)
            if number < failed:
                root.set_status(StatusCode.ERROR)
    exporter = MlflowSpanExporter()
    assert exporter.export(ended.get_finished_spans()) is SpanExportResult.SUCCESS
    exporter.shutdown()


@pytest.fixture(params=LOCATIONS)
def variables(
    request: pytest.FixtureRequest, workspace: DatabricksWorkspace, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Those of the process, with each kind of location."""
    for name, value in (workspace.environment | LOCATIONS[request.param]).items():
        monkeypatch.setenv(name, value)
    return LOCATIONS[request.param]


def test_two_versions_are_compared_and_explained(
    workspace: DatabricksWorkspace, variables: dict[str, str]
) -> None:
    write("1.0.0", failed=1)
    write("1.1.0", failed=30)
    ran = command(
        *(workspace, "compare", "--baseline", "1.0.0", "--candidate", "1.1.0"),
        *("--explain", "--format", "json"),
        **variables,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [it["traces"] for it in found["groups"]] == [COUNT, COUNT]
    assert [it["errors"] for it in found["groups"]] == [1, 30]
    assert "TimeoutError" in ran.stdout


def test_the_versions_have_a_history(
    workspace: DatabricksWorkspace, variables: dict[str, str]
) -> None:
    for number, failed in enumerate((1, 1, 30)):
        write(f"1.{number}.0", failed=failed)
    ran = command(workspace, "history", "--by", "version", "--format", "json", **variables)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [it["traces"] for it in found["versions"]] == [COUNT] * 3


def test_verify_finds_every_fact_in_the_trace_info(
    workspace: DatabricksWorkspace, variables: dict[str, str]
) -> None:
    ran = command(workspace, "verify", "--json", **variables, APP_VERSION="1.10", REGION="eu")
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["ok"], found["problem"]) == (0, True, None), ran.stderr
    assert found["server"] == "databricks"
    assert found["trace_id"].startswith("trace:/main.traces")
    arrived = {it["key"]: it["arrived"] for it in found["facts"]}
    assert (arrived["app_version"], arrived["region"]) == ("1.10", "eu")
    [info] = workspace.infos.values()
    assert info.trace_metadata["app_version"] == "1.10"


def test_a_sql_warehouse_is_named_where_one_is_needed(
    workspace: DatabricksWorkspace, variables: dict[str, str]
) -> None:
    workspace.warehouse = "w-1"
    ran = command(workspace, "verify", **variables)
    assert ran.returncode == 1
    assert "set MLFLOW_TRACING_SQL_WAREHOUSE_ID" in ran.stderr
    ran = command(workspace, "verify", **variables, MLFLOW_TRACING_SQL_WAREHOUSE_ID="w-1")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"DATABRICKS_TOKEN": ""}, "set DATABRICKS_HOST and DATABRICKS_TOKEN"),
        (
            {"DATABRICKS_TOKEN": "dapi-wrong", "MLFLOW_TRACING_DESTINATION": "main.traces"},
            "does not accept the credentials",
        ),
        ({}, "neither MLFLOW_EXPERIMENT_NAME nor uc_table is set"),
        ({"MLFLOW_EXPERIMENT_NAME": "/Shared/qa"}, "is not linked to tables in Unity Catalog"),
    ],
)
def test_verify_says_what_is_missing(
    workspace: DatabricksWorkspace, variables: dict[str, str], advice: str
) -> None:
    ran = command(workspace, "verify", "--timeout", "5", **variables)
    assert ran.returncode == 1
    assert advice in ran.stderr
    assert "dapi-" not in ran.stdout + ran.stderr


def test_backfill_says_that_a_workspace_cannot_take_it(workspace: DatabricksWorkspace) -> None:
    ran = command(workspace, "backfill")
    assert ran.returncode == 2
    assert "a Databricks workspace takes metadata with a new trace only" in ran.stderr
    assert workspace.requests == []
