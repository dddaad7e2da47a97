"""Whose value wins on a trace of MLflow's SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
from packaging.version import Version
from programs import ASK, DEPLOYMENT, INSTRUMENT, READ, UNIFIED

HAS_CONTEXT = hasattr(mlflow.tracing, "context")
needs_context = pytest.mark.skipif(
    not HAS_CONTEXT, reason=f"MLflow {mlflow.__version__} has no mlflow.tracing.context"
)
UPDATE = 'metadata={"app_version": "mine", "mlflow.trace.session": "mine", "custom": "1"}'


@pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["own-provider", "one-provider"])
def test_what_the_application_updates_wins(run: Any, store: str, mode: dict[str, str]) -> None:
    [trace] = run(
        f"""{INSTRUMENT}{ASK}
with trace_context(session_id="baggage", user_id="ada", request_id="ours"):
    ask("q", {UPDATE}, client_request_id="mine")
{READ}report(read())""",
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT, **mode},
    )
    metadata = trace["metadata"]
    assert metadata["app_version"] == metadata["mlflow.trace.session"] == "mine"
    assert metadata["mlflow.trace.user"] == "ada"
    assert metadata["custom"] == "1"
    assert trace["client_request_id"] == "mine"


def test_what_the_application_updates_wins_at_the_other_end_of_otlp(
    run: Any, collector: Any
) -> None:
    run(
        f"""{INSTRUMENT}{ASK}
with trace_context(session_id="baggage", user_id="ada"):
    ask("q", {UPDATE})
report(None)""",
        environment={**DEPLOYMENT, **collector.environment},
    )
    root = collector.roots[-1]
    assert root["app_version"] == root["session.id"] == "mine"
    assert root["user.id"] == "ada"
    assert root["custom"] == "1"


@needs_context
@pytest.mark.parametrize("mode", [{}, UNIFIED], ids=["own-provider", "one-provider"])
def test_what_mlflows_context_says_wins(run: Any, store: str, mode: dict[str, str]) -> None:
    [trace] = run(
        f"""{INSTRUMENT}{ASK}
with trace_context(session_id="baggage", user_id="ada"):
    with mlflow.tracing.context(session_id="mine", metadata={{"region": "mine", "n": 1}}):
        ask("q")
{READ}report(read())""",
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT, **mode},
    )
    assert trace["metadata"]["mlflow.trace.session"] == "mine"
    assert trace["metadata"]["region"] == "mine"
    assert trace["metadata"]["n"] == "1"
    assert trace["metadata"]["mlflow.trace.user"] == "ada"
    assert trace["root"]["session.id"] == "mine"


@needs_context
def test_what_mlflows_context_says_arrives_by_otlp_too(run: Any, collector: Any) -> None:
    run(
        f"""{INSTRUMENT}{ASK}
with trace_context(session_id="baggage"), mlflow.tracing.context(session_id="7", user="ada"):
    ask("q")
report(None)""",
        environment=collector.environment,
    )
    root = collector.roots[-1]
    assert (root["session.id"], root["user.id"]) == ("7", "ada")


def test_what_mlflow_found_by_itself_loses(run: Any, store: str, repository: Path) -> None:
    """The working directory is another repository, on another branch, than the program's."""
    from git import Repo

    other = repository.parent / "other"
    elsewhere = Repo.init(other, initial_branch="elsewhere")
    (other / "file").write_text("other")
    elsewhere.index.add(["file"])
    elsewhere.index.commit("other")
    Repo(repository).git.checkout("--detach", "-q")
    [trace] = run(
        f"""
import os
os.chdir({str(other)!r})
{INSTRUMENT}{ASK}ask("q")
{READ}report(read())""",
        environment={"MLFLOW_TRACKING_URI": store},
    )
    metadata = trace["metadata"]
    assert metadata["mlflow.source.git.commit"] == Repo(repository).head.commit.hexsha
    # The program's head is detached: the branch of the other repository is none of its own.
    assert "mlflow.source.git.branch" not in metadata
    assert metadata["mlflow.source.name"] == "app.py"


def test_an_empty_string_of_mlflows_is_no_fact(run: Any, store: str, tmp_path: Path) -> None:
    folder = tmp_path / "no repository"
    folder.mkdir()
    [trace] = run(
        f'{INSTRUMENT}{ASK}ask("q")\n{READ}report(read())',
        environment={"MLFLOW_TRACKING_URI": store},
        folder=folder,
    )
    assert not [key for key in trace["metadata"] if key.startswith("mlflow.source.git.")]


def test_the_active_model_is_mlflows_to_say(run: Any, store: str) -> None:
    [trace] = run(
        f"""{INSTRUMENT}{ASK}
model = mlflow.set_active_model(name="mine")
ask("q")
{READ}
[trace] = read()
report([trace["metadata"]["mlflow.modelId"] == model.model_id])""",
        environment={"MLFLOW_TRACKING_URI": store},
    )
    assert trace


def test_a_trace_of_another_process_keeps_its_own_metadata(run: Any, store: str) -> None:
    """The called side of a distributed trace writes attributes, and leaves the trace alone."""
    if Version(mlflow.__version__) < Version("3.9"):
        pytest.skip("MLflow before 3.9 has no set_tracing_context_from_http_request_headers")
    [trace] = run(
        f"""{INSTRUMENT}{ASK}
from mlflow.tracing import (
    get_tracing_context_headers_for_http_request,
    set_tracing_context_from_http_request_headers,
)
with trace_context(session_id="front"), mlflow.start_span("front"):
    headers = get_tracing_context_headers_for_http_request()
    with trace_context(session_id="back"):
        with set_tracing_context_from_http_request_headers(headers):
            ask("q")
{READ}report(read())""",
        environment={"MLFLOW_TRACKING_URI": store, **DEPLOYMENT},
    )
    assert trace["metadata"]["mlflow.trace.session"] == "front"
    entry = next(child for child in trace["children"] if "session.id" in child)
    assert entry["session.id"] == "back"
