"""Traces with assessments that are known to the last one, in a real store."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlflow.entities import AssessmentSource, Feedback, TraceInfo, TraceLocation, TraceState
from stores import dice_of, store_of

HUMAN, JUDGE, CODE = "HUMAN", "LLM_JUDGE", "CODE"


@dataclass(frozen=True)
class Said:
    """One assessment; an exception as its value is the error of a judge.

    One that is not valid is overridden by the next.
    """

    name: str
    value: Any
    kind: str = JUDGE
    by: str = "judge"
    at_ms: int = 0
    valid: bool = True


@dataclass(frozen=True)
class JudgedTrace:
    version: str
    said: tuple[Said, ...] = ()
    state: str = "OK"
    latency_ms: int = 100


def write(uri: str, traces: Sequence[JudgedTrace], experiment: str | None = None) -> None:
    """Write traces with their assessments by MLflow's own store, to a new experiment if named."""
    with store_of(uri) as store:
        experiment_id = store.create_experiment(experiment) if experiment else "0"
        dice = dice_of(uri, experiment, traces)
        now = int(time.time() * 1000) - 3_600_000
        for it in traces:
            trace_id = f"tr-{dice.getrandbits(128):032x}"
            store.start_trace(
                TraceInfo(
                    trace_id=trace_id,
                    trace_location=TraceLocation.from_experiment_id(experiment_id),
                    request_time=now,
                    execution_duration=it.latency_ms,
                    state=TraceState(it.state),
                    trace_metadata={"app_version": it.version},
                    tags={},
                    assessments=[
                        _feedback(said, trace_id, now)
                        for before, said in zip((None, *it.said), it.said, strict=False)
                        if said.valid and (before is None or before.valid)
                    ],
                )
            )
            for before, said in itertools.pairwise(it.said):
                if not before.valid:
                    old = store.create_assessment(_feedback(before, trace_id, now))
                    new = _feedback(said, trace_id, now, overrides=old.assessment_id)
                    store.create_assessment(new)


def _feedback(said: Said, trace_id: str, now: int, **more: Any) -> Feedback:
    failed = isinstance(said.value, Exception)
    return Feedback(
        name=said.name,
        value=None if failed else said.value,
        error=said.value if failed else None,
        source=AssessmentSource(said.kind, said.by),
        trace_id=trace_id,
        create_time_ms=now + said.at_ms,
        last_update_time_ms=now + said.at_ms,
        **more,
    )


def judged(version: str, count: int, share: float, worse: float = 0.0) -> list[JudgedTrace]:
    """Traces of which about a share has each kind of assessment."""
    dice = random.Random(f"{version} {count} {share} {worse}")
    traces = []
    for number in range(count):
        said: list[Said] = []
        if dice.random() < share:
            good = dice.random() > 0.2 + worse
            if number % 4 == 0:
                said.append(Said("correct", not good, by="before", valid=False))
            said += [
                Said("correct", good),
                Said("correct", not good, at_ms=-5),  # an older one of the same judge
                Said("polite", dice.choice(["yes", "Yes"]) if dice.random() > 0.1 else "no"),
                Said("score", dice.randrange(1, 6)),
                Said("tone", dice.choices(["warm", "cold", "flat"], [5, 3, 1 + 30 * worse])[0]),
            ]
            if number % 3 == 0:
                said.append(Said("score", 5.0, HUMAN, "ada"))
            if number % 5 == 0:
                said.append(Said("correct", TimeoutError("no answer"), by="other"))
                said.append(Said("correct", good, HUMAN, "ada"))
            if number % 7 == 0:
                said.append(Said("correct", not good, HUMAN, "eve"))  # two of two, or of three
        traces.append(JudgedTrace(version, tuple(said), latency_ms=100 + number % 9))
    return traces


def unjudged(traces: Sequence[JudgedTrace]) -> list[JudgedTrace]:
    return [replace(it, said=()) for it in traces]


def brute_force(traces: Sequence[JudgedTrace], name: str) -> list[list[Any]]:
    """The newest valid judgement of each source, of each judged trace."""
    found = []
    for trace in traces:
        by_source: dict[tuple[str, str], Said] = {}
        for it in trace.said:
            if it.name != name or not it.valid or isinstance(it.value, Exception):
                continue
            before = by_source.get((it.kind, it.by))
            if before is None or it.at_ms > before.at_ms:
                by_source[it.kind, it.by] = it
        if by_source:
            found.append([it.value for it in by_source.values()])
    return found
