"""The numbers of versions as metrics of their LoggedModels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlflow import MlflowClient
from versions import Row, rows_of, write

# Of MLflow's search for models in a store, with the newest SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


@pytest.fixture
def models(written: str, experiment: str) -> dict[str, str]:
    """The models of two versions with traces, and another's that has another experiment."""
    client = MlflowClient(written)
    experiment_id = client.create_experiment(experiment)
    models = {
        version: client.create_logged_model(of, f"shop-{version}").model_id
        for version, of in {"1": experiment_id, "2": experiment_id, "foreign": "0"}.items()
    }
    rows = [
        row
        for version, model in models.items()
        for row in rows_of(
            version,
            30,
            latency_ms=100 if version == "1" else 900,
            cost=0.25,
            state="OK",
            metadata=(("mlflow.modelId", model), ("environment", "production")),
        )
    ]
    rows += [
        Row(
            "1",
            hours_ago=hours,
            metadata=(
                ("mlflow.modelId", models["1"]),
                ("environment", "staging"),
                ("deployment_id", deployment),
            ),
        )
        for hours, deployment in ((90, "d-1"), (80, "d-2"), (70, "d-3"))
    ]
    rows += rows_of("not linked", 5)
    rows += rows_of("two", 5, metadata=(("mlflow.modelId", "m-1"),))
    rows += rows_of("two", 5, seed=2, metadata=(("mlflow.modelId", "m-2"),))
    rows += [Row("1", state="ERROR", metadata=(("mlflow.modelId", models["1"]),))] * 11
    write(written, rows, experiment)
    return models


def metrics_of(uri: str, model_id: str) -> dict[str, float]:
    found = MlflowClient(uri).get_logged_model(model_id)
    return {metric.key: metric.value for metric in found.metrics or ()}


def test_each_model_gets_its_numbers_and_the_verdict(
    command: Any, uri: str, written: str, experiment: str, models: dict[str, str]
) -> None:
    options = ("--baseline", "1", "--experiment", experiment, "--log", "--format", "json")
    status, out, _ = command(uri, *options, "--since", "7d")
    found = json.loads(out)
    assert status == 0
    assert metrics_of(written, models["1"]) == pytest.approx(
        {
            "error_rate": 0.25,
            "latency_ms/p50": 100,
            "latency_ms/p90": 100,
            "latency_ms/p99": 100,
            "tokens/mean": found["groups"][0]["tokens"],
            "cost/mean": 0.25,
        }
    )
    assert metrics_of(written, models["2"])["latency_ms/p50"] == pytest.approx(900)
    client = MlflowClient(written)
    tags = [client.get_logged_model(models[it]).tags for it in ("1", "2")]
    assert "otel_mlflow_context.verdict" not in tags[0]
    assert tags[0]["otel_mlflow_context.environments"] == "production, staging"
    assert tags[0]["otel_mlflow_context.first_deployment"] == "d-1"
    assert tags[0]["otel_mlflow_context.last_deployment"] == "d-3"
    assert tags[1]["otel_mlflow_context.environments"] == "production"
    assert tags[1]["otel_mlflow_context.verdict"] == "worse beside 1"
    # The run tells of which traces they are.
    [run] = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params.keys() == {"by", "since"}
    assert f"by the run {run.info.run_id}" in " ".join(found["notes"])


def test_what_is_not_certain_is_left_out(
    command: Any, written: str, experiment: str, models: dict[str, str]
) -> None:
    options = ("--baseline", "1", "--experiment", experiment, "--log")
    _, out, _ = command(written, *options)
    text = " ".join(out.split())
    assert "the traces of 'not linked' are not linked to a LoggedModel" in text
    assert "the traces of 'two' are linked to more than one LoggedModel" in text
    assert "which is no LoggedModel of the experiment" in text
    assert "Logged to 2 LoggedModels" in text
    assert metrics_of(written, models["foreign"]) == {}


def test_a_history_logs_its_versions(
    command: Any, server: Any, written: str, experiment: str, models: dict[str, str]
) -> None:
    options = ("--experiment", experiment, "--log")
    status, _, complaints = command(server.uri, *options, subcommand="history")
    assert (status, complaints.count("Traceback")) == (0, 0)
    assert metrics_of(written, models["2"])["error_rate"] == 0


def test_who_may_not_write_gets_a_message(
    command: Any, front: Any, experiment: str, models: dict[str, str]
) -> None:
    front.answer = lambda _, path: 403 if path.endswith("runs/create") else None
    options = ("--baseline", "1", "--candidate", "2", "--experiment", experiment, "--log")
    status, _, complaint = command(front.uri, *options)
    assert status == 2
    assert "EDIT permission" in complaint
    assert metrics_of(front.uri, models["1"]) == {}


def test_without_it_nothing_is_written(
    command: Any, front: Any, experiment: str, models: dict[str, str]
) -> None:
    options = ("--baseline", "1", "--candidate", "2", "--experiment", experiment)
    status, _, _ = command(front.uri, *options)
    assert status == 0
    assert {path.rsplit("/", 1)[-1] for method, path in front.seen if method != "GET"} <= {
        *("search", "metrics")
    }
    assert metrics_of(front.uri, models["1"]) == {}
