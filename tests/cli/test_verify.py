"""What `otel-mlflow-context verify` says of an environment, run as people run it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from command_line import checked, run_command
from conftest import ROOT, clean_environment

KNOWN = {
    "APP_VERSION": "1.10",
    "APP_ENVIRONMENT": "production",
    "DEPLOYMENT_ID": "7",
    "REGION": "eu-west-1",
    "OTEL_SERVICE_NAME": "qa",
    "OTEL_RESOURCE_ATTRIBUTES": "vcs.ref.head.revision=c0ffee,tenant=acme",
    "OTEL_MLFLOW_CONTEXT_METADATA_KEYS": "tenant,shard",
}
ARRIVED = {
    "mlflow.source.git.commit": "c0ffee",
    "app_version": "1.10",
    "environment": "production",
    "deployment_id": "7",
    "region": "eu-west-1",
    "service_name": "qa",
    "tenant": "acme",
    "mlflow.trace.session": "otel-mlflow-context verify",
    "mlflow.trace.user": "otel-mlflow-context verify",
}
Command = subprocess.CompletedProcess[str]


def command(*arguments: str, **environment: str) -> Command:
    """The command in a new process, as people run it."""
    return checked(
        subprocess.run(
            [sys.executable, "-m", "otel_mlflow_context.cli", *arguments],
            env=clean_environment(**({"PYTHONPATH": str(ROOT)} | environment)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    )


def verify(uri: str, *arguments: str, **environment: str) -> Command:
    variables = {"MLFLOW_TRACKING_URI": uri, **KNOWN, **environment}
    return run_command("verify", "--timeout", "5", *arguments, **variables)


# --- A server that takes it ------------------------------------------------------------------


def test_every_fact_that_is_known_has_a_line_that_says_it_arrived(
    server: Any, experiment: str
) -> None:
    result = verify(server.uri, MLFLOW_EXPERIMENT_NAME=experiment)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for key, value in ARRIVED.items():
        assert [line for line in lines if line.endswith(f"{key} arrived: {value}")], (key, lines)
    assert "shard shard not known" in lines
    assert "change change_id not known" in lines
    assert f"server {server.uri}" in lines
    assert "health 1 spans sent, 1 traces' metadata sent" in lines


def test_the_result_as_json_is_all_that_stands_on_stdout(
    server: Any, experiment: str, traces: Any
) -> None:
    result = verify(server.uri, "--json", MLFLOW_EXPERIMENT_NAME=experiment)
    answer = json.loads(result.stdout)
    assert answer.keys() == {"ok", "server", "trace_id", "problem", "facts"}
    assert (answer["ok"], answer["server"], answer["problem"]) == (True, server.uri, None)
    assert all(fact.keys() == {"name", "key", "sent", "arrived"} for fact in answer["facts"])
    sent = {fact["key"]: fact["sent"] for fact in answer["facts"]}
    assert sent.items() >= (ARRIVED | {"shard": None, "change_id": None}).items()
    assert sent == {fact["key"]: fact["arrived"] for fact in answer["facts"]}
    [stored] = traces(server.uri, experiment)
    assert stored.info.trace_id == answer["trace_id"]
    assert [span.name for span in stored.data.spans] == ["otel-mlflow-context verify"]
    assert stored.info.trace_metadata.items() >= ARRIVED.items()


def test_an_experiment_id_that_is_not_there_is_named(server: Any) -> None:
    result = verify(server.uri, "--json", MLFLOW_EXPERIMENT_ID="987654321")
    assert result.returncode == 1
    assert "MLFLOW_EXPERIMENT_ID=987654321 is no experiment" in result.stderr
    assert json.loads(result.stdout)["trace_id"] is None


def test_a_deleted_experiment_is_no_place_for_traces(server: Any, experiment: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    client.delete_experiment(client.create_experiment(experiment))
    result = verify(server.uri, MLFLOW_EXPERIMENT_NAME=experiment)
    assert result.returncode == 1
    assert f"experiment {experiment!r} is deleted" in result.stderr
    assert "restore" in result.stderr


# --- No server -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "is not set"),
        ("sqlite:///mlflow.db", "is 'sqlite:///mlflow.db'"),
        ("./mlruns", "is './mlruns'"),
    ],
)
def test_what_is_no_servers_address_is_said(uri: str, said: str) -> None:
    result = verify(uri)
    assert result.returncode == 1
    assert f"MLFLOW_TRACKING_URI {said}: set it to the http(s) address" in result.stderr
    assert "NOT SENT: 1.10" in result.stdout


def test_nobody_answers() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"
        result = verify(uri, "--timeout", "2", "--json")
    assert result.returncode == 1
    answer = json.loads(result.stdout)
    assert (answer["ok"], answer["server"], answer["trace_id"]) == (False, uri, None)
    assert "nobody answers" in answer["problem"]
    assert "MLFLOW_TRACKING_URI" in answer["problem"]


# --- A server that refuses -------------------------------------------------------------------

Answer = tuple[int, Any]
FOUND = {"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}


class Stub:
    """A server that answers what the test says, on a real socket, and quotes who asks."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str], Answer] = lambda method, path: (403, "no")
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = stub.answer(self.command, self.path)
                if status >= 400:
                    body = f"{body} {self.headers.get('Authorization')}"
                text = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        for method in ("GET", "POST", "PATCH"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.uri = f"http://{self.address}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


def with_experiment(rest: Callable[[str, str], Answer]) -> Callable[[str, str], Answer]:
    return lambda method, path: (200, FOUND) if "/experiments/" in path else rest(method, path)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, "EDIT permission on the experiment"),
        (404, "this is no MLflow server's address"),
    ],
)
def test_a_server_that_refuses_everything(stub: Stub, status: int, said: str) -> None:
    stub.answer = lambda method, path: (status, "no")
    result = verify(stub.uri)
    assert result.returncode == 1
    assert said in result.stderr


def test_a_login_page_is_no_mlflow(stub: Stub) -> None:
    stub.answer = lambda method, path: (200, "<html>Please log in</html>")
    result = verify(stub.uri)
    assert result.returncode == 1
    assert "a login page or a redirect" in result.stderr


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_is_too_old_for_otlp(stub: Stub, status: int) -> None:
    stub.answer = with_experiment(lambda method, path: (status, "no"))
    result = verify(stub.uri)
    assert result.returncode == 1
    assert "older than MLflow 3.6, upgrade it" in result.stderr


def test_one_who_may_read_but_not_send(stub: Stub) -> None:
    stub.answer = with_experiment(lambda method, path: (403, "no"))
    result = verify(stub.uri)
    assert result.returncode == 1
    assert "the trace is not stored: no permission (403" in result.stderr
    assert "trace   none is stored" in result.stdout
    assert "health  1 spans dropped (403)" in result.stdout


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "no permission (403"),
        (405, "a proxy must let PATCH"),
        (503, "nobody answers there in time (503"),
    ],
)
def test_metadata_that_is_not_taken_beside_spans_that_are_stored(
    stub: Stub, status: int, said: str
) -> None:
    def answer(method: str, path: str) -> Answer:
        if path == "/v1/traces":
            return 200, ""
        if method == "GET" and "/mlflow/traces/" in path:
            # Session and user MLflow takes from the spans themselves.
            metadata = {key: ARRIVED[key] for key in ARRIVED if key.startswith("mlflow.trace.")}
            return 200, {"trace": {"trace_info": {"trace_metadata": metadata}}}
        return status, "no"

    stub.answer = with_experiment(answer)
    result = verify(stub.uri, "--json", "--timeout", "2")
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert found["trace_id"].startswith("tr-")
    assert "the spans are stored, but not their metadata" in found["problem"]
    assert said in found["problem"]
    arrived = {fact["key"]: fact["arrived"] for fact in found["facts"]}
    assert arrived["mlflow.trace.session"] == ARRIVED["mlflow.trace.session"]
    assert arrived["app_version"] is None


def test_a_fact_that_did_not_arrive_or_not_as_it_was_sent_has_a_line(stub: Stub) -> None:
    stored = {"trace": {"trace_info": {"trace_metadata": {"environment": "staging"}}}}
    stub.answer = with_experiment(lambda method, path: (200, stored if method == "GET" else ""))
    result = verify(stub.uri)
    assert result.returncode == 1
    assert "MISSING: 1.10" in result.stdout
    assert "DIFFERS: production, arrived as staging" in result.stdout
    assert "not all their metadata" in result.stderr


def test_a_trace_that_nobody_can_read_back(stub: Stub) -> None:
    stub.answer = with_experiment(
        lambda method, path: (404, "no") if method == "GET" else (200, {})
    )
    result = verify(stub.uri)
    assert result.returncode == 1
    assert "the server took the trace but does not have it" in result.stderr


# --- Credentials, settings, usage ------------------------------------------------------------


@pytest.mark.parametrize(
    ("user_info", "environment"),
    [
        ("", {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "hunter2-secret"}),
        ("", {"MLFLOW_TRACKING_TOKEN": "hunter2-secret"}),
        ("ada:hunter2-secret@", {}),
        ("ada:hunter2%2Dsecret@", {}),
    ],
)
def test_credentials_are_not_printed_though_the_server_quotes_them(
    stub: Stub, user_info: str, environment: dict[str, str]
) -> None:
    result = verify(f"http://{user_info}{stub.address}", "--json", **environment)
    assert result.returncode == 1
    printed = result.stdout + result.stderr
    assert "hunter2" not in printed
    assert "YWRhOmh1bnRlcjItc2VjcmV0" not in printed  # the same as Basic says it
    assert "***" in printed  # what the server quoted was there to be hidden
    assert stub.uri in printed


@pytest.mark.parametrize("password", ["hunter2-secret", "hunter2/se@cret"])
def test_the_password_of_a_database_is_not_printed(password: str) -> None:
    result = verify(f"postgresql://ada:{password}@db/mlflow")
    assert "'postgresql://db/mlflow'" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    assert "cret" not in result.stdout + result.stderr


def test_credentials_in_a_fact_are_not_printed() -> None:
    url = "https://ada:hunter2@github.com/acme/app"
    result = verify("", OTEL_RESOURCE_ATTRIBUTES=f"vcs.repository.url.full={url}")
    assert "https://github.com/acme/app" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr


def test_otlp_headers_that_are_malformed_are_not_printed(stub: Stub) -> None:
    stub.answer = with_experiment(lambda method, path: (403, "no"))
    result = verify(stub.uri, OTEL_EXPORTER_OTLP_HEADERS="authorization Bearer hunter2")
    assert result.returncode == 1
    assert "hunter2" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_off")]
)
def test_an_environment_that_sends_nothing_is_said(stub: Stub, name: str, value: str) -> None:
    result = verify(stub.uri, **{name: value})
    assert result.returncode == 1
    assert name in result.stderr
    assert "nothing is sent from here" in result.stderr


def test_facts_that_the_span_has_no_place_for_are_not_overlooked(stub: Stub) -> None:
    result = verify(stub.uri, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="4")
    assert result.returncode == 1
    assert "facts find no place on the root span: raise OTEL_SPAN_ATTR" in result.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
        {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/no/such/file"},
        {"MLFLOW_TRACKING_URI": "http://[broken"},
    ],
)
def test_what_is_malformed_in_the_environment_is_a_problem_and_no_traceback(
    stub: Stub, environment: dict[str, str]
) -> None:
    uri = environment.pop("MLFLOW_TRACKING_URI", stub.uri.replace("http:", "https:"))
    result = verify(uri, "--json", "--timeout", "2", **environment)
    assert result.returncode == 1
    assert json.loads(result.stdout)["problem"]


@pytest.mark.parametrize(
    "arguments", [(), ("verfiy",), ("verify", "--yaml"), ("verify", "--timeout", "-1")]
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    result = command(*arguments)
    assert result.returncode == 2
    assert "usage: otel-mlflow-context" in result.stderr
    assert not result.stdout


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "requests.py").write_text("raise ImportError('no requests here')")
    result = command("verify", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 2
    assert "pip install 'otel-mlflow-context[otlp]'" in result.stderr
    assert not result.stdout


def test_help_and_version() -> None:
    help_ = command("verify", "--help")
    assert help_.returncode == 0
    assert "otel-mlflow-context verify\n" in help_.stdout
    assert "exit status: 0 when" in help_.stdout
    version = command("--version")
    assert version.returncode == 0
    assert version.stdout.startswith("otel-mlflow-context ")
