"""A random sample of the traces of a group, and what is kept of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_mlflow_context.compare.metrics import Metric, Observation
from otel_mlflow_context.compare.quality.feedback import GroupFeedback, feedback_of
from otel_mlflow_context.compare.selection import Selection
from otel_mlflow_context.compare.sources.base import CannotCompare, Trace

Report = Callable[[str, int, int], None]
"""Progress: what is being read, how many traces were, and of how many."""

# The last digits of a trace id are random, in ids that begin with the time too.
# https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
_DIGITS: Final = "0123456789abcdef"
_PLACES: Final = 5
_TARGET_SHARE: Final = 0.95
"""The share of the limit to aim at: how many traces match is random too."""
_TOO_FEW: Final = 0.5


@dataclass
class Sample:
    """What is kept of the traces that were read: a few numbers of each."""

    metrics: Sequence[Metric]
    values: dict[str, list[float]] = field(default_factory=dict)
    """Of each metric by its name, of the traces that have it."""
    sessions: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    rows: list[tuple[int, str, float | None]] = field(default_factory=list)
    """The time, state and latency of every trace."""
    judged: dict[str, GroupFeedback] = field(default_factory=dict)
    """Of each assessment by its name, of the traces that have it."""
    traces: list[Trace] = field(default_factory=list)
    """The traces themselves, where they are kept."""

    def add(self, trace: Trace) -> None:
        self.rows.append((trace.time_ms, trace.state, trace.latency_ms))
        for metric in self.metrics:
            if (value := metric.value(trace)) is not None:
                self.values.setdefault(metric.name, []).append(value)
        self.sessions |= {trace.session} if trace.session is not None else set()
        self.users |= {trace.user} if trace.user is not None else set()
        if trace.assessments:
            for name, found in feedback_of(trace.assessments).items():
                self.judged.setdefault(name, GroupFeedback()).add(found)

    def observed(self) -> dict[str, Observation]:
        """Each metric by its name."""
        return {it.name: it.kind.of(self.values.get(it.name, ())) for it in self.metrics}

    def __len__(self) -> int:
        return len(self.rows)


def sample_traces(
    selection: Selection, value: str, total: int, limit: int, *terms: str
) -> Iterator[Trace]:
    """All traces of a group when they are few; otherwise a uniform random sample.

    Args:
        selection: the traces.
        value: of the group.
        total: how many traces it has.
        limit: how many are read at most.
        terms: which of them; then `total` is the number of those.
    """
    found_by = (selection.is_in(value), *terms)
    if total > limit:
        share = min(_TARGET_SHARE * limit / total, 1.0)
        random_ids = f"request_id RLIKE '({_below(math.ceil(share * len(_DIGITS) ** _PLACES))})$'"
        try:
            found = list(selection.traces(*found_by, random_ids, limit=limit))
        except CannotCompare:  # a database without regular expressions
            found = []
        if len(found) >= _TOO_FEW * share * total:
            yield from found
            return
    yield from selection.traces(*found_by, limit=limit)


def _below(bound: int) -> str:
    """A regular expression for the hexadecimal numbers of `_PLACES` digits below a bound.

    >>> _below(0x00020)
    '000[01][0-9a-f]{1}'
    """
    if bound >= len(_DIGITS) ** _PLACES:
        return f"[0-9a-f]{{{_PLACES}}}"
    digits = f"{bound:0{_PLACES}x}"
    return "|".join(
        f"{digits[:place]}[{_DIGITS[: _DIGITS.index(digit)]}][0-9a-f]{{{_PLACES - place - 1}}}"
        for place, digit in enumerate(digits)
        if digit != "0"
    )
