"""How often is a planted cause explained first?

Two versions of 2,000 traces each, as they are sampled: no server. In the candidate one thing is
worse, and an explanation counts when its own cause is the first line of the metric.
"""

import random
import sys
from collections.abc import Callable

from _tables import progress, table

from otel_mlflow_context.compare.explain.explaining import explain
from otel_mlflow_context.compare.explain.features import Features, features
from otel_mlflow_context.compare.explain.result import Explanation
from otel_mlflow_context.compare.sources.base import Trace
from otel_mlflow_context.compare.sources.spans import Span

LEVEL = 0.05
REGIONS = ("eu-west-1", "us-east-1", "ap-south-1")
_SPANS = (("embed", 40), ("search", 80), ("rerank", 60), ("generate", 400), ("store", 20))
_ERRORS = (
    ("search", "TimeoutError", "no answer within {} s"),
    ("generate", "RateLimitError", "limit of {} requests, see 'https://example.com/{}'"),
    ("store", "OperationalError", "database is locked"),
)
_MODELS = {"embed": ("small", 1e-5), "rerank": ("medium", 1e-4), "generate": ("large", 3e-3)}

NOTHING = "nothing"
SLOW = "one span takes twice as long"
NEW_ERROR = "one exception type in 3 % of traces"
REGION = "one span takes twice as long, in one region only"
MODEL = "one model costs 10 % more"


def run(*, quick: bool = False) -> str:
    """Simulate, and return the table."""
    runs = 5 if quick else 100
    rows = []
    for planted, first in EXPECTED.items():
        progress(f"explain: {runs} runs with {planted}")
        hits = sum(first(explanation(planted, seed)) for seed in range(runs))
        goal = "at most 5 %" if planted == NOTHING else "at least 95 %"
        rows.append((planted, f"{hits} of {runs}", goal))
    return table(
        "2,000 traces a version of five spans each; how often its cause is the first line",
        ("in the candidate", "explained", "goal"),
        rows,
        "Of nothing: how often any line of any metric is significant.",
    )


def explanation(planted: str, seed: int, traces: int = 2_000) -> Explanation:
    """The explanation of one simulated comparison."""
    dice = random.Random(f"{planted} {seed}")
    base = [_trace(dice, NOTHING) for _ in range(traces)]
    candidate = [_trace(dice, planted) for _ in range(traces)]
    [found] = explain({"1.1.0": candidate}, base, by="app_version", level=LEVEL)
    return found


def _trace(dice: random.Random, planted: str) -> Features:
    region = dice.choices(REGIONS, (5, 3, 2))[0]
    metadata = {
        "region": region,
        "environment": dice.choice(("production", "staging")),
        "feature_flag_rerank": dice.choice(("on", "off")),
        "service_name": dice.choice(("api", "worker", "batch")),
    }
    error = None
    if planted == NEW_ERROR and dice.random() < 0.03:
        error = ("rerank", "ValueError", "document {} is empty")
    elif dice.random() < 0.03:
        error = dice.choice(_ERRORS)
    spans = []
    now = 0
    for name, milliseconds in _SPANS:
        for _ in range(dice.choice((1, 1, 2)) if name == "search" else 1):
            slow = planted == SLOW or (planted == REGION and region == REGIONS[2])
            factor = 2 if slow and name == "search" else 1
            # A span's duration varies by its own: log-normal, with a long tail.
            duration = int(milliseconds * factor * dice.lognormvariate(0, 0.5) * 1e6)
            failed = error is not None and error[0] == name
            model, price = _MODELS.get(name, ("", None))
            if planted == MODEL and model == "medium":
                price = 1.1e-4
            number = dice.randrange(1_000)
            spans.append(
                Span(
                    span_id=str(len(spans)),
                    parent_id="root",
                    name=name,
                    start_ns=now,
                    end_ns=now + duration,
                    failed=failed,
                    exception=error[1] if error and failed else "",
                    message=error[2].format(number, number) if error and failed else "",
                    model=model,
                    tokens=dice.randrange(100, 900) if model else None,
                    cost=price * dice.lognormvariate(0, 0.4) if price else None,
                )
            )
            now += duration + dice.randrange(2_000_000)
            if failed:
                break
        if error is not None and error[0] == name:
            break
    failed = error is not None
    exception = error[1] if error else ""
    root = Span("root", None, "answer", 0, now, failed=failed, exception=exception)
    trace = Trace(0, round(now / 1e6), "ERROR" if failed else "OK", metadata, "tr-1")
    return features(trace, [root, *spans])


def _first_cause(metric: str, **names: str) -> Callable[[Explanation], bool]:
    def holds(found: Explanation) -> bool:
        [part] = [it for it in found.parts if it.metric == metric]
        first = part.causes[0]
        return names.items() <= first.names.items() and first.test.corrected_p_value <= LEVEL

    return holds


def _first_segment(metric: str, key: str, value: str) -> Callable[[Explanation], bool]:
    def holds(found: Explanation) -> bool:
        [part] = [it for it in found.parts if it.metric == metric]
        first = part.segments[0]
        return (first.key, first.value) == (key, value) and first.test.corrected_p_value <= LEVEL

    return holds


def _both(*conditions: Callable[[Explanation], bool]) -> Callable[[Explanation], bool]:
    return lambda found: all(condition(found) for condition in conditions)


def _anything(found: Explanation) -> bool:
    tests = [
        it.test.corrected_p_value for part in found.parts for it in (*part.causes, *part.segments)
    ]
    tests += [it.corrected_p_value for part in found.parts for it in part.mixes]
    return min(tests) <= LEVEL


EXPECTED = {
    NOTHING: _anything,
    SLOW: _first_cause("latency", span="search"),
    NEW_ERROR: _first_cause("errors", span="rerank", exception="ValueError"),
    REGION: _both(
        _first_cause("latency", span="search"), _first_segment("latency", "region", REGIONS[2])
    ),
    MODEL: _first_cause("cost", model="medium"),
}
"""For each planted cause, when it is explained."""


if __name__ == "__main__":
    sys.stdout.write(run(quick="--quick" in sys.argv))
