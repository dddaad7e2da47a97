"""Feature flags, with OpenFeature's own client and provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_mlflow_context import MlflowContextSpanProcessor
from otel_mlflow_context.openfeature import FeatureFlagHook

FLAGS = {
    "prompt": InMemoryFlag("b", {"a": "Be brief.", "b": "Be kind."}),
    "reranker": InMemoryFlag("on", {"on": True}),
    "odd,\nkey": InMemoryFlag("x", {"x": 1}),
}

provider = TracerProvider(resource=Resource({}))
provider.add_span_processor(MlflowContextSpanProcessor(Resource({"service.version": "1"})))
tracer = provider.get_tracer("test")


@pytest.fixture
def client() -> Iterator[OpenFeatureClient]:
    more = {f"flag-{n}": InMemoryFlag("v", {"v": n}) for n in range(200)}
    api.set_provider(InMemoryProvider({**FLAGS, **more}))
    api.add_hooks([FeatureFlagHook()])
    yield api.get_client()
    api.clear_hooks()
    api.clear_providers()


def flags(attributes: Any) -> dict[str, str]:
    return {key: value for key, value in attributes.items() if key.startswith("feature_flag_")}


def test_the_trace_says_which_variant_it_got(client: OpenFeatureClient) -> None:
    with tracer.start_as_current_span("root") as root, tracer.start_as_current_span("child"):
        assert client.get_string_value("prompt", "") == "Be kind."
        assert client.get_boolean_value("reranker", default_value=False)
    assert flags(root.attributes) == {"feature_flag_prompt": "b", "feature_flag_reranker": "on"}


def test_a_key_that_breaks_names_is_cleaned(client: OpenFeatureClient) -> None:
    with tracer.start_as_current_span("root") as root:
        client.get_integer_value("odd,\nkey", 0)
    assert flags(root.attributes) == {"feature_flag_odd  key": "x"}


def test_a_flag_that_failed_says_nothing(client: OpenFeatureClient) -> None:
    with tracer.start_as_current_span("root") as root:
        client.get_string_value("missing", "default")
        client.get_string_value("reranker", "not a text")
    assert flags(root.attributes) == {}


def test_outside_of_a_trace_it_leaves_flags_alone(client: OpenFeatureClient) -> None:
    assert client.get_string_value("prompt", "") == "Be kind."


def test_many_flags_push_out_no_other_fact(client: OpenFeatureClient) -> None:
    with tracer.start_as_current_span("root") as root:
        for n in range(200):
            client.get_integer_value(f"flag-{n}", 0)
    assert len(flags(root.attributes)) == 64
    assert root.attributes["app_version"] == "1"
