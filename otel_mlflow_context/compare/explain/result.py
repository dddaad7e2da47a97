"""The result of an explanation: data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_mlflow_context.compare.statistics import Estimate


@dataclass(frozen=True)
class Test:
    """A difference with its test."""

    difference: Estimate
    p_value: float
    corrected_p_value: float = 1.0
    """Adjusted for all tests of the explanations together (Holm)."""


@dataclass(frozen=True)
class Calls:
    """The calls of a span."""

    per_trace: float
    duration_ms: float | None
    """The mean of a call, with the spans below it."""
    of_all_traces: bool = False
    """Whether the source computed them; otherwise they are of the sample."""


@dataclass(frozen=True)
class Cause:
    """One line: a part of a metric's difference."""

    names: Mapping[str, str]
    """What it is: ``span``; ``exception`` and ``message``; or ``model``."""
    test: Test
    baseline: float
    """The mean of a trace, or the share of traces."""
    candidate: float
    new: bool = False
    """Whether no trace of the baseline has it."""
    calls: tuple[Calls, Calls] | None = None
    """Of a span: the baseline's and the candidate's."""
    path: tuple[str, ...] = ()
    """Of a span: the most frequent names of the spans above it."""
    trace_id: str | None = None
    """A trace of the candidate that has it, of those that have it the one with most of it."""
    link: str | None = None
    """That trace in MLflow's UI."""


@dataclass(frozen=True)
class Segment:
    """The traces that have one value of a fact."""

    key: str
    value: str
    traces: tuple[int, int]
    """The baseline's and the candidate's."""
    inside: Estimate
    """The difference of the metric among these traces."""
    elsewhere: Estimate
    """Among all others."""
    test: Test
    """How much larger it is among these than elsewhere."""


@dataclass(frozen=True)
class Mix:
    """A fact whose values may be distributed differently in the two versions."""

    key: str
    within: Test
    """The difference at the baseline's mix: the mean of the differences within the strata."""
    of_mix: float
    """The rest of the difference of all traces: what the change of the mix makes."""
    p_value: float
    """That the mix is the same (chi-square)."""
    corrected_p_value: float = 1.0
    odds_ratio: Estimate | None = None
    """Of errors: pooled over the strata (Mantel-Haenszel)."""
    reversed: bool = False
    """Whether all traces show the opposite of what the strata show (Simpson's paradox)."""


@dataclass(frozen=True)
class Part:
    """The explanation of one metric."""

    metric: str
    test: Test
    """The difference of the means of the sampled traces, which the causes and the rest sum to."""
    baseline: float
    candidate: float
    traces: tuple[int, int]
    """How many traces have the metric: the baseline's and the candidate's."""
    causes: tuple[Cause, ...]
    """Those that are significant first, new ones before others, then by size."""
    rest: float
    """What is left of the difference when the causes are subtracted."""
    segments: tuple[Segment, ...]
    """Where it is concentrated, the clearest first."""
    mixes: tuple[Mix, ...]
    """How the mix of each fact contributes, the largest first."""


@dataclass(frozen=True)
class Explanation:
    """Why a candidate differs from the baseline."""

    value: str
    parts: tuple[Part, ...]
    """One for each metric, in the order of the metrics' table."""
    sampled: tuple[int, int]
    """How many traces were read with their spans: the baseline's and the candidate's."""
