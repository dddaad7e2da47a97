"""The three detectors together: once a process, and never in the application's way."""

import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_mlflow_context import detectors
from otel_mlflow_context.detectors import detect_resource
from otel_mlflow_context.settings import environment_variables


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    for name in vars(environment_variables):
        monkeypatch.delenv(name, raising=False)
    detect_resource.cache_clear()
    yield
    detect_resource.cache_clear()


class Broken(ResourceDetector):
    def detect(self):
        raise RuntimeError("no luck")


def test_the_facts_of_all_detectors_are_there_and_no_defaults(monkeypatch, shop, git):
    monkeypatch.chdir(shop)
    monkeypatch.setattr(sys, "orig_argv", ["python", "app/main.py"])
    monkeypatch.setenv("APP_VERSION", "1.2")

    attributes = detect_resource().attributes

    assert attributes["vcs.ref.head.revision"] == git(shop, "rev-parse", "HEAD")
    assert attributes["mlflow.source.name"] == "app/main.py"
    assert attributes["service.version"] == "1.2"
    assert not any(key.startswith("telemetry.") for key in attributes)
    assert "service.name" not in attributes


def test_otel_resource_attributes_stand_above_all_detectors(monkeypatch, shop):
    monkeypatch.chdir(shop)
    said = {"vcs.ref.head.revision": "r", "mlflow.source.name": "n", "service.version": "v"}
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES", ",".join(f"{key}={value}" for key, value in said.items())
    )

    assert said.items() <= dict(detect_resource().attributes).items()


def test_detection_happens_once_a_process(monkeypatch):
    first = detect_resource()
    monkeypatch.setenv("APP_VERSION", "2")

    assert detect_resource() is first


def test_a_forked_process_has_the_facts_of_its_parent():
    code = """if True:
        import os
        from otel_mlflow_context.detectors import detect_resource
        before = detect_resource()
        child = os.fork()
        if child == 0:
            os.environ["APP_VERSION"] = "2"
            os._exit(0 if detect_resource() is before else 1)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


def test_a_detector_that_fails_is_logged_once_and_the_others_count(monkeypatch, caplog):
    monkeypatch.setattr(detectors, "_DETECTORS", (Broken, *detectors._DETECTORS[1:]))
    monkeypatch.setenv("APP_VERSION", "1")

    for _ in range(2):
        assert detect_resource().attributes["service.version"] == "1"

    (record,) = [record for record in caplog.records if record.name == detectors.__name__]
    assert "Broken" in record.getMessage()


def test_it_is_a_plain_resource_that_others_can_be_merged_with():
    resource = detect_resource().merge(Resource({"service.name": "a"}))

    assert resource.attributes["service.name"] == "a"
    assert resource.schema_url == ""


def test_the_detectors_load_nothing_that_a_traced_program_does_not_need():
    code = """if True:
        import opentelemetry.sdk.trace, sys
        before = set(sys.modules)
        import otel_mlflow_context.detectors
        loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
        assert not loaded & {"git", "mlflow", "requests", "asyncio", "email"}, loaded
        assert "importlib.metadata" not in sys.modules
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
