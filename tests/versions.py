"""Traces of versions that are known to the last number, and the same numbers by brute force."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from mlflow.entities import TraceInfo, TraceLocation, TraceState
from stores import dice_of, store_of

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Row:
    """A trace, as it is written."""

    version: str
    state: str = "OK"
    latency_ms: int | None = 100
    tokens: int | None = None
    cost: float | None = None
    session: str | None = None
    user: str | None = None
    hours_ago: float = 1.0
    metadata: tuple[tuple[str, str], ...] = ()

    def as_metadata(self) -> dict[str, str]:
        known = {
            "app_version": self.version,
            "mlflow.trace.tokenUsage": self.tokens
            and json.dumps({"input_tokens": 0, "output_tokens": 0, "total_tokens": self.tokens}),
            "mlflow.trace.cost": self.cost
            and json.dumps({"input_cost": 0.0, "output_cost": 0.0, "total_cost": self.cost}),
            "mlflow.trace.session": self.session,
            "mlflow.trace.user": self.user,
        }
        return {key: value for key, value in known.items() if value} | dict(self.metadata)


def write(
    uri: str, rows: Sequence[Row], experiment: str | None = None, *, timed_ids: bool = False
) -> None:
    """Write traces by MLflow's own store.

    Args:
        uri: of the store.
        rows: the traces.
        experiment: is made when missing.
        timed_ids: ids that begin with the time, as AWS X-Ray's do.
    """
    with store_of(uri) as store:
        found = experiment and store.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else "0"
        if experiment and not found:
            experiment_id = store.create_experiment(experiment)
        now = int(time.time() * 1000)
        dice = dice_of(uri, experiment, rows)
        for row in rows:
            begin = now - int(row.hours_ago * HOUR_MS)
            trace_id = f"{dice.getrandbits(128):032x}"
            if timed_ids:
                trace_id = f"{begin // 1000:08x}{trace_id[8:]}"
            store.start_trace(
                TraceInfo(
                    trace_id=f"tr-{trace_id}",
                    trace_location=TraceLocation.from_experiment_id(experiment_id),
                    request_time=begin,
                    execution_duration=row.latency_ms,
                    state=TraceState(row.state),
                    trace_metadata=row.as_metadata(),
                    tags={"mlflow.traceName": "ask"},
                )
            )


def rows_of(version: str, count: int, *, seed: int = 1, **fixed: Any) -> list[Row]:
    """Traces as an application makes them."""
    dice = random.Random(f"{version} {seed}")
    return [
        Row(
            **{
                "version": version,
                "state": "ERROR" if dice.random() < 0.1 else "OK",
                "latency_ms": int(dice.lognormvariate(6, 0.5)),
                "tokens": dice.choice([None, dice.randrange(100, 900)]),
                "cost": dice.random() / 100,
                "session": f"s-{dice.randrange(40)}",
                "user": f"u-{dice.randrange(15)}",
                "hours_ago": dice.choice((dice.uniform(0.1, 20), dice.uniform(25, 60))),
                "metadata": (("environment", dice.choice(["production", "staging"])),),
                **fixed,
            }
        )
        for _ in range(count)
    ]


ROWS = (
    *rows_of("1.0.0", 300),
    *rows_of("1.1.0", 200),
    *rows_of("perfect", 30, state="OK"),
    *rows_of("failing", 30, state="ERROR"),
    *rows_of("one", 1, state="OK"),
    *rows_of("running", 3, state="IN_PROGRESS", latency_ms=None, tokens=None, session=None),
)
"""What is in the store."""


def brute_force(rows: Sequence[Row]) -> dict[str, Any]:
    """The numbers of a group, of all its traces."""
    finished = [row for row in rows if row.state in ("OK", "ERROR")]
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    tokens = [row.tokens for row in rows if row.tokens is not None]
    costs = [row.cost for row in rows if row.cost is not None]
    return {
        "traces": len(rows),
        "finished": len(finished),
        "errors": sum(row.state == "ERROR" for row in rows),
        "latency": tuple(np.percentile(latencies, [50, 90, 99])) if latencies else None,
        "tokens": np.mean(tokens) if tokens else None,
        "cost": np.mean(costs) if costs else None,
        "sessions": len({row.session for row in rows if row.session}) or None,
        "users": len({row.user for row in rows if row.user}) or None,
    }


def numbers_of(group: Any) -> dict[str, Any]:
    """The same of a group that was measured."""
    latency = group.latency
    return {
        "traces": group.traces,
        "finished": group.finished,
        "errors": group.errors,
        "latency": latency and (latency.p50, latency.p90, latency.p99),
        "tokens": group.tokens,
        "cost": group.cost,
        "sessions": group.sessions,
        "users": group.users,
    }


def same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(found[key] == pytest.approx(expected[key]) for key in expected)
