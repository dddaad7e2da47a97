"""Spans and metadata of plain OpenTelemetry in a Databricks workspace: a stand-in of one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from databricks_workspace import SPANS_PATH, DatabricksWorkspace
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExportResult
from packaging.version import Version
from table import FACTS

from otel_mlflow_context import MlflowSpanExporter, settings, trace_context
from otel_mlflow_context.mlflow_client.http.databricks import TraceLocation

TABLE = "main.traces.mlflow_experiment_trace_otel_spans"
PREFIX_TABLE = "main.traces.shop_otel_spans"
PREFIX = "main.traces.shop"
KNOWS_PREFIXES = pytest.mark.skipif(
    Version(mlflow.__version__) < Version("3.11"),
    reason=f"the messages of MLflow {mlflow.__version__} know no table prefix",
)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DatabricksWorkspace]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with DatabricksWorkspace.running() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def service_principal(workspace: DatabricksWorkspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login of the process, in place of a token."""
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "client-1")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", workspace.clients["client-1"])


def test_spans_are_in_the_table_and_metadata_in_the_trace_info(
    workspace: DatabricksWorkspace, recorded: Any
) -> None:
    with trace_context(request_id="r-1"):
        recorded.trace()
    exporter = MlflowSpanExporter(uc_table=TABLE)
    spans = recorded.take()
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert len(workspace.spans[TABLE]) == len(spans) == 2
    [(key, info)] = workspace.infos.items()
    assert key == ("main.traces", f"{spans[0].context.trace_id:032x}")
    metadata = dict(info.trace_metadata)
    assert metadata["app_version"] == "1.10"
    assert metadata["mlflow.source.git.commit"] == FACTS["vcs.ref.head.revision"]
    assert metadata["mlflow.trace.session"] == "s"
    assert metadata["mlflow.trace.user"] == "ada"
    assert metadata["mlflow.trace_schema.version"] == "4"
    assert info.client_request_id == "r-1"
    assert info.state == info.OK


@KNOWS_PREFIXES
def test_tables_may_have_a_prefix(workspace: DatabricksWorkspace, recorded: Any) -> None:
    recorded.trace()
    exporter = MlflowSpanExporter(uc_table=PREFIX_TABLE)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    assert len(workspace.spans[PREFIX_TABLE]) == 2
    [(key, info)] = workspace.infos.items()
    assert key[0] == PREFIX
    location = info.trace_location.uc_table_prefix
    names = (location.catalog_name, location.schema_name, location.table_prefix)
    assert names == ("main", "traces", "shop")
    assert location.spans_table_name == PREFIX_TABLE


MLFLOW = """
import mlflow
from mlflow.entities.trace_location import UCSchemaLocation

mlflow.set_experiment("/Shared/qa")
mlflow.tracing.set_destination(UCSchemaLocation("main", "traces"))
with mlflow.start_span("ask"):
    pass
mlflow.flush_trace_async_logging()
report(None)
"""


def test_the_requests_are_those_of_mlflows_own_client(
    workspace: DatabricksWorkspace,
    recorded: Any,
    run_with_mlflow: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sent() -> dict[str, Any]:
        """Method, path and body of each request but those for a login, without ids and times."""
        found: dict[str, Any] = {}
        for method, path, headers, body in workspace.requests:
            if path == SPANS_PATH:
                found[path] = (
                    *(method, headers["content-type"], headers["x-databricks-uc-table-name"]),
                    headers["authorization"],
                )
            elif path.endswith("/info"):
                info = json.loads(body)
                assert info["trace_id"] in path
                found[path.replace(info["trace_id"], "<id>")] = (method, info, headers)
        workspace.requests.clear()
        return found

    run_with_mlflow(MLFLOW, environment=workspace.environment)
    theirs = sent()
    monkeypatch.setenv("MLFLOW_TRACING_DESTINATION", "main.traces")
    recorded.trace()
    assert MlflowSpanExporter().export(recorded.take()) is SpanExportResult.SUCCESS
    ours = sent()
    assert (
        ours.keys() == theirs.keys() == {SPANS_PATH, "/api/4.0/mlflow/traces/main.traces/<id>/info"}
    )
    assert ours[SPANS_PATH] == theirs[SPANS_PATH]
    del ours[SPANS_PATH], theirs[SPANS_PATH]
    [(method, info, headers)] = ours.values()
    [(their_method, their_info, their_headers)] = theirs.values()
    assert method == their_method
    for name in ("authorization", "content-type"):
        assert headers[name] == their_headers[name]
    if "x-databricks-org-id" in their_headers:  # not of older versions
        assert headers["x-databricks-org-id"] == their_headers["x-databricks-org-id"]
    # What a trace has of its own, and the logs' table, which only MLflow's own client names.
    for each in (info, their_info):
        for name in ("trace_id", "request_time", "execution_duration", "trace_metadata"):
            assert each.pop(name)
        for name in ("request_preview", "response_preview", "tags"):
            each.pop(name, None)
        each["trace_location"]["uc_schema"].pop("otel_logs_table_name", None)
    assert info == their_info


def test_nothing_is_lost_or_stored_twice_where_one_answer_in_twenty_is_a_fault(
    workspace: DatabricksWorkspace, recorded: Any, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(1)
    faults: list[Any] = [(429, {"Retry-After": "1"}), 503, "drop", 401]
    met: set[str] = set()
    latest: dict[str, Any] = {}

    def fault(path: str) -> Any:
        is_fault = "/.well-known/" not in path and dice.random() < 0.05
        chosen = dice.choice(faults) if is_fault else None
        if chosen == 401 == latest.get(path):  # the token that is asked for then is good
            chosen = None
        latest[path] = chosen
        met.add(str(chosen))
        return chosen

    workspace.fault = fault
    exporter = MlflowSpanExporter(uc_table=TABLE, timeout=60)
    for _ in range(50):  # batches
        for _ in range(20):
            recorded.trace()
        exporter.export(recorded.take())
    workspace.fault = lambda _: None
    assert exporter.force_flush()
    assert met == {"None", *map(str, faults)}
    assert len(workspace.spans[TABLE]) == 2_000
    assert workspace.repeated == []
    assert len(workspace.infos) == 1_000
    assert set(workspace.written.values()) == {1}
    assert {it.trace_metadata["app_version"] for it in workspace.infos.values()} == {"1.10"}
    assert "secret" not in caplog.text


@pytest.mark.usefixtures("service_principal")
def test_a_service_principal_gets_another_token_when_its_own_is_refused(
    workspace: DatabricksWorkspace, recorded: Any
) -> None:
    exporter = MlflowSpanExporter(uc_table=TABLE)
    for token in ("the-first", "the-second"):
        workspace.token = token
        recorded.trace()
        assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    assert len(workspace.infos) == 2


@pytest.mark.usefixtures("service_principal")
def test_calls_that_are_refused_together_ask_for_one_new_token(
    workspace: DatabricksWorkspace, recorded: Any
) -> None:
    workspace.token = "the-first"

    def fault(path: str) -> None:
        if path.endswith("/info"):  # of which eight are sent at once
            workspace.token = "the-second"

    workspace.fault = fault
    for _ in range(20):
        recorded.trace()
    exporter = MlflowSpanExporter(uc_table=TABLE)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    assert len(workspace.infos) == 20
    assert [path for _, path, *_ in workspace.requests].count("/oidc/v1/token") == 2


def test_a_profile_is_used(
    workspace: DatabricksWorkspace,
    recorded: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name)
    (tmp_path / ".databrickscfg").write_text(
        f"[team]\nhost = {workspace.url}\ntoken = {workspace.token}\n"
    )
    recorded.trace()
    exporter = MlflowSpanExporter("databricks://team", uc_table=TABLE)
    assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    assert len(workspace.infos) == 1


@KNOWS_PREFIXES
def test_the_table_is_that_which_the_experiment_is_linked_to(
    workspace: DatabricksWorkspace, recorded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.link("/Shared/shop", PREFIX)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "/Shared/shop")
    recorded.trace()
    assert MlflowSpanExporter().export(recorded.take()) is SpanExportResult.SUCCESS
    recorded.trace()
    by_id = MlflowSpanExporter(experiment_id="2")
    assert by_id.export(recorded.take()) is SpanExportResult.SUCCESS
    assert {location for location, _ in workspace.infos} == {PREFIX}
    assert len(workspace.spans[PREFIX_TABLE]) == 4


def test_a_service_behind_another_sets_the_metadata_where_it_is_the_boundary(
    workspace: DatabricksWorkspace, recorded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = trace.SpanContext(1 << 100, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    for boundary, written in (("root", 0), ("service", 1)):
        monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY", boundary)
        settings.forget()
        with recorded.tracer.start_as_current_span("entry", context=context):
            pass
        exporter = MlflowSpanExporter(uc_table=TABLE)
        assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
        assert len(workspace.infos) == written
    [info] = workspace.infos.values()
    assert info.trace_metadata["app_version"] == "1.10"


def test_a_run_is_among_the_metadata(
    workspace: DatabricksWorkspace, recorded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "run-1")
    recorded.trace()
    MlflowSpanExporter(uc_table=TABLE).export(recorded.take())
    [info] = workspace.infos.values()
    assert info.trace_metadata["mlflow.sourceRun"] == "run-1"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "neither MLFLOW_EXPERIMENT_NAME nor uc_table is set"),
        ({"MLFLOW_EXPERIMENT_NAME": "/Shared/qa"}, "'/Shared/qa' is not linked to tables in Unity"),
        ({"MLFLOW_TRACING_DESTINATION": "12"}, "MLFLOW_TRACING_DESTINATION to <catalog>.<schema>"),
    ],
)
def test_without_a_table_the_log_says_once_what_to_set(
    workspace: DatabricksWorkspace,
    recorded: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variables: dict[str, str],
    message: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    exporter = MlflowSpanExporter()
    for _ in range(2):
        recorded.trace()
        assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    [record] = caplog.records
    assert message in record.getMessage()
    assert record.exc_info is None


def test_a_login_that_is_missing_or_wrong_is_logged_once(
    workspace: DatabricksWorkspace,
    recorded: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for token, message in (("dapi-wrong-secret", "401"), (None, "no login to Databricks: ")):
        monkeypatch.setenv("DATABRICKS_TOKEN", token or "")
        exporter = MlflowSpanExporter(uc_table=TABLE, timeout=1)
        for _ in range(2):
            recorded.trace()
            assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
        [record] = caplog.records
        assert message in record.getMessage()
        assert "secret" not in record.getMessage()
        caplog.clear()


def test_the_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, run_anew: Any
) -> None:
    advice = "pip install 'otel-mlflow-context[databricks]'"
    found = run_anew(
        """
        import sys
        class Missing:
            def find_spec(self, name, *_):
                if name.split(".")[0] == "databricks":
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Missing())
        import logging, io
        log = io.StringIO(); logging.basicConfig(stream=log)
        from otel_mlflow_context import MlflowSpanExporter
        exporter = MlflowSpanExporter(uc_table="a.b.c_otel_spans")  # of the environment: it goes on
        try:
            MlflowSpanExporter("databricks", uc_table="a.b.c_otel_spans")
        except ValueError as error:
            report([log.getvalue(), str(error), "mlflow" in sys.modules])
        """,
        environment={"MLFLOW_TRACKING_URI": "databricks"},
    )
    logged, raised, has_mlflow = found
    assert advice in logged
    assert advice in raised
    assert not has_mlflow


@pytest.mark.parametrize("uc_table", ["", "traces", "main.traces", "main.traces.shop", "a.b.c.d"])
def test_a_wrong_table_is_named(uc_table: str) -> None:
    with pytest.raises(ValueError, match=r"uc_table must be .*<catalog>\.<schema>"):
        MlflowSpanExporter("databricks", uc_table=uc_table)


def test_a_table_without_a_workspace_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="uc_table can be given only with a Databricks workspace"):
        MlflowSpanExporter("http://mlflow.example", uc_table=TABLE)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    MlflowSpanExporter(uc_table=TABLE)
    [record] = caplog.records
    assert "uc_table is not used" in record.getMessage()


def test_locations() -> None:
    schema = TraceLocation.of_table("main.traces.mlflow_experiment_trace_otel_spans")
    assert schema == TraceLocation.of_environment({"MLFLOW_TRACING_DESTINATION": "main.traces"})
    assert (schema.path, schema.as_json["type"]) == ("main.traces", "UC_SCHEMA")
    prefix = TraceLocation.of_table(PREFIX_TABLE)
    assert (prefix.path, prefix.as_json["type"]) == (PREFIX, "UC_TABLE_PREFIX")
