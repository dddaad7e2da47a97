"""How a server with the plugin is started: what it can be started with, and where it refuses to."""

import os
import shutil

import mlflow
import pytest
import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from packaging.version import Version
from preloaded import run_python
from servers import MlflowServer, free_port

pytestmark = pytest.mark.slow

MLFLOW = Version(mlflow.__version__)
ADMIN = ("admin", "the-admins-password")
ADA = ("ada", "adas-own-password")


def version_of(server, **options):
    """The version of the only trace, as the server says."""
    headers = options.pop("headers", {})
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    answer = requests.post(
        f"{server.uri}/api/3.0/mlflow/traces/search",
        json={"locations": [options.pop("location", location)], "max_results": 10},
        headers=headers,
        timeout=30,
        **options,
    )
    [found] = answer.json()["traces"]
    return found["trace_metadata"]["app_version"]


@pytest.fixture
def spans(service):
    qa = service(**{"service.version": "1.10"})
    qa.tracer.start_span("ask").end()
    return qa.take()


def test_with_mlflow_s_basic_authentication(new_plugin, spans, tmp_path):
    (tmp_path / "auth.ini").write_text(
        f"""[mlflow]
default_permission = READ
database_uri = sqlite:///{tmp_path / "auth.db"}
admin_username = {ADMIN[0]}
admin_password = {ADMIN[1]}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""
    )
    server = new_plugin(
        app=("--app-name", "otel-mlflow-context-basic-auth"),
        MLFLOW_AUTH_CONFIG_PATH=str(tmp_path / "auth.ini"),
        MLFLOW_FLASK_SERVER_SECRET_KEY="of these tests",
    )
    requests.post(
        f"{server.uri}/api/2.0/mlflow/users/create",
        json={"username": ADA[0], "password": ADA[1]},
        auth=ADMIN,
        timeout=30,
    ).raise_for_status()

    def store(auth):
        return requests.post(
            f"{server.uri}/v1/traces",
            data=encode_spans(spans).SerializeToString(),
            headers={
                "x-mlflow-experiment-id": "0",
                "content-type": "application/x-protobuf",
            },
            auth=auth,
            timeout=30,
        ).status_code

    # The plugin stands behind MLflow's own guard, and opens nothing that was closed; the guard of
    # older versions knows nothing of this route.
    guards = Version("3.12") <= MLFLOW
    assert (store(None), store(ADA)) == ((401, 403) if guards else (200, 200))
    assert store(ADMIN) == 200
    assert version_of(server, auth=ADMIN) == "1.10"
    assert requests.get(f"{server.uri}/api/2.0/mlflow/users/get", timeout=30).status_code == 401


@pytest.mark.skipif(Version("3.17") > MLFLOW, reason="leaves the prefix out of its route for OTLP")
def test_with_a_static_prefix(new_plugin, spans):
    server = new_plugin("--static-prefix", "/tracking")
    answer = requests.post(
        f"{server.uri}/v1/traces",
        data=encode_spans(spans).SerializeToString(),
        headers={"x-mlflow-experiment-id": "0", "content-type": "application/x-protobuf"},
        timeout=30,
    )
    assert answer.status_code == 200
    assert version_of(server) == "1.10"
    answer = requests.get(f"{server.uri}/api/3.0/otel-mlflow-context", timeout=10)
    assert answer.status_code == 200


@pytest.mark.skipif(
    not hasattr(mlflow, "create_workspace"),
    reason=f"MLflow {mlflow.__version__} has no workspaces",
)
def test_with_workspaces(new_plugin, spans):
    server = new_plugin("--enable-workspaces")
    mlflow.MlflowClient(server.uri).create_workspace("team-a")
    team = {"X-MLFLOW-WORKSPACE": "team-a"}
    made = requests.post(
        f"{server.uri}/api/2.0/mlflow/experiments/create",
        json={"name": "qa"},
        headers=team,
        timeout=30,
    ).json()["experiment_id"]

    answer = requests.post(
        f"{server.uri}/v1/traces",
        data=encode_spans(spans).SerializeToString(),
        headers={
            **team,
            "x-mlflow-experiment-id": made,
            "content-type": "application/x-protobuf",
        },
        timeout=30,
    )

    assert answer.status_code == 200, answer.text
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": made}}
    assert version_of(server, headers=team, location=location) == "1.10"


def test_the_rest_of_mlflow_is_as_it_was(plugin_sqlite):
    for path in ("/", "/health", "/version", "/api/2.0/mlflow/experiments/get?experiment_id=0"):
        assert requests.get(f"{plugin_sqlite.uri}{path}", timeout=10).status_code == 200, path
    assert "<html" in requests.get(plugin_sqlite.uri, timeout=10).text
    client = mlflow.MlflowClient(plugin_sqlite.uri)
    run = client.create_run("0")
    client.log_metric(run.info.run_id, "m", 1.0)
    client.log_text(run.info.run_id, "content", "note.txt")
    assert client.get_run(run.info.run_id).data.metrics == {"m": 1.0}
    assert [it.path for it in client.list_artifacts(run.info.run_id)] == ["note.txt"]


# --- Where it refuses -----------------------------------------------------------------------------


def refusal(program, **environment):
    ran = run_python("-c", program, env={"PATH": os.environ["PATH"], **environment})
    assert ran.returncode != 0
    return ran.stderr


CREATE = "from otel_mlflow_context.server import create_app\ncreate_app()"


def test_another_version_of_mlflow():
    said = refusal(f"import mlflow\nmlflow.__version__ = '3.5.1'\n{CREATE}")

    assert "UnsupportedMlflowError" in said
    assert "needs MLflow 3.6 or later" in said


@pytest.mark.parametrize(
    "broken",
    [
        "SqlAlchemyStore.log_spans = lambda self, trace: None",
        (
            "from mlflow.store.tracking.dbmodels import models\n"
            "class SqlTraceMetadata:\n    request_id = key = None\n"
            "models.SqlTraceMetadata = SqlTraceMetadata"
        ),
    ],
)
def test_an_mlflow_whose_insides_are_others(empty_store, tmp_path, broken):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    said = refusal(
        "from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore\n"
        "import mlflow.server.handlers\n"
        "import mlflow.server.fastapi_app\n"
        f"{broken}\n{CREATE}",
        _MLFLOW_SERVER_FILE_STORE=f"sqlite:///{tmp_path / 'mlflow.db'}",
        _MLFLOW_SERVER_ARTIFACT_ROOT=str(tmp_path),
    )

    assert "UnsupportedMlflowError" in said
    assert "its store has no" in said


def test_a_store_of_files(tmp_path):
    said = refusal(
        CREATE,
        _MLFLOW_SERVER_FILE_STORE=str(tmp_path / "mlruns"),
        _MLFLOW_SERVER_ARTIFACT_ROOT=str(tmp_path),
        MLFLOW_ALLOW_FILE_STORE="true",
    )

    assert "needs an SQL database" in said


def test_another_server_than_uvicorn(tmp_path, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    server = MlflowServer(
        tmp_path,
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        *("--app-name", "otel-mlflow-context", "--gunicorn-opts", "--log-level info"),
    )
    server.port = free_port()
    with pytest.raises(AssertionError, match="needs uvicorn"):
        server.start()
