"""Services that are not in Python, and a Collector, in front of a server with the plugin."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from collector import Relay
from mlflow import MlflowClient
from servers import free_port

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "node_service"
COMMIT = "9f1c3aa2b7d04e5f8a6c1d2e3f405162738495a6"


def blocks(page):
    return re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture(scope="session")
def node_service(tmp_path_factory):
    """The example with what it needs, installed."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm (Debian's packages nodejs and npm) are not installed")
    folder = tmp_path_factory.mktemp("node") / "node_service"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    ran = subprocess.run(
        ["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return folder


def linked_version(server, found):
    """The name of the one LoggedModel that traces are linked to."""
    [model_id] = {it.info.trace_metadata["mlflow.modelId"] for it in found}
    return MlflowClient(server.uri).get_logged_model(model_id).name


def test_a_service_in_javascript(
    node_service, plugin_with_versions, new_experiment, experiment, traces
):
    plugin = plugin_with_versions
    port = free_port()
    setup = blocks(EXAMPLE / "README.md")[1]
    setup = setup.replace("http://127.0.0.1:5000", plugin.uri)
    setup = setup.replace("$(git rev-parse HEAD)", COMMIT)
    setup = setup.replace("experiment-id=0", f"experiment-id={new_experiment(plugin)}")
    setup = setup.replace("npm ci\n", "").replace("npm start", "exec node main.js")
    service = subprocess.Popen(
        ["bash", "-ec", setup],
        cwd=node_service,
        env={"PATH": os.environ["PATH"], "PORT": str(port)},
        stdout=subprocess.DEVNULL,
    )
    try:
        for number in range(20):
            assert ask(port, number).startswith("Nobody knows")
    finally:
        service.terminate()
        service.wait(timeout=30)

    expected = {
        "app_version": "1.4.0",
        "environment": "production",
        "service_name": "answers",
        "mlflow.source.git.commit": COMMIT,
        "mlflow.trace.session": "s-1",
        "mlflow.trace.user": "ada",
    }
    for key, value in expected.items():
        found = traces(plugin.uri, experiment, f"metadata.`{key}` = '{value}'")
        assert len(found) == 20, key
    assert linked_version(plugin, found) == "answers-1_4_0"
    assert {len(it.data.spans) for it in found} == {2}
    assert {it.info.state.value for it in found} == {"OK"}
    roots = [span for it in found for span in it.data.spans if span.parent_id is None]
    asked = {str(span.inputs) for span in roots}  # MLflow 3.6 leaves it as JSON
    assert len(asked) == 20
    assert any('"why 19"' in it.replace("'", '"') for it in asked)


def ask(port, number):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/?question=why%20{number}",
        headers={"X-Session-ID": "s-1", "X-User-ID": "ada"},
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_the_lock_file_names_no_place_and_the_readme_no_other_command():
    assert '"resolved"' not in (EXAMPLE / "package-lock.json").read_text()
    server, setup, question = blocks(EXAMPLE / "README.md")
    assert server.startswith("mlflow server --app-name otel-mlflow-context ")
    assert setup.splitlines()[0] == "npm ci"
    assert question.startswith("curl ")


def test_by_way_of_a_collector_all_facts_are_metadata(
    plugin_with_versions, new_experiment, experiment, traces, tmp_path
):
    plugin = plugin_with_versions
    environment = {
        "MLFLOW_TRACKING_URI": plugin.uri,
        "MLFLOW_EXPERIMENT_ID": new_experiment(plugin),
    }
    with Relay(environment) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        subprocess.run(
            [sys.executable, ROOT / "examples" / "collector" / "app.py"],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{relay.server_port}",
                "OTEL_SERVICE_NAME": "qa",
                "APP_VERSION": "1.10",
                "APP_ENVIRONMENT": "production",
            },
            check=True,
            timeout=60,
        )
        relay.send_on()
        relay.shutdown()

    [found] = traces(plugin.uri, experiment, "client_request_id = 'r-1'")
    assert linked_version(plugin, [found]) in ("qa-1_10", "qa-1_10-dirty")  # as this checkout is
    assert (
        found.info.trace_metadata.items()
        >= {
            "app_version": "1.10",
            "environment": "production",
            "service_name": "qa",
            "mlflow.trace.session": "s-1",
            "mlflow.trace.user": "ada",
        }.items()
    )


def test_the_page_s_commands(plugin_sqlite, new_experiment, experiment):
    start, _, with_users, backfill = blocks(ROOT / "docs" / "server.md")
    apps = {it.name for it in entry_points(group="mlflow.app")}
    assert {command.split("--app-name ")[1].split()[0] for command in (start, with_users)} <= apps
    new_experiment(plugin_sqlite)
    command = backfill.replace("http://127.0.0.1:5000", plugin_sqlite.uri)
    ran = subprocess.run(
        ["sh", "-ec", command.replace("--experiment Default", f"--experiment '{experiment}'")],
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout == "0 traces, 0 to change\n"
