"""`update_trace_context` in traces of MLflow's SDK, and their way to another service."""

from __future__ import annotations

from typing import Any

import mlflow
import pytest
from packaging.version import Version
from programs import INSTRUMENT, READ, UNIFIED

MODES = pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["P1", "P2"])

LOGIN = """
import asyncio, mlflow
from opentelemetry import baggage
from otel_mlflow_context import trace_context, update_trace_context

def login(user):
    update_trace_context(user_id=user, session_id=f"s-{user}", request_id=f"r-{user}",
                         metadata={"plan": "free"})

@mlflow.trace
def nested(user):
    login(user)

@mlflow.trace
async def task(user):
    login(user)
"""


def said(trace: dict[str, Any]) -> tuple[Any, ...]:
    names = ("mlflow.trace.user", "mlflow.trace.session", "plan")
    return (*(trace["metadata"].get(name) for name in names), trace["client_request_id"])


ADA = ("ada", "s-ada", "free", "r-ada")


@MODES
@pytest.mark.parametrize("how", ["directly", "nested", "in a task"])
def test_the_trace_has_what_is_said_inside_of_it(
    run: Any, store: str, mode: dict[str, str], how: str
) -> None:
    call = {
        "directly": "login(user)",
        "nested": "nested(user)",
        "in a task": "await asyncio.create_task(task(user))",
    }[how]
    traces = run(
        f"""
{INSTRUMENT}{LOGIN}
@mlflow.trace
async def ask(user):
    {call}
    return 1

with trace_context(user_id="guest", metadata={{"plan": "none"}}):
    asyncio.run(ask("ada"))
{READ}
report(read())
""",
        environment={"MLFLOW_TRACKING_URI": store, **mode},
    )
    assert said(traces[-1]) == ADA
    root = traces[-1]["root"]
    assert (root["user.id"], root["session.id"], root["plan"]) == ("ada", "s-ada", "free")
    assert not any("user.id" in child for child in traces[-1]["children"])


@MODES
def test_the_next_trace_of_the_thread_knows_nothing_of_it(
    run: Any, store: str, mode: dict[str, str]
) -> None:
    first, second, left = run(
        f"""
{INSTRUMENT}{LOGIN}
@mlflow.trace
def ask(user):
    if user:
        login(user)

ask("ada")
ask(None)
{READ}
report([*read(), dict(baggage.get_all())])
""",
        environment={"MLFLOW_TRACKING_URI": store, **mode},
    )
    assert said(first) == ADA
    assert said(second) == (None, None, None, None)
    assert left == {}


def test_what_is_sent_by_otlp_has_it(run: Any, collector: Any) -> None:
    run(
        f"""
{INSTRUMENT}{LOGIN}
@mlflow.trace
def ask(user):
    nested(user)
ask("1.10")
report(None)
""",
        environment=collector.environment,
    )
    root = collector.roots[-1]
    assert (root["user.id"], root["session.id"], root["plan"]) == ("1.10", "s-1.10", "free")


@MODES
@pytest.mark.skipif(
    Version(mlflow.__version__) < Version("3.9"),
    reason="MLflow's SDK before 3.9 has no distributed tracing",
)
def test_another_service_is_part_of_the_trace_and_knows_who_asks(
    run: Any, store: str, mode: dict[str, str]
) -> None:
    service = """
from http.server import BaseHTTPRequestHandler, HTTPServer
import threading, urllib.request
from otel_mlflow_context.propagators import incoming_headers, outgoing_headers
seen = []

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with incoming_headers(dict(self.headers)), mlflow.start_span("service") as span:
            seen.append([span.trace_id, dict(baggage.get_all()), dict(self.headers)])
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
"""
    ask = """
def call(host):
    url = f"http://{host}:{server.server_port}/"
    urllib.request.urlopen(urllib.request.Request(url, headers=outgoing_headers(url))).close()

@mlflow.trace
def ask(user):
    nested(user)
    call("127.0.0.1")
    import os
    from otel_mlflow_context import settings
    settings.override(trusted_hosts="api.internal")
    call("127.0.0.1")
    return mlflow.get_active_trace_id()
"""
    trace_id, seen = run(
        f"{INSTRUMENT}{LOGIN}{service}{ask}\nreport([ask('ada'), seen])",
        environment={"MLFLOW_TRACKING_URI": store, **mode},
    )
    assert [it[0] for it in seen] == [trace_id, trace_id]
    assert seen[0][1] == {
        "user.id": "ada",
        "session.id": "s-ada",
        "mlflow.client_request_id": "r-ada",
    }
    assert seen[1][1] == {}
    assert "baggage" not in {name.lower() for name in seen[1][2]}
