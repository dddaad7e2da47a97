"""Credentials of MLflow's plugins, file and variables, beside those of MLflow's own client."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from opentelemetry.sdk.trace.export import SpanExportResult
from packaging.version import Version
from servers import Front

from otel_mlflow_context import MlflowSpanExporter
from otel_mlflow_context.mlflow_client.http import credentials
from otel_mlflow_context.mlflow_client.http.credentials import TrackingCredentials
from otel_mlflow_context.mlflow_client.http.errors import ServerUnavailable

PLUGIN = '''
"""A plugin of MLflow for a proxy that asks for two tokens, the second of which expires."""

import os
from pathlib import Path

from requests.auth import AuthBase


class ProxyHeaders:
    def in_context(self):
        return "PROXY_TOKEN" in os.environ

    def request_headers(self):
        return {"X-Proxy-Token": os.environ["PROXY_TOKEN"]}


class Elsewhere:
    def in_context(self):
        return False

    def request_headers(self):
        raise AssertionError


class CorporateLogin:
    def get_name(self):
        return "corporate"

    def get_auth(self):
        return Bearer(Path(os.environ["TOKEN_FILE"]).read_text())


class Bearer(AuthBase):
    def __init__(self, token):
        self.token = token

    def __call__(self, request):
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request
'''

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "corporate-login"
version = "1"
[project.entry-points."mlflow.request_header_provider"]
proxy = "corporate_login:ProxyHeaders"
elsewhere = "corporate_login:Elsewhere"
[project.entry-points."mlflow.request_auth_provider"]
corporate = "corporate_login:CorporateLogin"
"""

EXPORT = """
import sys
sys.modules["mlflow"] = None
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter

provider = TracerProvider()
resource = Resource({"service.name": "qa", "service.version": "1.10"})
provider.add_span_processor(MlflowContextSpanProcessor(resource))
provider.add_span_processor(BatchSpanProcessor(MlflowSpanExporter(timeout=30)))
for _ in range(3):
    provider.get_tracer("qa").start_span("ask").end()
provider.shutdown()
"""
CLIENT = "import mlflow; mlflow.search_experiments()"

CLI = ("-m", "otel_mlflow_context.cli")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package that was installed from its wheel."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "corporate_login.py").write_text(PLUGIN)
    target = folder / "installed"
    python = (sys.executable, "-m")
    subprocess.run([*python, "hatchling", "build", "--target", "wheel"], cwd=folder, check=True)
    [wheel] = (folder / "dist").iterdir()
    subprocess.run(
        [*python, "pip", "install", "-q", "--no-index", "--no-deps", "--target", target, wheel],
        check=True,
    )
    return target


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(plugin: Path, front: Front, experiment: str, tmp_path: Path) -> Run:
    """Runs `python` where the plugin is installed, and asserts that it shows no secret."""
    token = tmp_path / "token"
    token.write_text("secret-of-the-login")

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "PYTHONPATH": str(plugin),
                "MLFLOW_TRACKING_URI": front.uri,
                "MLFLOW_EXPERIMENT_NAME": experiment,
                "MLFLOW_TRACKING_AUTH": "corporate",
                "PROXY_TOKEN": "secret-of-the-proxy",
                "TOKEN_FILE": str(token),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "secret-of" not in result.stdout + result.stderr
        return result

    return run


def credentials_seen(front: Front) -> set[tuple[str | None, str | None]]:
    return {(it.get("X-Proxy-Token"), it.get("Authorization")) for it in front.headers}


def test_a_plugins_credentials_are_in_all_calls_as_in_those_of_mlflows_client(
    front: Front, run: Run, traces: Any, experiment: str
) -> None:
    assert run("-c", CLIENT).returncode == 0
    assert front.headers
    expected = {("secret-of-the-proxy", "Bearer secret-of-the-login")}
    assert credentials_seen(front) == expected
    commands = [
        ("-c", EXPORT),
        (*CLI, "verify"),
        (*CLI, "backfill"),
        (*CLI, "compare", "--baseline", "1.10"),
        (*CLI, "history"),
    ]
    for command in commands:
        front.headers.clear()
        result = run(*command)
        assert front.headers, result.stderr
        assert credentials_seen(front) == expected, command
    assert len(traces(front.uri, experiment)) >= 3


def test_a_token_that_has_expired_is_asked_for_again(
    front: Front, run: Run, traces: Any, experiment: str, tmp_path: Path
) -> None:
    """Where the token changes at the server and at the provider at the same time."""
    refused = []

    def answer(method: str, path: str) -> int | None:
        if path == "/v1/traces" and not refused:
            (tmp_path / "token").write_text("secret-of-tomorrow")
        if front.headers[-1]["Authorization"] != f"Bearer {(tmp_path / 'token').read_text()}":
            refused.append(path)
            return 401
        return None

    front.answer = answer
    result = run("-c", EXPORT)
    assert (result.returncode, result.stderr) == (0, "")
    assert refused == ["/v1/traces"]
    front.answer = lambda *_: None
    stored = traces(front.uri, experiment)
    assert [it.info.trace_metadata["app_version"] for it in stored] == ["1.10"] * 3


def test_a_token_that_cannot_be_had_costs_one_log_record(run: Run, front: Front) -> None:
    program = EXPORT.replace("timeout=30", "timeout=1")
    result = run("-c", program, TOKEN_FILE="/no such file")
    assert result.returncode == 0
    [line] = result.stderr.splitlines()
    assert "the request auth provider 'corporate' (MLFLOW_TRACKING_AUTH) failed" in line
    assert "FileNotFoundError" in line
    assert not front.headers


def test_an_auth_provider_that_is_not_installed_costs_one_log_record(
    run: Run, front: Front
) -> None:
    result = run("-c", EXPORT, MLFLOW_TRACKING_AUTH="corprate")
    [line] = result.stderr.splitlines()
    assert "MLFLOW_TRACKING_AUTH: no package that is installed has the request auth" in line
    assert "'corprate'" in line
    assert credentials_seen(front) == {("secret-of-the-proxy", None)}


# --- In this process ---------------------------------------------------------------------------


def sent(environ: dict[str, str]) -> dict[str, str]:
    request = requests.Request("POST", "http://mlflow.example/v1/traces", data=b"spans").prepare()
    TrackingCredentials(environ).add_to(request)
    return dict(request.headers)


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs request header providers."""

    class EntryPoint:
        def __init__(self, provider: Any) -> None:
            self.load = lambda: lambda: provider

    def install(*installed: Any) -> None:
        found = {"mlflow.request_header_provider": [EntryPoint(it) for it in installed]}
        monkeypatch.setattr(credentials, "entry_points", lambda group: found.get(group, []))

    return install


class Provider:
    def __init__(self, headers: Any) -> None:
        self.headers = headers

    def in_context(self) -> bool:
        return True

    def request_headers(self) -> Any:
        if isinstance(self.headers, Exception):
            raise self.headers
        return self.headers


def test_a_provider_that_fails_is_logged_once_without_its_secret_and_others_are_asked(
    providers: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    providers(Provider(ValueError("secret")), Provider({"X-A": "1"}), Provider({"X-A": "2"}))
    used = TrackingCredentials({})
    for _ in range(3):
        request = requests.Request("GET", "http://mlflow.example").prepare()
        used.add_to(request)
        assert request.headers["X-A"] == "1 2"  # as MLflow joins them
    [record] = caplog.records
    assert record.getMessage() == "the request header provider Provider failed: ValueError"


def test_a_header_that_is_not_valid_is_named_without_its_value(
    providers: Callable[..., None],
    front: Front,
    recorded: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    providers(Provider({"X-Token": "secret\nX-Admin: true"}))
    with pytest.raises(ServerUnavailable, match="the value of header 'X-Token' is not valid"):
        sent({})
    recorded.trace()
    exporter = MlflowSpanExporter(front.uri, timeout=1)
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    assert "header 'X-Token'" in caplog.text
    assert "secret" not in caplog.text
    assert not front.headers


def test_credentials_that_a_server_quotes_are_not_logged(
    providers: Callable[..., None],
    front: Front,
    recorded: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    providers(Provider({"X-Token": "secret-1"}))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-2")
    front.answer = lambda *_: (403, str(front.headers[-1]).encode())
    recorded.trace()
    exporter = MlflowSpanExporter(front.uri, timeout=5)
    assert exporter.export(recorded.take()) is SpanExportResult.FAILURE
    assert "***" in caplog.text
    assert "secret-" not in caplog.text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"MLFLOW_TRACKING_USERNAME": "zoë", "MLFLOW_TRACKING_PASSWORD": "€5"},
            {"Authorization": "Basic em/Dqzrigqw1"},
        ),
        (
            {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_TOKEN": "t"},
            {"Authorization": "Bearer t"},
        ),
    ],
)
def test_variables_are_sent_as_mlflows_client_sends_them(
    variables: dict[str, str],
    expected: dict[str, str],
    front: Front,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert expected.items() <= sent(variables).items()
    mlflow.MlflowClient(front.uri).search_experiments()
    assert expected.items() <= front.headers[-1].items()


def test_a_token_of_a_file_has_the_end_of_its_line() -> None:
    assert sent({"MLFLOW_TRACKING_TOKEN": " t\n"})["Authorization"] == "Bearer t"


def test_the_file_of_mlflow_is_read_and_variables_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".mlflow" / "credentials"
    file.parent.mkdir()
    file.write_text("[mlflow]\nmlflow_tracking_username = ada\nmlflow_tracking_password = 5%\n")
    assert sent({})["Authorization"] == requests.auth._basic_auth_str("ada", "5%")
    variables = {"MLFLOW_TRACKING_PASSWORD": "other"}
    assert sent(variables)["Authorization"] == requests.auth._basic_auth_str("ada", "other")
    file.write_text("mlflow_tracking_password = secret")
    assert "Authorization" not in sent({})
    [record] = caplog.records
    assert record.getMessage().endswith("credentials cannot be read: MissingSectionHeaderError")


def test_requests_are_signed_for_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key-of-the-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    headers = sent({"MLFLOW_TRACKING_AWS_SIGV4": "true", "MLFLOW_TRACKING_TOKEN": "t"})
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=key-of-the-test/")
    assert "/eu-west-1/execute-api/aws4_request" in headers["Authorization"]


def test_the_package_that_signs_for_aws_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "requests_auth_aws_sigv4", None)
    monkeypatch.setenv("MLFLOW_TRACKING_AWS_SIGV4", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    assert MlflowSpanExporter().export([]) is SpanExportResult.FAILURE
    [record] = caplog.records
    assert "pip install requests-auth-aws-sigv4" in record.getMessage()


@pytest.mark.skipif(
    Version(mlflow.__version__) < Version("3.17"),
    reason=f"MLflow {mlflow.__version__} has no request auth provider for Kubernetes",
)
def test_mlflows_own_provider_for_kubernetes_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ServerUnavailable, match=r"'kubernetes' .* failed: MlflowException"):
        sent({"MLFLOW_TRACKING_AUTH": "kubernetes"})
    assert not [it for it in caplog.records if it.levelno >= logging.WARNING]
