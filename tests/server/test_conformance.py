"""The same requests to MLflow's server with the plugin and without: the same is stored."""

import mlflow
import pytest
from otlp_corpus import REQUESTS
from packaging.version import Version

MLFLOW = Version(mlflow.__version__)
IS_NEW = "this MLflow takes protobuf only, without parameters of its type or an encoding"
SINCE_3_12 = Version("3.12") <= MLFLOW
DIFFERENCES = {
    "identity": "an encoding that changes nothing; MLflow refuses it",
    **(
        {}
        if SINCE_3_12
        else dict.fromkeys(
            (
                *("JSON", "JSON with a charset", "protobuf with a parameter", "gzip", "GZIP"),
                *("two gzip members", "deflate", "raw deflate", "no value"),
                *("the same key twice", "unknown fields in JSON"),
                *("UTF-16", "large JSON"),
            ),
            IS_NEW,
        )
    ),
}
"""Requests that the plugin takes and MLflow does not, with the reason."""


@pytest.fixture
def ask(server, plugin_sqlite, send, experiment):
    def ask(body, headers):
        answers = []
        for place in (server, plugin_sqlite):
            experiment_id = mlflow.MlflowClient(place.uri).create_experiment(experiment)
            answer = send(place, experiment_id, [], body=body, **headers)
            answers.append((answer, stored(place.uri, experiment_id)))
        return answers

    return ask


def stored(uri, experiment_id):
    """How many traces, and five of them with their spans, or the error of reading them."""
    client = mlflow.MlflowClient(uri)
    found = {}
    infos = client.search_traces([experiment_id], max_results=500, include_spans=False)
    for info in sorted(infos, key=lambda it: it.info.trace_id)[:5]:
        try:
            found[info.info.trace_id] = client.get_trace(info.info.trace_id).data.to_dict()
        except Exception as error:
            found[info.info.trace_id] = type(error).__name__
    return len(infos), found


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_answered_and_stored_as_by_mlflow_itself(ask, name):
    body, headers = REQUESTS[name]

    (before, stored_before), (after, stored_after) = ask(body, headers)

    if name in DIFFERENCES and before.status_code >= 400:
        assert after.status_code == 200
    else:
        assert after.status_code == before.status_code, after.text
        assert stored_after == stored_before or name in DIFFERENCES
        if before.status_code >= 400:
            assert after.text == before.text
