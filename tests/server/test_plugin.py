"""Spans that come by OTLP to MLflow's server with the plugin."""

import base64
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
import requests
from google.protobuf.json_format import MessageToDict
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export import SpanExportResult
from packaging.version import Version
from preloaded import run_python
from servers import Front
from table import ATTRIBUTES, FACTS

from otel_mlflow_context import MlflowSpanExporter
from otel_mlflow_context.server.trace_metadata import ENTRY_SPAN_KEY

MLFLOW = Version(mlflow.__version__)
# As in OTEL_RESOURCE_ATTRIBUTES, which every language's SDK reads.
RESOURCE = {
    "service.name": "qa",
    "service.version": "1.10",
    "deployment.environment.name": "production",
    "deployment.id": "7",
    "cloud.region": "eu-west-1",
    "vcs.ref.head.revision": "9f1c3aa2b7d04e5f8a6c1d2e3f405162738495a6",
    "vcs.ref.head.name": "main",
    "vcs.repository.url.full": "https://github.com/acme/app",
    "vcs.change.id": "42",
}
METADATA = {
    "service_name": "qa",
    "app_version": "1.10",
    "environment": "production",
    "mlflow.source.type": "production",
    "deployment_id": "7",
    "region": "eu-west-1",
    "mlflow.source.git.commit": "9f1c3aa2b7d04e5f8a6c1d2e3f405162738495a6",
    "mlflow.source.git.branch": "main",
    "mlflow.source.git.repoURL": "https://github.com/acme/app",
    "change_id": "42",
}
SERVICE = """
from opentelemetry import trace
with trace.get_tracer("app").start_as_current_span("ask") as span:
    span.set_attribute("session.id", "s-1")
    span.set_attribute("user.id", "ada")
    span.set_attribute("mlflow.client_request_id", "r-1")
"""


def test_a_service_without_this_package_has_the_metadata_of_its_resource(
    plugin, new_experiment, experiment, traces
):
    subprocess.run(
        [
            str(Path(sys.executable).with_name("opentelemetry-instrument")),
            sys.executable,
            "-c",
            SERVICE,
        ],
        env={
            "PATH": os.environ["PATH"],
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "mlflow_context",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{plugin.uri}/v1/traces",
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-mlflow-experiment-id={new_experiment(plugin)}",
            "OTEL_RESOURCE_ATTRIBUTES": ",".join(
                f"{key}={value}" for key, value in RESOURCE.items()
            ),
        },
        check=True,
        timeout=60,
    )

    expected = {**METADATA, "mlflow.trace.session": "s-1", "mlflow.trace.user": "ada"}
    for key, value in expected.items():
        assert len(traces(plugin.uri, experiment, f"metadata.`{key}` = '{value}'")) == 1, key
        assert not traces(plugin.uri, experiment, f"metadata.`{key}` = 'other'")
    [found] = traces(plugin.uri, experiment, "client_request_id = 'r-1'")
    assert found.info.trace_metadata.items() >= expected.items()
    assert ENTRY_SPAN_KEY not in found.info.trace_metadata


def test_the_root_s_attributes_win_over_its_resource(
    plugin, service, send, new_experiment, experiment, traces
):
    qa = service(**{"service.version": "1", "service.name": "qa", "vcs.ref.head.name": "main"})
    qa.tracer.start_span("ask", attributes={"app_version": "2", **ATTRIBUTES}).end()

    send(plugin, new_experiment(plugin), qa.take())

    [found] = traces(plugin.uri, experiment)
    assert found.info.trace_metadata.items() >= ATTRIBUTES.items()


@pytest.fixture(scope="module")
def with_settings(module_plugin):
    return module_plugin(
        OTEL_MLFLOW_CONTEXT_METADATA_KEYS="tenant,team", OTEL_MLFLOW_CONTEXT_CLOSE_AFTER="3"
    )


def test_keys_of_the_setting_metadata_keys(
    with_settings, service, send, new_experiment, experiment, traces
):
    server = with_settings
    qa = service(tenant="acme")
    qa.tracer.start_span("ask", attributes={"team": "search"}).end()

    send(server, new_experiment(server), qa.take())

    [found] = traces(server.uri, experiment, "metadata.tenant = 'acme'")
    assert found.info.trace_metadata["team"] == "search"


# --- Everything else is as before -----------------------------------------------------------------


def make_traces(qa, count):
    for number in range(count):
        with qa.tracer.start_as_current_span(f"ask {number}") as root:
            root.set_attribute("mlflow.spanInputs", json.dumps({"question": number}))
            root.set_attribute("mlflow.spanOutputs", '"because"')
            root.set_attribute("session.id", f"s-{number % 50}")
            root.set_attribute("mlflow.traceTag.note", str(number))
            with qa.tracer.start_as_current_span("generate") as child:
                child.set_attribute(
                    "mlflow.chat.tokenUsage", '{"input_tokens": 3, "output_tokens": 4}'
                )
                child.set_attribute("mlflow.llm.cost", '{"total_cost": 0.5}')
            if number % 7 == 0:
                root.set_status(trace.Status(trace.StatusCode.ERROR, "no"))


def stored(uri, experiment_id):
    """Every trace with its spans, by id."""
    client = mlflow.MlflowClient(uri)
    found, token = [], None
    while True:
        page = client.search_traces([experiment_id], max_results=100, page_token=token)
        found += page
        token = page.token
        if not token:
            return {it.info.trace_id: it for it in found}


def without_place(tags):
    own = {"mlflow.artifactLocation", "service.instance.id"}
    return {key: value for key, value in tags.items() if key not in own}


def test_traces_are_as_a_plain_server_stores_them_but_for_more_metadata(
    server, plugin_sqlite, service, send, new_experiment
):
    qa = service(**RESOURCE, custom="x")
    make_traces(qa, 200)
    spans = qa.take()
    places = {server: new_experiment(server), plugin_sqlite: new_experiment(plugin_sqlite)}
    for start in range(0, len(spans), 75):  # traces are torn apart
        for place, experiment_id in places.items():
            assert send(place, experiment_id, spans[start : start + 75]).status_code == 200

    plain, ours = (stored(place.uri, id_) for place, id_ in places.items())

    assert len(plain) == 200
    assert plain.keys() == ours.keys()
    for trace_id, before in plain.items():
        after = ours[trace_id]
        for field in (
            *("state", "request_time", "execution_duration", "request_preview"),
            *("response_preview", "token_usage"),
        ):
            assert getattr(after.info, field) == getattr(before.info, field), field
        assert without_place(after.info.tags) == without_place(before.info.tags)
        assert [it.to_dict() for it in after.data.spans] == [
            it.to_dict() for it in before.data.spans
        ]
        metadata, had = after.info.trace_metadata, before.info.trace_metadata
        for key, value in had.items():  # 3.8 to 3.12 keep a session with its JSON quotes
            assert metadata[key] == (value.strip('"') if "session" in key else value)
        assert metadata.keys() - had.keys() <= METADATA.keys() | {"mlflow.trace.session"}
        assert metadata.items() >= METADATA.items()


SDK = """
import mlflow
mlflow.set_experiment({experiment!r})

@mlflow.trace
def ask(question):
    mlflow.update_current_trace(
        metadata={{"app_version": "the user's", "mlflow.trace.session": "s"}}, tags={{"a": "b"}},
        client_request_id="r-1",
    )
    with mlflow.start_span("retrieve"):
        return "because"

ask("why")
mlflow.flush_trace_async_logging()
"""


def test_a_trace_of_mlflow_s_sdk_is_untouched(server, plugin, experiment, traces):
    # No fixed ids here, so what changes from run to run is left out.
    own = {"mlflow.source.name", "mlflow.trace.sizeStats", "mlflow.trace.sizeBytes"}

    def trace_on(place):
        environment = {"MLFLOW_TRACKING_URI": place.uri, "OTEL_SERVICE_NAME": "qa"}
        run_python(
            *("-c", SDK.format(experiment=experiment)),
            env={"PATH": os.environ["PATH"], **environment},
        ).check_returncode()
        [found] = traces(place.uri, experiment)
        metadata = {k: v for k, v in found.info.trace_metadata.items() if k not in own}
        return metadata, without_place(found.info.tags), found.info.client_request_id

    assert trace_on(plugin) == trace_on(server)


def test_spans_of_mlflow_s_sdk_may_come_before_its_trace_info(
    plugin, service, send, new_experiment, experiment, traces
):
    qa = service(**RESOURCE)
    qa.tracer.start_span("ask").end()

    send(plugin, new_experiment(plugin), qa.take(), user_agent="mlflow-python-client/3.17.2")

    [found] = traces(plugin.uri, experiment)
    assert "app_version" not in found.info.trace_metadata


@pytest.mark.parametrize("body", [b"", b"\0\1nonsense", b"{}"])
@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/json", "text/x"])
def test_what_is_no_request_gets_mlflow_s_own_answer(
    server, plugin_sqlite, send, body, content_type
):
    answers = [
        send(place, "0", [], body=body, content_type=content_type)
        for place in (server, plugin_sqlite)
    ]

    assert answers[1].status_code == answers[0].status_code
    assert answers[1].json() == answers[0].json()


@pytest.mark.parametrize("form", ["gzip", "json", "gzip json"])
def test_forms_of_a_request(plugin, service, send, new_experiment, experiment, traces, form):
    qa = service(**RESOURCE)
    qa.tracer.start_span("ask").end()
    request = encode_spans(qa.take())
    headers = {}
    body = request.SerializeToString()
    if "json" in form:
        body = json.dumps(as_otlp_json(request)).encode()
        headers["content_type"] = "application/json; charset=utf-8"
    if "gzip" in form:
        body = gzip.compress(body)
        headers["content_encoding"] = "gzip"

    answer = send(plugin, new_experiment(plugin), [], body=body, **headers)

    assert answer.status_code == 200, answer.text
    assert len(traces(plugin.uri, experiment, "metadata.app_version = '1.10'")) == 1


def as_otlp_json(request):
    found = MessageToDict(request)
    for resource_spans in found["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return found


# --- Traces of several services -------------------------------------------------------------------


def two_services(service, count):
    """Traces of a front service that calls a second one, both with an entry span of their own."""
    front = service(**{"service.name": "front", "service.version": "1", "cloud.region": "eu"})
    back = service(**{"service.name": "back", "service.version": "2", "deployment.id": "b-7"})
    for _ in range(count):
        with front.tracer.start_as_current_span("front", kind=trace.SpanKind.SERVER) as root:
            remote = trace.SpanContext(
                root.get_span_context().trace_id,
                root.get_span_context().span_id,
                is_remote=True,
                trace_flags=trace.TraceFlags(1),
            )
            parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
            time.sleep(0.0001)
            back.tracer.start_span("back", context=parent, kind=trace.SpanKind.SERVER).end()
    return front.take(), back.take()


@pytest.mark.parametrize("first", ["front", "back", "both"])
def test_the_root_s_service_wins_in_every_order(
    plugin, service, send, new_experiment, experiment, traces, first
):
    front, back = two_services(service, 1)
    id_ = new_experiment(plugin)
    batches = {"front": [front, back], "back": [back, front], "both": [back + front]}[first]

    for batch in batches:
        assert send(plugin, id_, batch).status_code == 200
        if batch is back and batches[0] is back:
            [found] = traces(plugin.uri, experiment)
            assert (
                found.info.trace_metadata.items()
                >= {
                    "service_name": "back",
                    "app_version": "2",
                    "deployment_id": "b-7",
                }.items()
            )

    [found] = traces(plugin.uri, experiment)
    metadata = found.info.trace_metadata
    assert metadata.items() >= {"service_name": "front", "app_version": "1", "region": "eu"}.items()
    assert not {"deployment_id", ENTRY_SPAN_KEY} & metadata.keys()


def test_two_services_at_the_same_moment_in_any_order(
    plugin_postgresql, service, send, new_experiment, order
):
    """Four workers and PostgreSQL: no deadlock, nothing lost, the root's metadata at the end."""
    count = int(os.environ.get("TRACES", "200"))
    id_ = new_experiment(plugin_postgresql)
    front, back = two_services(service, count)
    batches = []
    for spans in (front, back):
        order.shuffle(spans)
        batches += [spans[start : start + 50] for start in range(0, count, 50)]
    order.shuffle(batches)

    with ThreadPoolExecutor(16) as senders:
        answers = list(senders.map(lambda batch: send(plugin_postgresql, id_, batch), batches))

    assert {answer.status_code for answer in answers} == {200}
    assert not any(b"tr-" in answer.content for answer in answers)  # nor a partial success
    found = stored(plugin_postgresql.uri, id_)
    assert len(found) == count
    for it in found.values():
        assert len(it.data.spans) == 2
        metadata = it.info.trace_metadata
        assert metadata["service_name"] == "front"
        assert metadata["app_version"] == "1"
        assert not {"deployment_id", ENTRY_SPAN_KEY} & metadata.keys()


def test_a_trace_whose_root_never_comes_ends_as_its_entry_span(
    with_settings, service, send, new_experiment, experiment, traces
):
    server = with_settings
    id_ = new_experiment(server)
    front, back = two_services(service, 1)
    assert send(server, id_, back).status_code == 200
    [found] = traces(server.uri, experiment)
    assert found.info.state.value == "IN_PROGRESS"

    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        [found] = traces(server.uri, experiment, include_spans=False)
        if found.info.state.value != "IN_PROGRESS":
            break
        time.sleep(0.2)

    assert found.info.state.value == "OK"
    assert found.info.trace_metadata["service_name"] == "back"
    # A root that comes all the same wins.
    assert send(server, id_, front).status_code == 200
    [found] = traces(server.uri, experiment)
    assert found.info.trace_metadata["service_name"] == "front"
    assert ENTRY_SPAN_KEY not in found.info.trace_metadata


def test_a_trace_that_a_stopped_server_has_left_is_ended_by_the_next(
    with_settings, service, send, new_experiment, experiment, traces
):
    server = with_settings
    _, back = two_services(service, 1)
    assert send(server, new_experiment(server), back).status_code == 200
    server.stop()
    server.start()

    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        [found] = traces(server.uri, experiment, include_spans=False)
        if found.info.state.value == "OK":
            return
        time.sleep(0.2)
    pytest.fail("still in progress")


# --- Partial success ------------------------------------------------------------------------------


@pytest.fixture
def bad_attribute():
    """What makes MLflow refuse the batch that a span with it is in."""
    if Version("3.12") > MLFLOW:
        pytest.skip("MLflow before 3.12 refuses no batch as a whole")
    if Version("3.17") > MLFLOW:
        return {"mlflow.llm.cost": "broken"}
    return {"session.id": "s" * 251}


@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/json"])
def test_one_bad_trace_of_200_is_left_out_and_the_answer_says_so(
    plugin, service, send, new_experiment, experiment, traces, bad_attribute, content_type
):
    qa = service(**RESOURCE)
    for number in range(200):
        with qa.tracer.start_as_current_span(f"ask {number}"):
            child = qa.tracer.start_span("child", attributes=bad_attribute if number == 77 else {})
            child.end()
    request = encode_spans(qa.take())
    is_json = content_type == "application/json"
    body = json.dumps(as_otlp_json(request)).encode() if is_json else request.SerializeToString()

    answer = send(plugin, new_experiment(plugin), [], body=body, content_type=content_type)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type
    if is_json:
        partial = answer.json()["partialSuccess"]
        assert partial["rejectedSpans"] == "2"
        assert "tr-" in partial["errorMessage"]
    else:
        partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        assert partial.rejected_spans == 2
        assert "tr-" in partial.error_message
    found = traces(plugin.uri, experiment, include_spans=False)
    assert len(found) == 199
    assert all(it.info.trace_metadata.items() >= METADATA.items() for it in found)


def test_a_batch_that_is_all_bad_gets_mlflow_s_own_answer(
    server, plugin_sqlite, service, send, new_experiment, bad_attribute
):
    qa = service()
    for _ in range(2):
        qa.tracer.start_span("ask", attributes=bad_attribute).end()
    spans = qa.take()

    answers = [send(place, new_experiment(place), spans) for place in (server, plugin_sqlite)]

    assert answers[1].status_code == answers[0].status_code >= 400
    assert answers[1].json() == answers[0].json()


def test_hostile_values_are_cleaned_and_cost_nothing(
    plugin, service, send, new_experiment, experiment, traces
):
    qa = service(**{"service.name": "q\0a\n", "service.version": "v" * 9_000, "cloud.region": " "})
    qa.tracer.start_span(
        "ask",
        attributes={
            "mlflow.client_request_id": "r" * 300,
            "feature_flag_" + "f" * 300: "on",
            "environment": "prod\0uction",
            "mlflow.trace.sizeStats": "{}",
        },
    ).end()

    answer = send(plugin, new_experiment(plugin), qa.take())

    if answer.status_code != 200:  # PostgreSQL takes no NUL in what MLflow itself keeps of it
        assert "NUL" in answer.text or answer.status_code in (422, 500)
        return
    [found] = traces(plugin.uri, experiment)
    metadata = found.info.trace_metadata
    assert metadata["service_name"] == "q a"
    assert metadata["environment"] == "prod uction"
    assert len(metadata["app_version"]) == 250
    assert len(found.info.client_request_id) == 50
    assert "region" not in metadata
    assert not [key for key in metadata if key.startswith("feature_flag_")]


# --- Our own exporter -----------------------------------------------------------------------------


def test_the_exporter_leaves_its_calls_out(plugin_sqlite, experiment, recorded, traces):
    front = Front(plugin_sqlite.port)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    exporter = MlflowSpanExporter(front.uri, experiment_name=experiment)
    for _ in range(3):
        recorded.trace()
        assert exporter.export(recorded.take()) is SpanExportResult.SUCCESS
    exporter.shutdown()
    front.shutdown()
    front.server_close()

    calls = [(method, path.partition("?")[0]) for method, path in front.seen]
    assert calls.count(("GET", "/api/3.0/otel-mlflow-context")) == 1
    assert calls.count(("POST", "/v1/traces")) == 3
    assert not [call for call in calls if "/mlflow/traces" in call[1]]
    found = traces(plugin_sqlite.uri, experiment)
    assert len(found) == 3
    assert all(it.info.trace_metadata.items() >= ATTRIBUTES.items() for it in found)


def test_the_exporter_writes_what_it_alone_knows(plugin_sqlite, experiment, recorded, traces):
    exporter = MlflowSpanExporter(
        plugin_sqlite.uri, experiment_name=experiment, metadata_keys=["tenant"]
    )
    with recorded.tracer.start_as_current_span("ask", attributes={"tenant": "acme"}):
        pass
    exporter.export(recorded.take())
    exporter.shutdown()

    [found] = traces(plugin_sqlite.uri, experiment)
    assert found.info.trace_metadata["tenant"] == "acme"
    assert found.info.trace_metadata["mlflow.source.git.commit"] == FACTS["vcs.ref.head.revision"]


def test_a_plain_server_has_no_plugin(server):
    answer = requests.get(f"{server.uri}/api/3.0/otel-mlflow-context", timeout=10)

    assert answer.status_code == 404
