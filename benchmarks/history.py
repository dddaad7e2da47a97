"""How often is a change marked where there is none, and is a planted one found where it is?

Histories of 20 versions each, as they are measured: no server. Errors, latency, tokens, cost and
three assessments are tested together.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from _tables import progress, table

from otel_mlflow_context.compare import ChangePoint
from otel_mlflow_context.compare.history.version_history import find_changes
from otel_mlflow_context.compare.metrics import (
    COST,
    ERRORS,
    LATENCY,
    METRICS,
    TOKENS,
    Distribution,
    Share,
)
from otel_mlflow_context.compare.quality.choices import Choices
from otel_mlflow_context.compare.result import Group

VERSIONS = 20
TRACES = 500
ROWS = (
    *METRICS,
    replace(ERRORS, name="correct", key="correct", assessment="correct", better="higher"),
    replace(TOKENS, name="score", key="score", assessment="score", better="higher"),
    replace(ERRORS, name="tone", key="tone", assessment="tone", kind=Choices, better=None),
)
NOTHING = "nothing"
SLOWER = "latency: a tenth longer"
ERROR = "errors: 5 % instead of 2 %"
DEARER = "cost: a tenth more"
SCORE = "score: the mean 0.3 standard deviations less"
CORRECT = "correct: 80 % instead of 90 %"
MENDED = "latency: a fifth longer, and mended five versions later"
_PLANTED = {
    SLOWER: LATENCY.name,
    ERROR: ERRORS.name,
    DEARER: COST.name,
    SCORE: "score",
    CORRECT: "correct",
    MENDED: LATENCY.name,
}
_MENDED_AFTER = 5
_TONES = ("warm", "cold", "flat")


def run(*, quick: bool = False) -> str:
    """Simulate, and return the tables."""
    alarms = 20 if quick else 500
    runs = 3 if quick else 100
    rows = []
    for traces in (50, TRACES):
        progress(f"history: {alarms} histories of equal versions of {traces} traces")
        marked = sum(bool(changes(NOTHING, seed, traces=traces)) for seed in range(alarms))
        rows.append((f"{traces} traces a version", f"{marked} of {alarms}", "at most 5 %"))
    first = table(
        f"{VERSIONS} equal versions; how often any change of any metric is marked",
        ("history", "marked", "goal"),
        rows,
    )
    rows = []
    for planted in _PLANTED:
        progress(f"history: {runs} histories with {planted}")
        found = [located(planted, seed) for seed in range(runs)]
        rows.append(
            (
                planted,
                f"{sum(it is not None for it in found)} of {runs}",
                f"{sum(it == 0 for it in found)}",
                f"{sum(it is not None and abs(it) <= 1 for it in found)}",
            )
        )
    second = table(
        f"one change among {VERSIONS} versions of {TRACES} traces, at a random one",
        ("from a version on", "found", "at that version", "or at one beside it"),
        rows,
    )
    return f"{first}\n{second}"


def changes(planted: str, seed: int, *, traces: int = TRACES, at: int = 0) -> Sequence[ChangePoint]:
    """The changes that are found in one simulated history."""
    dice = np.random.default_rng((seed, traces, at))
    groups = [
        _group(
            dice,
            number,
            # Versions differ in how long they run.
            int(traces * dice.uniform(0.3, 1)),
            planted if number >= at > 0 and not _is_mended(planted, number, at) else NOTHING,
        )
        for number in range(VERSIONS)
    ]
    return find_changes(groups, ROWS)[0]


def located(planted: str, seed: int) -> int | None:
    """How many versions too late a planted change is found; None where it is not."""
    at = int(np.random.default_rng(seed).integers(2, VERSIONS - _MENDED_AFTER - 2))
    found = [it for it in changes(planted, seed, at=at) if _PLANTED[planted] in it.shifts]
    places = [int(it.value) - at for it in found]
    return min(places, key=abs, default=None)


def _is_mended(planted: str, number: int, at: int) -> bool:
    return planted == MENDED and number >= at + _MENDED_AFTER


def _group(dice: np.random.Generator, number: int, traces: int, planted: str) -> Group:
    slower = {SLOWER: 1.1, MENDED: 1.2}.get(planted, 1.0)
    tokens = dice.lognormal(6, 0.4, traces).round()
    prices = 2e-6 * (1.1 if planted == DEARER else 1)
    scores = dice.choice(5, traces // 2, p=(0.05, 0.05, 0.1, 0.3, 0.5)) + 1.0
    if planted == SCORE:  # the standard deviation is 1.08
        scores -= dice.random(len(scores)) < 0.3 * 1.08
    tones = dice.multinomial(traces // 2, (0.6, 0.3, 0.1))
    errors, correct = 0.05 if planted == ERROR else 0.02, 0.8 if planted == CORRECT else 0.9
    return Group(
        str(number),
        traces,
        all_counted=True,
        sampled=traces,
        observed={
            ERRORS.name: Share(int(dice.binomial(traces, errors)), traces),
            LATENCY.name: Distribution.of((slower * dice.lognormal(6, 0.5, traces)).round()),
            TOKENS.name: Distribution.of(tokens),
            COST.name: Distribution.of(tokens * prices * dice.lognormal(0, 0.2, traces)),
            "correct": Share(int(dice.binomial(traces // 2, correct)), traces // 2),
            "score": Distribution.of(scores),
            "tone": Choices(dict(zip(_TONES, map(int, tones), strict=True))),
        },
    )


if __name__ == "__main__":
    sys.stdout.write(run(quick="--quick" in sys.argv))
