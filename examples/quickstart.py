"""Runs two versions of a question-answering function, and searches their traces by metadata.

Needs no server and no key: the traces are stored in SQLite, in a temporary directory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow

from otel_mlflow_context import MlflowContextInstrumentor, detect_resource, trace_context

# --- The application, traced with the MLflow SDK and one line of this package --------------------

KNOWN = {"span": "A named, timed piece of work.", "trace": "A tree of spans."}


@mlflow.trace
def retrieve(word: str) -> str | None:
    return KNOWN.get(word)


@mlflow.trace
def answer(question: str) -> str:
    word = (
        question
        if os.environ["APP_VERSION"] == "1.0.0"
        else question.rsplit(maxsplit=1)[-1].strip("?")
    )
    return retrieve(word) or "I do not know."


def serve() -> None:
    MlflowContextInstrumentor().instrument()
    with trace_context(session_id="s-1", user_id="ada"):
        answer("span")
        answer("What is a trace?")
    with trace_context(session_id="s-2", user_id="grace"):
        answer("What is a span?")


# --- The demonstration: run each version in its own process, then search -------------------------


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder, 'mlflow.db')}"
        for version in ("1.0.0", "1.1.0"):
            print(f"version {version} answers three questions ...", flush=True)
            subprocess.run(
                [sys.executable, __file__, "serve"],
                env={**os.environ, "MLFLOW_TRACKING_URI": uri, "APP_VERSION": version},
                check=True,
            )
        mlflow.set_tracking_uri(uri)
        commit = detect_resource().attributes.get("vcs.ref.head.revision")
        print(f"\n{'search_traces(filter_string=...)':<72}traces  did not know")
        for key, value in (
            ("mlflow.source.git.commit", commit),
            ("app_version", "1.0.0"),
            ("app_version", "1.1.0"),
            ("mlflow.trace.session", "s-1"),
            ("mlflow.trace.user", "grace"),
        ):
            if value is None:
                print(f"{key}: this folder is in no git repository")
                continue
            query = f"metadata.`{key}` = '{value}'"
            traces = mlflow.search_traces(filter_string=query, return_type="list")
            unknown = sum("not know" in (trace.data.response or "") for trace in traces)
            print(f"{query:<72}{len(traces):>6}{unknown:>14}")


if __name__ == "__main__":
    serve() if "serve" in sys.argv else main()
