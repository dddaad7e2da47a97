"""The examples print what their READMEs show."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest
from documentation.markdown import ROOT

pytestmark = pytest.mark.slow

SERVICE = ROOT / "examples" / "fastapi_service"


@pytest.mark.skipif(os.name != "posix", reason="the example ends its processes by signals")
@pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.instrumentation.fastapi") is None,
    reason="opentelemetry-instrumentation-fastapi is not installed",
)
def test_traces_of_a_service_without_tracing_code_are_found_by_version_session_and_user() -> None:
    result = subprocess.run(
        [sys.executable, SERVICE / "run.py"],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    rows = [
        line.rsplit(maxsplit=1)
        for line in result.stdout.splitlines()
        if line.startswith("metadata.")
    ]
    assert {query: int(count) for query, count in rows} == {
        "metadata.`app_version` = '1.0.0'": 3,
        "metadata.`app_version` = '1.1.0'": 3,
        "metadata.`environment` = 'production'": 6,
        "metadata.`service_name` = 'chat'": 6,
        "metadata.`mlflow.source.name` = 'app:app'": 6,
        "metadata.`mlflow.trace.session` = 's-1'": 4,
        "metadata.`mlflow.trace.session` = 's-2'": 2,
        "metadata.`mlflow.trace.user` = 'grace'": 2,
    }
    assert "opentelemetry" not in (SERVICE / "app.py").read_text()


@pytest.mark.skipif(os.name != "posix", reason="the example ends its processes by signals")
def test_two_services_have_the_session_and_the_vendor_gets_no_baggage() -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "two_services" / "run.py"],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = result.stdout.splitlines()
    found = [line.strip() for line in lines if line.startswith("  session")]
    assert found == [
        "session s-1, user ada: 2 services know the session",
        "session s-1, user ada: 2 services know the session",
        "session s-2, user grace: 2 services know the session",
    ]
    seen = [line for line in lines if "traceparent" in line]
    assert len(seen) == 3
    assert all(re.fullmatch(r"  traceparent: 00-\w+-\w+-\w\w, baggage: None", it) for it in seen)
