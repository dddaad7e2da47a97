from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from table import ATTRIBUTES, FACTS

from otel_mlflow_context import MlflowContextSpanProcessor, detectors, trace_context
from otel_mlflow_context.processor import span_processor


class Traced:
    """A provider with our span_processor, and the spans that it has ended."""

    def __init__(self, *arguments: Any, provider_resource: Resource | None = None, **options: Any):
        self._exporter = InMemorySpanExporter()
        self.processor = MlflowContextSpanProcessor(*arguments, **options)
        self.provider = TracerProvider(resource=provider_resource or Resource({}))
        self.provider.add_span_processor(self.processor)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def root(self, **options: Any) -> dict[str, Any]:
        with self.tracer.start_as_current_span("root", **options):
            pass
        return dict(self.spans()[-1].attributes or {})

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detectors' answer, known."""
    monkeypatch.setattr(detectors, "detect_resource", lambda: Resource(FACTS))


def remote_parent() -> context_api.Context:
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    return trace.set_span_in_context(NonRecordingSpan(parent))


def test_a_root_span_gets_every_fact_of_the_process() -> None:
    assert Traced(Resource(FACTS)).root() == ATTRIBUTES


def test_a_child_gets_nothing() -> None:
    traced = Traced(Resource(FACTS))
    with traced.tracer.start_as_current_span("root"), traced.tracer.start_as_current_span("child"):
        pass
    assert not traced.spans()[0].attributes


@pytest.mark.parametrize("is_remote", [True, False])
def test_a_span_context_is_a_tuple_with_is_remote_in_its_place(is_remote: Any) -> None:
    assert SpanContext(1, 2, is_remote=is_remote)[span_processor._IS_REMOTE] is is_remote


def test_the_entry_span_of_a_service_gets_its_own_services_facts() -> None:
    traced = Traced(Resource(FACTS))
    assert traced.root(context=remote_parent()) == ATTRIBUTES


def test_session_user_and_request_come_from_baggage() -> None:
    traced = Traced(Resource({}))
    with trace_context(session_id="s", user_id="u", request_id="r"):
        assert traced.root() == {
            "session.id": "s",
            "user.id": "u",
            "mlflow.client_request_id": "r",
        }


def test_baggage_of_the_given_context_wins_over_the_ambient_one() -> None:
    traced = Traced(Resource({}))
    given = baggage.set_baggage("session.id", "given", context_api.Context())
    with trace_context(session_id="ambient", user_id="ambient"):
        assert traced.root(context=given) == {"session.id": "given", "user.id": "ambient"}


def test_baggage_cannot_change_what_is_known_of_the_process() -> None:
    traced = Traced(Resource(FACTS))
    context = context_api.get_current()
    for key in (*FACTS, *ATTRIBUTES, "mlflow.trace.sizeStats", "other"):
        context = baggage.set_baggage(key, "hostile", context)
    assert traced.root(context=context) == ATTRIBUTES


def test_a_declared_key_is_carried_from_the_resource_and_from_baggage() -> None:
    traced = Traced(Resource({"team": "search", "plan": "free"}), metadata_keys=["team", "plan"])
    with_baggage = baggage.set_baggage("plan", "paid", context_api.Context())
    assert traced.root(context=with_baggage) == {
        "team": "search",
        "plan": "paid",
        "otel_mlflow_context.metadata_keys": "team,plan",
    }


def test_a_baggage_key_that_is_no_text_costs_no_fact() -> None:
    context = baggage.set_baggage(42, "x", baggage.set_baggage("session.id", "s"))  # type: ignore[arg-type]
    assert Traced(Resource(FACTS)).root(context=context) == ATTRIBUTES | {"session.id": "s"}


def test_feature_flags_are_carried_and_cannot_push_out_the_facts() -> None:
    traced = Traced(Resource(FACTS))
    context = context_api.Context()
    for n in range(180):
        context = baggage.set_baggage(f"feature_flag_{n}", "on", context)
    attributes = traced.root(context=context)
    assert attributes.items() >= ATTRIBUTES.items()
    assert sum(key.startswith("feature_flag_") for key in attributes) == 64


def test_metadata_in_code_is_carried_and_wins() -> None:
    traced = Traced(Resource(FACTS), metadata_keys=["tenant"])
    context = baggage.set_baggage("tenant", "baggage")
    token = context_api.attach(context)
    with trace_context(metadata={"tenant": "code", "app_version": "2.0"}):
        attributes = traced.root()
    context_api.detach(token)
    assert attributes["tenant"] == "code"
    assert attributes["app_version"] == "2.0"


def test_an_attribute_that_is_already_on_the_span_stays() -> None:
    traced = Traced(Resource(FACTS))
    attributes = traced.root(attributes={"app_version": "mine", "http.route": "/ask"})
    assert attributes == ATTRIBUTES | {"app_version": "mine", "http.route": "/ask"}


def test_precedence_of_the_environment_the_provider_and_the_detectors(
    detected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=environment")
    provided = Resource(
        {"service.version": "provider", "cloud.region": "provider", "deployment.id": " "}
    )
    attributes = Traced(provider_resource=provided).root()
    assert attributes["app_version"] == "environment"
    assert attributes["region"] == "provider"
    assert attributes["deployment_id"] == "7"


def test_a_resource_that_is_given_wins_and_is_not_completed(
    detected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=environment")
    provided = Resource({"cloud.region": "provider", "service.version": "provider"})
    traced = Traced(Resource({"service.version": "given"}), provider_resource=provided)
    assert traced.root() == {"app_version": "given", "region": "provider"}


def test_a_default_of_the_sdk_is_no_fact(detected: None) -> None:
    assert Traced(provider_resource=Resource.create()).root()["service_name"] == "qa"
    unknown = Resource({"service.name": "unknown_service:python"})
    assert Traced(Resource({}), provider_resource=unknown).root() == {}


def test_the_older_name_of_the_environment_is_understood() -> None:
    assert Traced(Resource({"deployment.environment": "qa"})).root() == {
        "environment": "qa",
        "mlflow.source.type": "qa",
    }


def test_source_type_can_keep_the_kind() -> None:
    assert Traced(Resource(FACTS), source_type="kind").root()["mlflow.source.type"] == "LOCAL"


def test_each_provider_gets_the_facts_of_its_own_resource() -> None:
    ours = MlflowContextSpanProcessor(Resource({}))
    versions = []
    for version in ("1", "2", "1"):
        provider = TracerProvider(resource=Resource({"service.version": version}))
        provider.add_span_processor(ours)
        with provider.get_tracer("test").start_as_current_span("root") as span:
            versions.append(span.attributes["app_version"])
    assert versions == ["1", "2", "1"]


def test_tags_are_written_for_pipelines_that_end_in_a_collector() -> None:
    traced = Traced(Resource({"service.version": "1.0"}), tags=True)
    with trace_context(session_id="s"):
        assert traced.root() == {
            "app_version": "1.0",
            "session.id": "s",
            "mlflow.traceTag.app_version": "1.0",
            "mlflow.traceTag.mlflow.trace.session": "s",
        }


def test_only_the_span_that_speaks_for_the_trace_writes_tags() -> None:
    resource = Resource({"service.version": "1.0"})
    entry = Traced(resource, tags=True).root(context=remote_parent())
    assert "mlflow.traceTag.app_version" not in entry
    speaking = Traced(resource, tags=True, trace_boundary="service").root(context=remote_parent())
    assert speaking["mlflow.traceTag.app_version"] == "1.0"


def test_variables_are_the_defaults_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_METADATA_KEYS", "team")
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_SOURCE_TYPE", "kind")
    resource = Resource({"team": "search", "plan": "free", "mlflow.source.type": "JOB"})
    assert Traced(resource).root() == {
        "team": "search",
        "mlflow.source.type": "JOB",
        "otel_mlflow_context.metadata_keys": "team",
    }
    assert "team" not in Traced(resource, metadata_keys=["plan"]).root()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resource": {}}, "resource must be a Resource or None"),
        ({"trace_boundary": "trace"}, "trace_boundary must be one of"),
        ({"metadata_keys": ["mlflow.source.name"]}, "metadata_keys must not be"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MlflowContextSpanProcessor(**arguments)


def test_it_never_raises_into_the_application_and_logs_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    traced = Traced(Resource(FACTS))

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(traced.processor._request_facts, "read", fail)
    assert traced.root() == {}
    assert traced.root() == {}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_disabled_processor_does_nothing() -> None:
    traced = Traced(Resource(FACTS))
    traced.processor.disable()
    assert traced.root() == {}


def test_a_flush_reaches_the_processors_behind_it() -> None:
    assert Traced(Resource(FACTS)).provider.force_flush()


def test_no_ended_span_is_held() -> None:
    traced = Traced(Resource(FACTS))
    span = traced.tracer.start_span("root")
    ended = weakref.ref(span)
    span.end()
    traced._exporter.clear()
    del span
    gc.collect()
    assert ended() is None
