"""With basic authentication: whoever may not edit an experiment changes nothing of it."""

import os
import time

import mlflow
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp import HAS_REMOTE_PARENT, otlp_request
from packaging.version import Version

from otel_mlflow_context.semconv import METADATA_KEYS

MLFLOW = Version(mlflow.__version__)
ADMIN = ("admin", "the-admins-password")
ADA = ("ada", "adas-own-password")
BOB = ("bob", "bobs-own-password")


@pytest.fixture(scope="module")
def uri(module_plugin, tmp_path_factory):
    """A server with basic authentication, and two users."""
    folder = tmp_path_factory.mktemp("auth")
    (folder / "auth.ini").write_text(
        f"""[mlflow]
default_permission = READ
database_uri = sqlite:///{folder / "auth.db"}
admin_username = {ADMIN[0]}
admin_password = {ADMIN[1]}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""
    )
    uri = module_plugin(
        app=("--app-name", "otel-mlflow-context-basic-auth"),
        MLFLOW_AUTH_CONFIG_PATH=str(folder / "auth.ini"),
        MLFLOW_FLASK_SERVER_SECRET_KEY="of these tests",
    ).uri
    for name, password in (ADA, BOB):
        requests.post(
            f"{uri}/api/2.0/mlflow/users/create",
            json={"username": name, "password": password},
            auth=ADMIN,
            timeout=30,
        ).raise_for_status()
    return uri


@pytest.fixture
def server(uri, experiment):
    return Server(uri, experiment)


class Server:
    """A server with basic authentication, where Ada and Bob have an experiment each."""

    def __init__(self, uri, experiment):
        self.uri = uri
        self.experiments = {
            who: self.call(who, "2.0/mlflow/experiments/create", name=f"{experiment} {who[0]}")[
                "experiment_id"
            ]
            for who in (ADA, BOB)
        }

    def call(self, who, path, **body):
        answer = requests.post(f"{self.uri}/api/{path}", json=body, auth=who, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def send(self, who, request, experiment_id=None, **headers):
        return requests.post(
            f"{self.uri}/v1/traces",
            data=request.SerializeToString(),
            headers={
                "x-mlflow-experiment-id": experiment_id or self.experiments[who],
                "content-type": "application/x-protobuf",
                **{key.replace("_", "-"): value for key, value in headers.items()},
            },
            auth=who,
            timeout=30,
        )

    def traces(self, who):
        """All that can be read of the traces of somebody's experiment."""
        location = {"mlflow_experiment": {"experiment_id": self.experiments[who]}}
        found = self.call(
            ADMIN,
            "3.0/mlflow/traces/search",
            locations=[{"type": "MLFLOW_EXPERIMENT", **location}],
            max_results=100,
        )
        return {
            info["trace_id"]: (info, self.spans(info["trace_id"]))
            for info in found.get("traces", ())
        }

    def spans(self, trace_id):
        answer = requests.get(
            f"{self.uri}/api/3.0/mlflow/traces/get",
            params={"trace_id": trace_id, "allow_partial": "true"},
            auth=ADMIN,
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json()["trace"].get("spans", [])

    def linked(self, run_id, who):
        """The traces of somebody's experiment that are linked with a run."""
        location = {"mlflow_experiment": {"experiment_id": self.experiments[who]}}
        found = self.call(
            ADMIN,
            "3.0/mlflow/traces/search",
            locations=[{"type": "MLFLOW_EXPERIMENT", **location}],
            filter=f"attributes.run_id = '{run_id}'",
        )
        return [it["trace_id"] for it in found.get("traces", ())]


pytestmark = pytest.mark.skipif(
    Version("3.12") > MLFLOW, reason="MLflow before 3.12 authorises no spans"
)
EVIL = {"service.version": "evil"}
LIES = {
    "a root": {},
    "an earlier root": {"start_time_unix_nano": 1},
    "an entry span": {"parent_span_id": b"p" * 8, "flags": HAS_REMOTE_PARENT},
    "a child": {"parent_span_id": b"p" * 8, "flags": 0x100},
    "the victim's span": {"span_id": b"v" * 8},
    "with metadata": {"attributes": {METADATA_KEYS: "tenant", "tenant": "evil"}},
    "with tags": {"attributes": {"mlflow.traceTag.evil": "evil"}},
    "with a session": {"attributes": {"session.id": "evil", "user.id": "evil"}},
    "with tokens": {
        "attributes": {"mlflow.chat.tokenUsage": '{"input_tokens": 1, "output_tokens": 1}'}
    },
}


def test_whoever_may_not_edit_an_experiment_changes_nothing_of_it(server):
    victim = os.urandom(16)
    span = {"trace_id": victim, "span_id": b"v" * 8}
    assert server.send(ADA, otlp_request(span, **{"service.version": "1"})).status_code == 200
    before = server.traces(ADA)

    for name, lie in LIES.items():
        evil = {"trace_id": victim, **lie}
        own = os.urandom(16)
        for spans in ([evil], [{"trace_id": own}, evil]):
            answer = server.send(BOB, otlp_request(*spans, **EVIL))
            if len(spans) == 1:
                assert answer.status_code == 403, name
            else:
                assert answer.status_code == 200, name
                partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
                assert partial.rejected_spans == 1
                assert f"tr-{victim.hex()}" in partial.error_message
            assert server.traces(ADA) == before, name
        assert f"tr-{own.hex()}" in server.traces(BOB)
        for headers in (
            {"user_agent": "mlflow-python-client/3.17.2"},
            {"x_mlflow_run_id": "0" * 32},
        ):
            answer = server.send(BOB, otlp_request(evil, **EVIL), **headers)
            assert answer.status_code == 403, (name, headers)
            assert server.traces(ADA) == before, (name, headers)
    answer = server.send(BOB, otlp_request({}, **EVIL), server.experiments[ADA])
    assert answer.status_code == 403  # as MLflow has it
    assert server.traces(ADA) == before


def test_whoever_may_edit_both_experiments_continues_a_trace(server):
    trace_id = os.urandom(16)
    assert server.send(ADA, otlp_request({"trace_id": trace_id})).status_code == 200
    child = {"trace_id": trace_id, "parent_span_id": b"p" * 8, "flags": 0x100}

    answer = server.send(ADMIN, otlp_request(child, {}), server.experiments[BOB])

    assert answer.status_code == 200
    assert not ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans
    [(_, spans)] = server.traces(ADA).values()
    assert len(spans) == 2
    assert len(server.traces(BOB)) == 1


@pytest.mark.skipif(Version("3.13") > MLFLOW, reason="MLflow before 3.13 links no run by a header")
def test_a_run_of_another_experiment_gets_no_traces(server):
    runs = {
        who: server.call(who, "2.0/mlflow/runs/create", experiment_id=server.experiments[who])
        for who in (ADA, BOB)
    }
    ids = {who: run["run"]["info"]["run_id"] for who, run in runs.items()}
    linked = {}
    for who, run_id in ids.items():
        trace_id = os.urandom(16)
        answer = server.send(BOB, otlp_request({"trace_id": trace_id}), x_mlflow_run_id=run_id)
        assert answer.status_code == 200
        linked[who] = server.linked(run_id, BOB)

    assert linked[ADA] == []
    assert linked[BOB] == [f"tr-{trace_id.hex()}"]


@pytest.mark.skipif(
    not hasattr(mlflow, "create_workspace"),
    reason=f"MLflow {mlflow.__version__} has no workspaces",
)
def test_a_trace_of_another_workspace_is_left_alone(new_plugin):
    server = new_plugin("--enable-workspaces")
    ids = {}
    for name in ("team-a", "team-b"):
        mlflow.MlflowClient(server.uri).create_workspace(name)
        ids[name] = requests.post(
            f"{server.uri}/api/2.0/mlflow/experiments/create",
            json={"name": "qa"},
            headers={"X-MLFLOW-WORKSPACE": name},
            timeout=30,
        ).json()["experiment_id"]

    def send(workspace, experiment_id, *spans, **resource):
        return requests.post(
            f"{server.uri}/v1/traces",
            data=otlp_request(*spans, **resource).SerializeToString(),
            headers={
                "X-MLFLOW-WORKSPACE": workspace,
                "x-mlflow-experiment-id": experiment_id,
                "content-type": "application/x-protobuf",
            },
            timeout=60,
        ).status_code

    def trace():
        location = {"mlflow_experiment": {"experiment_id": ids["team-a"]}}
        answer = requests.post(
            f"{server.uri}/api/3.0/mlflow/traces/search",
            json={"locations": [{"type": "MLFLOW_EXPERIMENT", **location}]},
            headers={"X-MLFLOW-WORKSPACE": "team-a"},
            timeout=30,
        )
        [found] = answer.json()["traces"]
        return found

    victim = {"trace_id": os.urandom(16)}
    assert send("team-a", ids["team-a"], victim, **{"service.version": "1"}) == 200
    before = trace()
    for workspace, experiment_id in (("team-b", ids["team-b"]), ("team-b", ids["team-a"])):
        for lie in LIES.values():
            began = time.monotonic()
            send(workspace, experiment_id, {**victim, **lie}, **EVIL)
            assert time.monotonic() - began < 10
            assert trace() == before, (workspace, lie)
    # Here it is MLflow that lets its own workspace's trace have more spans.
    send("team-a", ids["team-b"], victim, **EVIL)
    assert trace()["trace_metadata"] == before["trace_metadata"]
