"""Traces of MLflow's SDK are linked to the LoggedModel of their version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import git
from mlflow import MlflowClient
from programs import ASK, DEPLOYMENT, DUAL, UNIFIED
from programs import INSTRUMENT as INSTRUMENT_ONLY
from servers import Front

# Of MLflow's search for models in a store, with the newest SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

# A busy machine needs more than the seconds that a process waits at its end.
INSTRUMENT = (
    INSTRUMENT_ONLY
    + """
import otel_mlflow_context.mlflow_client.sdk.versions
otel_mlflow_context.mlflow_client.sdk.versions._AT_EXIT = 60
"""
)
VERSIONS = {"OTEL_MLFLOW_CONTEXT_VERSIONS": "true", **DEPLOYMENT}
ONE_TRACE = INSTRUMENT + ASK + "ask('q')\n" + "report(0)"
TWO_TRACES = (
    INSTRUMENT
    + ASK
    + """
import time
ask("before")
deadline = time.monotonic() + 30
while not mlflow.search_logged_models(filter_string="name = 'qa-1_10'", output_format="list"):
    assert time.monotonic() < deadline
    time.sleep(0.1)
ask("while the model is made")
time.sleep(3)
ask("after")
report(0)
"""
)
GIT_VERSIONING = """
import mlflow
report(mlflow.genai.enable_git_model_versioning().active_model.model_id)
"""


def stored(uri: str) -> tuple[list[Any], list[Any]]:
    """The traces, the oldest first, and the models."""
    client = MlflowClient(uri)
    traces = client.search_traces(["0"], order_by=["timestamp_ms ASC"])
    return traces, list(client.search_logged_models(["0"]))


def links(traces: list[Any]) -> list[str | None]:
    return [trace.info.trace_metadata.get("mlflow.modelId") for trace in traces]


@pytest.fixture
def environment(store: str) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": store, **VERSIONS}


@pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["P1", "P2"])
def test_traces_that_end_before_their_model_is_known_are_linked_too(
    run: Any, store: str, environment: dict[str, str], commit: str, mode: dict[str, str]
) -> None:
    run(TWO_TRACES, environment={**environment, **mode})
    traces, [model] = stored(store)
    assert links(traces) == [model.model_id] * 3
    # Only the link was added.
    first, _, last = (trace.info for trace in traces)
    assert first.trace_metadata.keys() == last.trace_metadata.keys()
    assert (first.state, first.tags.keys()) == (last.state, last.tags.keys())
    assert 0 <= first.execution_duration < 3_000
    assert str(model.status) == "READY"
    assert model.name == "qa-1_10"
    assert model.params == {
        "service.name": "qa",
        "app_version": "1.10",
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.dirty": "false",
    }


def test_every_process_links_its_first_trace_to_the_same_model(
    run: Any, store: str, environment: dict[str, str]
) -> None:
    for _ in range(2):
        run(ONE_TRACE, environment=environment)
    run(ONE_TRACE, environment={**environment, "APP_VERSION": "1.11"})
    traces, models = stored(store)
    first, second, other = links(traces)
    assert first == second
    assert {first, other} == {model.model_id for model in models}
    assert len(models) == 2


def test_a_server_has_the_same(run: Any, any_server: Any, experiment: str, traces: Any) -> None:
    server = any_server
    client = MlflowClient(server.uri)
    experiment_id = client.create_experiment(experiment)
    environment = {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_EXPERIMENT_ID": experiment_id,
        **VERSIONS,
    }
    for _ in range(2):
        run(ONE_TRACE, environment=environment)
    [model] = client.search_logged_models([experiment_id])
    assert links(traces(server.uri, experiment)) == [model.model_id] * 2


def test_a_server_that_is_away_is_asked_again(
    run: Any, server: Any, experiment: str, traces: Any
) -> None:
    experiment_id = MlflowClient(server.uri).create_experiment(experiment)
    with Front.before(server.port) as front:
        fails = iter([True] * 6)
        front.answer = lambda _, path: (
            500 if "logged-models" in path and next(fails, False) else None
        )
        environment = {
            "MLFLOW_TRACKING_URI": front.uri,
            "MLFLOW_EXPERIMENT_ID": experiment_id,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            **VERSIONS,
        }
        wait = "\nimport otel_mlflow_context.mlflow_client.logged_models as it\nit._PAUSE = 0.1\n"
        run(INSTRUMENT + ASK + wait + "ask('q')\nreport(0)", environment=environment)
    [model] = MlflowClient(server.uri).search_logged_models([experiment_id])
    assert links(traces(server.uri, experiment)) == [model.model_id]


def test_no_call_is_made_in_the_applications_thread(
    run: Any, store: str, environment: dict[str, str]
) -> None:
    names = run(
        INSTRUMENT
        + ASK
        + """
import threading
from otel_mlflow_context.mlflow_client.sdk import internals, versions

names = set()
def recorded(function):
    def call(*arguments, **options):
        names.add(threading.current_thread().name)
        return function(*arguments, **options)
    return call

for name in ("search", "create", "make_ready"):
    setattr(versions.ClientCalls, name, recorded(getattr(versions.ClientCalls, name)))
internals._store = recorded(internals._store)
ask("q")
mlflow.flush_trace_async_logging()
mlflow.tracing.provider.provider.get().force_flush()
report(sorted(names))
""",
        environment=environment,
    )
    assert names == ["otel-mlflow-context-versions"]
    traces, [model] = stored(store)
    assert links(traces) == [model.model_id]


def test_a_forked_process_links_its_traces(
    run: Any, store: str, environment: dict[str, str]
) -> None:
    run(
        INSTRUMENT
        + ASK
        + """
import os
ask("in the parent")
child = os.fork()
if child == 0:
    ask("in the child")
    mlflow.flush_trace_async_logging()
    provider = mlflow.tracing.provider.provider.get()
    provider.force_flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
report(0)
""",
        environment=environment,
    )
    traces, [model] = stored(store)
    assert links(traces) == [model.model_id] * 2


def test_what_the_application_says_wins(run: Any, store: str, environment: dict[str, str]) -> None:
    run(
        INSTRUMENT
        + ASK
        + """
ask("q", model_id="m-1")
with mlflow.start_span("root"):
    mlflow.update_current_trace(metadata={"mlflow.modelId": "m-2"})
mlflow.set_active_model(name="by hand")
ask("q")
report(0)
""",
        environment=environment,
    )
    traces, models = stored(store)
    [by_hand] = [model.model_id for model in models if model.name == "by hand"]
    assert links(traces) == ["m-1", "m-2", by_hand]


@pytest.mark.parametrize("remote", ["https://github.com/acme/app.git", "git@github.com:acme/app"])
@pytest.mark.parametrize("first", [GIT_VERSIONING, ONE_TRACE], ids=["before", "after"])
def test_with_mlflows_git_versioning_there_is_one_model(
    run: Any,
    store: str,
    environment: dict[str, str],
    repository: Path,
    first: str,
    remote: str,
) -> None:
    git(repository, "remote", "set-url", "origin", remote)
    del environment["APP_VERSION"]
    second = ONE_TRACE if first is GIT_VERSIONING else GIT_VERSIONING
    found = [run(program, environment=environment) for program in (first, second)]
    traces, [model] = stored(store)
    assert model.model_id in found
    assert links(traces) == [model.model_id]


def test_traces_that_go_by_otlp_alone_make_no_model(
    run: Any, store: str, environment: dict[str, str], collector: Any
) -> None:
    run(ONE_TRACE, environment={**environment, **collector.environment})
    assert stored(store) == ([], [])


def test_both_ways_are_linked(
    run: Any, store: str, environment: dict[str, str], collector: Any
) -> None:
    for _ in range(2):
        run(TWO_TRACES, environment={**environment, **collector.environment, **DUAL})
    traces, [model] = stored(store)
    assert links(traces) == [model.model_id] * 6
    assert collector.roots[-1]["mlflow.modelId"] == model.model_id


def test_without_it_nothing_is_made(run: Any, store: str) -> None:
    run(ONE_TRACE, environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT})
    traces, models = stored(store)
    assert links(traces) == [None]
    assert models == []
