"""Sessions and users that other libraries set, taken over where ours are not set."""

from __future__ import annotations

from typing import Any

import mlflow
import pytest
from openinference.instrumentation import using_session, using_user
from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from packaging.version import Version
from programs import INSTRUMENT, READ, UNIFIED

from otel_mlflow_context import MlflowContextSpanProcessor, settings, trace_context


def root(**options: Any) -> dict[str, Any]:
    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(MlflowContextSpanProcessor(Resource({}), **options))
    with provider.get_tracer("test").start_as_current_span("root") as span:
        return dict(span.attributes)


@pytest.fixture
def conversation() -> Any:
    token = context_api.attach(baggage.set_baggage("gen_ai.conversation.id", "conversation"))
    yield
    context_api.detach(token)


@pytest.mark.usefixtures("conversation")
def test_a_conversation_in_baggage_is_the_session() -> None:
    assert root() == {"session.id": "conversation"}
    with trace_context(session_id="ours"):
        assert root() == {"session.id": "ours"}


@pytest.mark.usefixtures("conversation")
def test_a_conversation_may_be_declared_too() -> None:
    assert root(metadata_keys=["gen_ai.conversation.id"]) == {
        "session.id": "conversation",
        "gen_ai.conversation.id": "conversation",
        "otel_mlflow_context.metadata_keys": "gen_ai.conversation.id",
    }


def test_openinference_says_session_and_user() -> None:
    with using_session("theirs"), using_user("ada"):
        assert root() == {"session.id": "theirs", "user.id": "ada"}
        with trace_context(session_id="ours"):
            assert root() == {"session.id": "ours", "user.id": "ada"}


def test_what_they_say_of_the_user_is_bound_to_the_setting() -> None:
    settings.override(user_id="drop")
    with using_session("theirs"), using_user("ada"):
        assert root() == {"session.id": "theirs"}


HAS_CONTEXT = pytest.mark.skipif(
    not hasattr(mlflow.tracing, "context"),
    reason=f"MLflow {mlflow.__version__} has no mlflow.tracing.context",
)
MODES = pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["P1", "P2"])
ASK = """
import mlflow
from otel_mlflow_context import trace_context
with trace_context(session_id="ours"), mlflow.tracing.context(session_id="theirs", user="ada"):
    with mlflow.start_span("root"):
        pass
"""


@HAS_CONTEXT
@MODES
def test_mlflows_own_context_is_the_applications_word(
    run: Any, store: str, mode: dict[str, str]
) -> None:
    (trace,) = run(
        f"{INSTRUMENT}{ASK}{READ}\nreport(read())",
        environment={"MLFLOW_TRACKING_URI": store, **mode},
    )
    assert trace["metadata"]["mlflow.trace.session"] == "theirs"
    assert trace["metadata"]["mlflow.trace.user"] == "ada"
    assert (trace["root"]["session.id"], trace["root"]["user.id"]) == ("theirs", "ada")


@HAS_CONTEXT
@MODES
@pytest.mark.parametrize("policy", ["hash", "drop"])
def test_mlflows_own_user_is_bound_to_the_setting(
    run: Any, store: str, mode: dict[str, str], policy: str
) -> None:
    (trace,) = run(
        f"{INSTRUMENT}{ASK}{READ}\nreport(read())",
        environment={
            "MLFLOW_TRACKING_URI": store,
            "OTEL_MLFLOW_CONTEXT_USER_ID": policy,
            "OTEL_MLFLOW_CONTEXT_USER_ID_KEY": "not in the source code",
            **mode,
        },
    )
    user = trace["metadata"].get("mlflow.trace.user", "")
    assert user == trace["root"].get("user.id", "")
    assert user.startswith("hmac-sha256:") if policy == "hash" else not user


def test_there_is_one_version_at_least_that_has_it() -> None:
    assert Version(mlflow.__version__) < Version("3.17") or hasattr(mlflow.tracing, "context")
