"""Is the new version worse? 2,000 traces of two versions, and the answer.

Needs no server and no key: the traces go to SQLite in a temporary folder. The second version is
slower, fails more, and its answers are helpful less often. With a file as its argument, the report
with pictures goes there.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mlflow.entities import AssessmentSource, Feedback, TraceInfo, TraceLocation, TraceState
from mlflow.tracing.client import TracingClient

from otel_mlflow_context.compare import compare_versions

TRACES = 2_000
DAYS = 7
VERSIONS = {
    # The median of the latency in milliseconds, how often an answer is an error, and helpful.
    "1.0.0": (420, 0.02, 0.9),
    "1.1.0": (500, 0.05, 0.75),
}
JUDGED = 0.3
DEFAULT_EXPERIMENT = "0"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder, 'mlflow.db')}"
        print(f"writing {TRACES:,} traces ...", flush=True)
        write_traces(uri)
        found = compare_versions(baseline="1.0.0", candidate="1.1.0", tracking_uri=uri)
        print(f"\n{found.as_text()}")
        for report in sys.argv[1:]:
            Path(report).write_text(found.as_html(), encoding="utf-8")


def write_traces(uri: str) -> None:
    """Write what a week of both versions leaves behind, straight into MLflow's store.

    An application's traces come from MLflow's SDK or from OpenTelemetry, and their version from
    this package; here they are made up, so that there are many, and the same each time.
    """
    store = TracingClient(uri).store
    dice, users = random.Random(20261124), random.Random(20261125)
    now = datetime.now(timezone.utc)
    for number in range(TRACES):
        version = dice.choice(list(VERSIONS))
        median, errors, helpful = VERSIONS[version]
        time = now - timedelta(days=dice.uniform(0, DAYS))
        tokens = round(dice.lognormvariate(6, 0.4))
        trace_id = f"tr-{dice.getrandbits(128):032x}"
        store.start_trace(
            TraceInfo(
                trace_id=trace_id,
                trace_location=TraceLocation.from_experiment_id(DEFAULT_EXPERIMENT),
                request_time=int(time.timestamp() * 1_000),
                execution_duration=round(median * dice.lognormvariate(0, 0.45)),
                state=TraceState.ERROR if dice.random() < errors else TraceState.OK,
                trace_metadata={
                    "app_version": version,
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
        )


if __name__ == "__main__":
    main()
