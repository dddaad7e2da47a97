"""Metadata for traces that a real server has stored without it."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from attacks import KEYS, MLFLOW_KEYS, claiming
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from packaging.version import Version
from table import ATTRIBUTES, FACTS

from otel_mlflow_context import MlflowContextSpanProcessor, trace_context
from otel_mlflow_context.cli.backfill import _BAR

MLFLOW = Version(mlflow.__version__)
SETS_REQUEST_IDS = Version("3.11") <= MLFLOW
COMMIT = "9" * 40


class Plain:
    """A service with a plain OTLP exporter."""

    def __init__(self, server, experiment):
        client = mlflow.MlflowClient(server.uri)
        self.experiment = client.create_experiment(experiment)
        self._exporter = OTLPSpanExporter(
            f"{server.uri}/v1/traces", headers={"x-mlflow-experiment-id": self.experiment}
        )

    def provider(self, resource, processor=None):
        provider = TracerProvider(resource=Resource(resource))
        if processor:
            provider.add_span_processor(processor)
        provider.add_span_processor(BatchSpanProcessor(self._exporter))
        return provider

    def ask(self, resource, processor=None, parent=None, **attributes):
        provider = self.provider(resource, processor)
        tracer = provider.get_tracer("test")
        with tracer.start_as_current_span("ask", context=parent, attributes=attributes):
            tracer.start_span("retrieve").end()
        provider.force_flush()


@pytest.fixture
def plain(server, experiment):
    return Plain(server, experiment)


@pytest.fixture
def backfill(server, experiment):
    def backfill(*arguments, uri=server.uri, name=experiment):
        return subprocess.run(
            [sys.executable, "-m", "otel_mlflow_context.cli", "backfill", *arguments],
            env={
                "PATH": str(Path(sys.executable).parent),
                "MLFLOW_TRACKING_URI": uri,
                "MLFLOW_EXPERIMENT_NAME": name,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return backfill


def counts(ran):
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_facts_of_root_spans_become_metadata_and_nothing_else_changes(
    server, experiment, plain, backfill, traces
):
    with trace_context(session_id="s-1", user_id="ada", request_id="r-1"):
        for _ in range(3):
            plain.ask({"service.name": "qa"}, MlflowContextSpanProcessor(Resource(FACTS)))
    before = traces(server.uri, experiment)

    assert counts(backfill("--json")) == {
        "traces": 3,
        "changed": 3,
        "in_progress": 0,
        "failed": 0,
        "dry_run": False,
    }

    after = traces(server.uri, experiment)
    for then, now in zip(before, after, strict=True):
        metadata = now.info.trace_metadata
        assert metadata.items() >= ATTRIBUTES.items()
        assert metadata["mlflow.trace.user"].strip('"') == "ada"
        assert now.info.client_request_id == ("r-1" if SETS_REQUEST_IDS else None)
        assert metadata.items() >= then.info.trace_metadata.items()
        for name in ("trace_id", "request_time", "execution_duration", "state", "tags"):
            assert getattr(now.info, name) == getattr(then.info, name)
        assert now.info.request_preview == then.info.request_preview
        assert [span.to_dict() for span in now.data.spans] == [
            span.to_dict() for span in then.data.spans
        ]

    found = counts(backfill("--json"))
    assert (found["traces"], found["changed"]) == (3, 0)


def test_traces_are_linked_to_their_versions(server, experiment, plain, backfill, traces):
    for version in ("1", "2", "1"):
        resource = Resource({"service.name": "qa", "service.version": version})
        plain.ask({}, MlflowContextSpanProcessor(resource))
    assert counts(backfill("--json"))["changed"] == 3

    printed = backfill("--versions", "--dry-run").stdout
    assert [line.split("  ")[1:] for line in printed.splitlines()[:-1]] == [
        [f"version qa-{version}"] for version in ("1", "2", "1")
    ]
    assert printed.endswith("3 traces, 3 to change\n")
    assert list(mlflow.MlflowClient(server.uri).search_logged_models([plain.experiment])) == []

    assert counts(backfill("--json", "--versions"))["changed"] == 3
    models = {
        model.model_id: model.name
        for model in mlflow.MlflowClient(server.uri).search_logged_models([plain.experiment])
    }
    assert sorted(models.values()) == ["qa-1", "qa-2"]
    stored = [trace.info.trace_metadata for trace in traces(server.uri, experiment)]
    assert [models[metadata["mlflow.modelId"]] for metadata in stored] == ["qa-1", "qa-2", "qa-1"]
    assert counts(backfill("--json", "--versions"))["changed"] == 0


@pytest.mark.skipif(Version("3.14") > MLFLOW, reason="keeps no resource attributes")
def test_the_facts_of_a_resource_become_metadata(server, experiment, plain, backfill, traces):
    plain.ask(
        {
            "service.name": "qa",
            "service.version": "1.10",
            "vcs.ref.head.revision": COMMIT,
            "deployment.environment.name": "production",
            "tenant": "acme",
        }
    )

    ran = backfill("--metadata-keys", "tenant")

    assert (ran.returncode, ran.stdout) == (0, "1 traces, 1 changed\n")
    [found] = traces(server.uri, experiment, "metadata.app_version = '1.10'")
    assert (
        found.info.trace_metadata.items()
        >= {
            "service_name": "qa",
            "mlflow.source.git.commit": COMMIT,
            "environment": "production",
            "mlflow.source.type": "production",
            "tenant": "acme",
        }.items()
    )


def test_what_a_trace_has_is_left_as_it_is(server, experiment, plain, backfill, traces):
    plain.ask({}, app_version="2", environment="production")
    [trace_] = traces(server.uri, experiment)
    import requests

    requests.patch(
        f"{server.uri}/api/2.0/mlflow/traces/{trace_.info.trace_id}",
        json={
            "request_id": trace_.info.trace_id,
            "timestamp_ms": trace_.info.request_time,
            "status": "OK",
            "request_metadata": [{"key": "app_version", "value": "by hand"}],
            "tags": [],
        },
        timeout=10,
    ).raise_for_status()

    backfill()

    [found] = traces(server.uri, experiment)
    assert found.info.trace_metadata["app_version"] == "by hand"
    assert found.info.trace_metadata["environment"] == "production"


def test_the_commit_of_another_repository_is_not_mixed_in(plain, backfill, server, experiment):
    plain.ask(
        {"vcs.repository.url.full": "https://host/acme/another"},
        **{"mlflow.source.git.commit": COMMIT},
    )

    said = backfill("--dry-run").stdout

    assert f"mlflow.source.git.commit={COMMIT}" in said
    assert "another" not in said


def test_a_dry_run_says_what_is_missing_and_writes_nothing(
    server, experiment, plain, backfill, traces
):
    plain.ask({}, app_version="2")

    ran = backfill("--dry-run")

    [found] = traces(server.uri, experiment)
    assert ran.stdout.splitlines() == [
        f"{found.info.trace_id}  app_version=2",
        "1 traces, 1 to change",
    ]
    assert "app_version" not in found.info.trace_metadata


def test_only_the_traces_that_are_asked_for(server, experiment, plain, backfill):
    plain.ask({}, app_version="1")

    assert counts(backfill("--json", "--filter", "status = 'ERROR'"))["traces"] == 0
    assert counts(backfill("--json", "--since", "2999-01-01"))["traces"] == 0
    assert counts(backfill("--json", "--since", "1h", "--filter", "status = 'OK'"))["traces"] == 1


def test_more_traces_than_a_page_and_a_filter_that_the_change_leaves(
    server, experiment, plain, backfill, traces
):
    provider = plain.provider({})
    tracer = provider.get_tracer("test")
    for number in range(130):
        tracer.start_span("ask", attributes={"app_version": str(number)}).end()
    provider.force_flush()

    found = counts(backfill("--json", "--filter", "metadata.app_version != '5'"))

    # MLflow's "!=" skips what has no such key: before the change that is every trace.
    assert found["traces"] == 0
    assert counts(backfill("--json"))["changed"] == 130
    again = counts(backfill("--json", "--filter", "metadata.app_version != '5'"))
    assert (again["traces"], again["changed"]) == (129, 0)


def test_a_trace_whose_root_is_still_to_come_is_left_alone(server, plain, backfill):
    trace_id = random.getrandbits(128)  # no other test on this server has it
    remote = trace.SpanContext(trace_id, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    plain.ask({}, parent=parent, app_version="1")

    assert counts(backfill("--json")) == {
        "traces": 1,
        "changed": 0,
        "in_progress": 1,
        "failed": 0,
        "dry_run": False,
    }


def test_a_trace_of_mlflow_s_sdk_is_left_alone(server, experiment, plain, backfill):
    program = """
import mlflow
mlflow.set_experiment({experiment!r})
with mlflow.start_span("ask"):
    mlflow.update_current_trace(tags={{"service.version": "the user's own"}})
mlflow.flush_trace_async_logging()
"""
    subprocess.run(
        [sys.executable, "-c", program.format(experiment=experiment)],
        env={"PATH": str(Path(sys.executable).parent), "MLFLOW_TRACKING_URI": server.uri},
        check=True,
        timeout=60,
    )

    found = counts(backfill("--json"))

    assert (found["traces"], found["changed"]) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--experiment", "nowhere"), "nowhere"),
        (("--filter", "app_version ~ 1"), "400"),
        (("--since", "yesterday"), "since must be"),
        (("--metadata-keys", "mlflow.user"), "metadata_keys must not be"),
    ],
)
def test_what_cannot_be_read_is_said_with_status_2(plain, backfill, arguments, says):
    ran = backfill(*arguments)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:///mlflow.db"])
def test_no_server_is_said_with_status_2(backfill, uri):
    start = time.monotonic()
    ran = backfill("--timeout", "1", uri=uri)

    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert time.monotonic() - start < 30


def test_the_progress_bar_is_as_long_as_it_says(monkeypatch, capsys):
    from otel_mlflow_context.cli import backfill as command
    from otel_mlflow_context.mlflow_client.backfill import Progress

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    command._show(Progress(traces=80, seen=40, changes=[], unfinished=0, failed=[]))
    command._show(Progress(traces=80, seen=80, changes=[], unfinished=0, failed=["tr-1: no"]))

    written = capsys.readouterr().err
    half, _, rest = written.removeprefix("\r").partition("\r")
    assert half == f"[{'#' * (_BAR // 2)}{'.' * (_BAR // 2)}] 40 of 80 traces"
    assert rest == f"[{'#' * _BAR}] 80 of 80 traces\notel-mlflow-context: tr-1: no\n"


def test_what_strangers_wrote_stays_as_it_is(server, experiment, plain, backfill, traces):
    attacks = {
        "keys": claiming(*(key for key in KEYS if key.isprintable() and 0 < len(key) <= 250)),
        "values": claiming(*MLFLOW_KEYS[:30], value="x" * 10_000),
        "many": claiming(*(f"key-{number}" for number in range(90)), value="x" * 10_000),
        "flags": {f"feature_flag_{number:0230}": "\U0001f600" * 250 for number in range(90)},
    }
    left_out = ("mlflow.traceRequestId", "mlflow.traceTag.mlflow.trace.spansLocation")
    facts = {"service.name": "qa", "service.version": "1.10"}
    resources = {"": facts, "resource": {**facts, **attacks["keys"]}}
    for resource in resources.values():
        for attributes in ({}, *attacks.values()):
            allowed = {key: value for key, value in attributes.items() if key not in left_out}
            plain.ask(resource, MlflowContextSpanProcessor(Resource(facts)), **allowed)
    before = traces(server.uri, experiment)

    assert counts(backfill("--json"))["failed"] == 0

    after = traces(server.uri, experiment)
    assert len(before) == len(after) > 0
    by_facts = {"app_version", "service_name"}
    for then, now in zip(before, after, strict=True):
        new = now.info.trace_metadata.keys() - then.info.trace_metadata.keys()
        free = {key for key in new if key.startswith(("key-", "feature_flag_"))}
        assert len(free) <= 64
        assert new - free - {"mlflow.trace.session", "mlflow.trace.user"} <= by_facts
        assert now.info.trace_metadata.items() >= then.info.trace_metadata.items()
        assert now.info.tags == then.info.tags
        assert mlflow.MlflowClient(server.uri).get_trace(now.info.trace_id) is not None
    assert counts(backfill("--json"))["changed"] == 0
