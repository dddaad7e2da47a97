"""What does it cost to compare two versions, beside a loop over all their traces?

100,000 traces of two versions in an MLflow store, in SQLite. In turns, each in a process of its
own: `compare_versions`; the loop that MLflow's documentation writes, over `mlflow.search_traces`;
and the same over the client's largest pages.
"""

import json
import random
import tempfile
import time
from pathlib import Path

import mlflow
from _processes import measure
from _tables import progress, table
from mlflow.store.tracking.dbmodels import models
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import insert

OURS = "compare_versions"
LOOP = "loop over mlflow.search_traces"
PAGES = "the same, 500 traces a page"
VERSIONS = ("1.0.0", "1.1.0")

_WEEK_MS = 7 * 86_400_000
_ROWS = 20_000
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
_WAYS = {OURS: _OURS, LOOP: _LOOP, PAGES: _PAGES}


def run(*, quick: bool = False) -> str:
    """Measure, and return the table."""
    traces = 2_000 if quick else 100_000
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
    results = {name: runs[0] for name, runs in printed.items()}
    if len({tuple(it["p50"]) for it in results.values()}) > 1:
        raise RuntimeError(f"the ways do not agree: {results}")
    ours = results[OURS]
    return table(
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
