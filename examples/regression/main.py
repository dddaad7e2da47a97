"""Is the new version worse, why, and since which commit? 2,500 traces, and the answer.

Needs git, but no server and no key: the traces go to SQLite in a temporary folder, and their
commits to a repository beside it. The last version is slower, fails more, and its answers are
helpful less often: it reranks ten documents, which are too many for the model. With a file as its
argument, the report with pictures goes there, and with a second one that of the history.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mlflow.entities import AssessmentSource, Feedback, Span, TraceInfo, TraceLocation, TraceState
from mlflow.tracing.client import TracingClient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from otel_mlflow_context.compare import compare_versions, version_history

TRACES = 2_000
DAYS = 7
VERSIONS = {
    # The median of the latency in milliseconds, how often an answer is an error, and helpful.
    "1.0.0": (420, 0.02, 0.9),
    "1.1.0": (500, 0.05, 0.75),
}
JUDGED = 0.3
OLDER = {
    # What ran before, as good as the first of the two: how many traces, and how many days ago.
    "0.8.0": (250, 21),
    "0.9.0": (250, 14),
}
SUBJECTS = {
    "Answer questions": "0.8.0",
    "Show the sources of an answer": "0.9.0",
    "Log the questions": "1.0.0",
    "Ask for ten documents in place of five": None,
    "Rerank all documents": None,
    "Add a page on privacy": "1.1.0",
}
"""The commits, the oldest first, and the version that each was released as."""
DEFAULT_EXPERIMENT = "0"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder, 'mlflow.db')}"
        repository = Path(folder, "app")
        print("writing 2,500 traces ...", flush=True)
        write_traces(uri, make_repository(repository))
        found = compare_versions(
            baseline="1.0.0", candidate="1.1.0", explain=True, tracking_uri=uri
        )
        print(f"\n{found.as_text()}")
        history = version_history(
            "commit", bisect=True, repository=repository, sample=2_000, tracking_uri=uri
        )
        print(f"\n{history.as_text(width=120)}")
        for file, result in zip(sys.argv[1:], (found, history), strict=False):
            Path(file).write_text(result.as_html(), encoding="utf-8")


def make_repository(folder: Path) -> dict[str, str]:
    """Make a repository with the commits; returns the commit of each version."""
    who = {f"GIT_{it}": "ada@example.com" for it in ("AUTHOR_EMAIL", "COMMITTER_EMAIL")}
    who |= {f"GIT_{it}": "Ada" for it in ("AUTHOR_NAME", "COMMITTER_NAME")}
    # So that the ids are the same each time.
    who |= {f"GIT_{it}": "2026-11-01T12:00:00Z" for it in ("AUTHOR_DATE", "COMMITTER_DATE")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull}

    def git(*arguments: str) -> str:
        result = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return result.stdout.strip()

    folder.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    git("remote", "add", "origin", "git@github.com:acme/qa.git")
    commits = {}
    for subject, version in SUBJECTS.items():
        Path(folder, "CHANGES").write_text(f"{subject}\n", encoding="utf-8")
        git("add", "CHANGES")
        git("commit", "--quiet", f"--message={subject}")
        if version is not None:
            commits[version] = git("rev-parse", "HEAD")
    return commits


def write_traces(uri: str, commits: dict[str, str]) -> None:
    """Write what a week of both versions leaves behind, and the weeks before, into MLflow's store.

    An application's traces come from MLflow's SDK or from OpenTelemetry, and their version and
    commit from this package; here they are made up, so that there are many, and the same each time.
    """
    store = TracingClient(uri).store
    dice, users, causes = (random.Random(20261124 + number) for number in range(3))
    now = datetime.now(timezone.utc)
    found: list[Span] = []
    for number in range(TRACES):
        version = dice.choice(list(VERSIONS))
        time = now - timedelta(days=dice.uniform(0, DAYS))
        info = store.start_trace(trace(version, commits[version], time, number, dice, users))
        found += spans(version, info, causes)
    store.log_spans(DEFAULT_EXPERIMENT, found)  # of many traces at once: MLflow 3.12 and later
    for version, (count, days) in OLDER.items():
        for number in range(count):
            time = now - timedelta(days=days - users.uniform(0, DAYS))
            store.start_trace(trace(version, commits[version], time, number, users, users))


def trace(
    version: str,
    commit: str,
    time: datetime,
    number: int,
    dice: random.Random,
    users: random.Random,
) -> TraceInfo:
    """A trace of a version."""
    median, errors, helpful = VERSIONS.get(version, VERSIONS["1.0.0"])
    tokens = round(dice.lognormvariate(6, 0.4))
    trace_id = f"tr-{dice.getrandbits(128):032x}"
    return TraceInfo(
        trace_id=trace_id,
        trace_location=TraceLocation.from_experiment_id(DEFAULT_EXPERIMENT),
        request_time=int(time.timestamp() * 1_000),
        execution_duration=round(median * dice.lognormvariate(0, 0.45)),
        state=TraceState.ERROR if dice.random() < errors else TraceState.OK,
        trace_metadata={
            "app_version": version,
            "mlflow.source.git.commit": commit,
            "mlflow.trace.session": f"s-{number // 4}",
            "mlflow.trace.user": f"u-{dice.randrange(300)}",
            "mlflow.trace.tokenUsage": json.dumps({"total_tokens": tokens}),
            "mlflow.trace.cost": json.dumps({"total_cost": tokens * 2e-6}),
        },
        tags={"mlflow.traceName": "answer"},
        assessments=[
            Feedback(
                name="helpful",
                value=users.random() < helpful,
                source=AssessmentSource("HUMAN", "user"),
                trace_id=trace_id,
            )
        ]
        if users.random() < JUDGED
        else [],
    )


def spans(version: str, info: TraceInfo, dice: random.Random) -> list[Span]:
    """The spans of a trace: the new version reranks more documents, which the model cannot take."""
    start, end = info.request_time, info.request_time + info.execution_duration
    own = round(info.execution_duration * VERSIONS["1.0.0"][0] / VERSIONS[version][0])
    steps = [("retrieve", round(own * dice.uniform(0.2, 0.3)))]
    if version == "1.1.0":
        steps.append(("rerank", info.execution_duration - own))
    failed = info.state is TraceState.ERROR
    is_new = failed and version == "1.1.0" and dice.random() < 0.6
    error = (
        ("ContextLengthExceeded", f"{dice.randrange(8_200, 14_000)} tokens are more than 8192")
        if is_new
        else ("TimeoutError", "no answer within 30 s")
    )
    root = span(info, 1, "answer", start, end, failed=failed)
    found = [root]
    for number, (name, duration) in enumerate(steps, start=2):
        found.append(span(info, number, name, start, start + duration, parent=root))
        start += duration
    found.append(span(info, 9, "generate", start, end, parent=root, failed=failed, error=error))
    return [Span(it) for it in found]


def span(
    info: TraceInfo,
    span_id: int,
    name: str,
    start: int,
    end: int,
    *,
    parent: ReadableSpan | None = None,
    failed: bool = False,
    error: tuple[str, str] | None = None,
) -> ReadableSpan:
    """A span that has ended, from one time in milliseconds to another."""
    trace_id = int(info.trace_id.removeprefix("tr-"), 16)
    exception = {"exception.type": error[0], "exception.message": error[1]} if error else {}
    return ReadableSpan(
        name,
        context=SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1)),
        parent=parent.context if parent else None,
        resource=Resource.get_empty(),
        attributes={"mlflow.traceRequestId": json.dumps(info.trace_id)},
        events=[Event("exception", exception, end * 1_000_000)] if failed and error else (),
        status=Status(StatusCode.ERROR if failed else StatusCode.OK),
        start_time=start * 1_000_000,
        end_time=end * 1_000_000,
    )


if __name__ == "__main__":
    main()
