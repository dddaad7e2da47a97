"""What does it cost to compare two versions, beside a loop over all their traces?

100,000 traces of two versions in an MLflow store, in SQLite. In turns, each in a process of its
own: `compare_versions`; the loop that MLflow's documentation writes, over `mlflow.search_traces`;
and the same over the client's largest pages. Then, with 350,000 spans and 60,000 assessments
added, the command `compare --explain`.
"""

import base64
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import mlflow
from _processes import measure
from _tables import progress, table
from mlflow.store.tracking.dbmodels import models
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import insert, select

OURS = "compare_versions"
LOOP = "loop over mlflow.search_traces"
PAGES = "the same, 500 traces a page"
EXPLAIN = "compare --explain"
VERSIONS = ("1.0.0", "1.1.0")

_WEEK_MS = 7 * 86_400_000
_ROWS = 20_000
_JUDGED = 0.3
"""The share of traces that have an assessment, of each of two."""
_GOOD = 0.8
_REPORT = """
import json, resource, time
from pathlib import Path
began = time.perf_counter()
{code}
seconds = time.perf_counter() - began
status = Path("/proc/self/status")
if status.exists():  # getrusage of a process counts its parent's memory on Linux
    [kb] = [it.split()[1] for it in status.read_text().splitlines() if it.startswith("VmHWM")]
    mb = int(kb) / 1024
else:
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({{"seconds": seconds, "mb": mb, "p50": p50}}))
"""
# Imports count: a command pays for them each time.
_OURS = """
from otel_mlflow_context.compare import compare_versions
found = compare_versions(baseline="1.0.0", candidate="1.1.0")
p50 = [group.latency.p50 for group in found.groups]
"""
_LOOP = """
import mlflow
p50 = []
for version in ("1.0.0", "1.1.0"):
    traces = mlflow.search_traces(
        locations=["0"],
        filter_string=f"metadata.app_version = '{version}'",
        include_spans=False,
    )
    (traces["state"] == "ERROR").mean()
    p50.append(float(traces["execution_duration"].quantile([0.5, 0.9, 0.99]).iloc[0]))
"""
_PAGES = """
import mlflow, pandas
client, p50 = mlflow.MlflowClient(), []
for version in ("1.0.0", "1.1.0"):
    rows, token = [], None
    while True:
        page = client.search_traces(
            locations=["0"], filter_string=f"metadata.app_version = '{version}'",
            max_results=500, page_token=token, include_spans=False,
        )
        rows += [(it.info.state, it.info.execution_duration) for it in page]
        token = page.token
        if not token:
            break
    traces = pandas.DataFrame(rows, columns=["state", "execution_duration"])
    (traces["state"] == "ERROR").mean()
    p50.append(float(traces["execution_duration"].quantile([0.5, 0.9, 0.99]).iloc[0]))
"""
_EXPLAIN = """
import contextlib, io
from otel_mlflow_context.cli import main
arguments = ["compare", "--baseline", "1.0.0", "--candidate", "1.1.0", "--explain"]
with contextlib.redirect_stdout(io.StringIO()) as printed:
    status = main(arguments)
if status or "Why: 1.1.0" not in printed.getvalue():
    raise SystemExit(f"status {status}: {printed.getvalue()}")
p50 = None
"""
_WAYS = {OURS: _OURS, LOOP: _LOOP, PAGES: _PAGES}


def run(*, quick: bool = False) -> str:
    """Measure, and return the table."""
    traces = 500 if quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder, 'mlflow.db')}"
        progress(f"compare: writing {traces:,} traces")
        write_traces(uri, traces)
        printed = measure(
            {name: ["-c", _REPORT.format(code=code)] for name, code in _WAYS.items()},
            1,
            warm_up=False,
            environment={name: {"MLFLOW_TRACKING_URI": uri} for name in _WAYS},
            folder=Path(folder),
        )
        progress("compare: writing spans and assessments")
        spans, assessments = write_spans(uri)
        explained = measure(
            {EXPLAIN: ["-c", _REPORT.format(code=_EXPLAIN)]},
            1,
            warm_up=False,
            environment={EXPLAIN: {"MLFLOW_TRACKING_URI": uri}},
            folder=Path(folder),
        )
    results = {name: runs[0] for name, runs in printed.items()}
    if len({tuple(it["p50"]) for it in results.values()}) > 1:
        raise RuntimeError(f"the ways do not agree: {results}")
    ours = results[OURS]
    described = table(
        f"Two versions of {traces // 2:,} traces each in SQLite, imports included",
        ("", "seconds", "/ ours", "peak MB", "goal"),
        [
            (
                name,
                f"{it['seconds']:.1f}",
                f"{it['seconds'] / ours['seconds']:.1f}",
                f"{it['mb']:.0f}",
                {OURS: "< 300 MB", LOOP: ">= 10 / ours"}.get(name, ""),
            )
            for name, it in results.items()
        ],
        f"MLflow {mlflow.__version__}; in each the medians of the latency are the same.",
    )
    [it] = explained[EXPLAIN]
    return f"{described}\n" + table(
        f"The same with {spans:,} spans and {assessments:,} assessments",
        ("", "seconds", "peak MB", "goal"),
        [(EXPLAIN, f"{it['seconds']:.1f}", f"{it['mb']:.0f}", "< 15 s, < 350 MB")],
        "Imports included, as a user of the command waits for it.",
    )


def write_traces(uri: str, count: int) -> None:
    """Write traces as MLflow's store does, in few transactions: rows of its own classes."""
    store = SqlAlchemyStore(uri, tempfile.gettempdir())
    dice = random.Random(1)
    now = int(time.time() * 1000)
    promoted = hasattr(models.SqlTraceInfo, "total_tokens")
    for first in range(0, count, _ROWS):
        infos, metadata = [], []
        for number in range(first, min(first + _ROWS, count)):
            trace_id = f"tr-{dice.getrandbits(128):032x}"
            second = number % 2
            tokens, session = dice.randrange(100, 1_000), f"s-{number // 5}"
            info = {
                "request_id": trace_id,
                "experiment_id": 0,
                "timestamp_ms": now - dice.randrange(_WEEK_MS),
                "execution_time_ms": int(dice.lognormvariate(6, 0.5) * (1.05 if second else 1)),
                "status": "ERROR" if dice.random() < (0.03 if second else 0.02) else "OK",
                "request_preview": "What is a span?",
                "response_preview": "A named, timed piece of work.",
            }
            known = {
                "app_version": VERSIONS[second],
                "environment": "production",
                "mlflow.source.git.commit": "9f1c3aa2b7d04e5f8a6c1d2e3f405162738495a6",
                "mlflow.source.name": "qa/service.py",
                "mlflow.trace.user": f"u-{dice.randrange(1_000)}",
                "mlflow.trace_schema.version": "3",
            }
            if promoted:  # MLflow 3.13 and later: columns of their own
                info |= {"session_id": session, "total_tokens": tokens, "total_cost": tokens / 1e6}
            else:
                known["mlflow.trace.session"] = session
                known["mlflow.trace.tokenUsage"] = json.dumps({"total_tokens": tokens})
            infos.append(info)
            metadata += [
                {"request_id": trace_id, "key": key, "value": value} for key, value in known.items()
            ]
        with store.ManagedSessionMaker() as session:
            session.execute(insert(models.SqlTraceInfo), infos)
            session.execute(insert(models.SqlTraceMetadata), metadata)


def write_spans(uri: str) -> tuple[int, int]:
    """Add spans and assessments to all traces, in the same way; returns how many of each.

    Three spans a trace, and four of the second version; each assessment is of three traces in ten.
    """
    store = SqlAlchemyStore(uri, tempfile.gettempdir())
    dice = random.Random(2)
    counts = [0, 0]
    with store.ManagedSessionMaker() as session:
        infos = models.SqlTraceInfo
        columns = (infos.request_id, infos.timestamp_ms, infos.execution_time_ms, infos.status)
        versions = select(models.SqlTraceMetadata.request_id).where(
            models.SqlTraceMetadata.key == "app_version",
            models.SqlTraceMetadata.value == VERSIONS[1],
        )
        second = set(session.scalars(versions))
        traces = session.execute(select(*columns).order_by(infos.request_id)).all()
    for first in range(0, len(traces), _ROWS):
        spans, assessments, tags = [], [], []
        for trace_id, start_ms, duration_ms, status in traces[first : first + _ROWS]:
            names = ("retrieve", "rerank", "generate")
            if trace_id not in second:
                names = ("retrieve", "generate")
            spans += _spans(trace_id, start_ms, duration_ms, status, names, dice)
            assessments += _assessments(trace_id, start_ms, dice)
            tag = {"key": "mlflow.trace.spansLocation", "value": "TRACKING_STORE"}
            tags.append({"request_id": trace_id, **tag})
        counts = [counts[0] + len(spans), counts[1] + len(assessments)]
        with store.ManagedSessionMaker() as session:
            session.execute(insert(models.SqlSpan), spans)
            session.execute(insert(models.SqlAssessments), assessments)
            session.execute(insert(models.SqlTraceTag), tags)
    return counts[0], counts[1]


def _spans(
    trace_id: str,
    start_ms: int,
    duration_ms: int,
    status: str,
    names: Sequence[str],
    dice: random.Random,
) -> list[dict]:
    """The rows of the spans of a trace: those of the names, one after another, under the root."""
    weights = [dice.uniform(0.5, 1.5) * (4 if name == "generate" else 1) for name in names]
    end_ms = start_ms + duration_ms
    parts, at = [("answer", start_ms, end_ms)], start_ms
    for name, weight in zip(names, weights, strict=True):
        until = end_ms if name == "generate" else at + int(duration_ms * weight / sum(weights))
        parts.append((name, at, until))
        at = until
    tokens = dice.randrange(100, 1_000)
    usage = {
        "mlflow.llm.model": "gpt-5",
        "mlflow.chat.tokenUsage": {"total_tokens": tokens},
        "mlflow.llm.cost": {"total_cost": tokens / 1e6},
    }
    rows = []
    for number, (name, start, end) in enumerate(parts, start=1):
        code = status if name in {"answer", "generate"} else "OK"
        parent = 1 if number > 1 else None
        exception = {"exception.type": "TimeoutError", "exception.message": "no answer within 30 s"}
        event = {"name": "exception", "time_unix_nano": end * 1_000_000, "attributes": exception}
        attributes = {"mlflow.traceRequestId": trace_id, **(usage if name == "generate" else {})}
        row = {
            "name": name,
            "start_time_unix_nano": start * 1_000_000,
            "end_time_unix_nano": end * 1_000_000,
        }
        content = {
            "trace_id": base64.b64encode(bytes.fromhex(trace_id.removeprefix("tr-"))).decode(),
            "span_id": _encoded(number),
            "parent_span_id": parent and _encoded(parent),
            **row,
            "events": [event] if code == "ERROR" and name == "generate" else [],
            "status": {"code": f"STATUS_CODE_{code}", "message": ""},
            "attributes": {key: json.dumps(value) for key, value in attributes.items()},
            "links": [],
        }
        rows.append(
            {
                **row,
                "trace_id": trace_id,
                "experiment_id": 0,
                "span_id": f"{number:016x}",
                "parent_span_id": parent and f"{parent:016x}",
                "status": code,
                "content": json.dumps(content),
            }
        )
    return rows


def _encoded(number: int) -> str:
    return base64.b64encode(number.to_bytes(8, "big")).decode()


def _assessments(trace_id: str, time_ms: int, dice: random.Random) -> list[dict]:
    """The rows of the assessments of a trace: of a user and of a judge."""
    rows = []
    for name, kind in (("helpful", "HUMAN"), ("correct", "LLM_JUDGE")):
        if dice.random() < _JUDGED:
            value = dice.random() < _GOOD
            row = {
                "assessment_id": f"a-{dice.getrandbits(128):032x}",
                "trace_id": trace_id,
                "name": name,
                "assessment_type": "feedback",
                "value": json.dumps(value),
                "created_timestamp": time_ms,
                "last_updated_timestamp": time_ms,
                "source_type": kind,
                "source_id": name,
                "valid": True,
            }
            if hasattr(models.SqlAssessments, "aggregate_value"):  # MLflow 3.13 and later
                row |= {"experiment_id": 0, "trace_timestamp_ms": time_ms}
                row |= {"aggregate_value": float(value), "is_numeric_value": False}
            rows.append(row)
    return rows
