"""Traces read one by one: which ones, where they are too many, and what is kept of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import PAGE, CannotCompare, Experiment, Source, Trace

# The last digits of a trace id are random, in ids that begin with the time too.
# https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
_DIGITS: Final = "0123456789abcdef"
_PLACES: Final = 5
_AIM: Final = 0.95
"""Of the limit: how many traces hit it is random too."""
_TOO_FEW: Final = 0.5


@dataclass(frozen=True)
class Selection:
    """Which traces are asked of."""

    experiment: Experiment
    key: str
    where: str
    start_ms: int | None

    def search(self, *terms: str) -> str:
        """The filter of a search for them."""
        return filters.all_of(*terms, self.where, filters.from_time(self.start_ms))

    def aggregate(self, value: str) -> Sequence[str] | None:
        """The filters of an aggregation over a group; None where it lacks the words."""
        others = filters.equalities(self.where)
        return None if others is None else [filters.group_is(self.key, value), *others]


@dataclass
class Sample:
    """What is kept of the traces that were read: some numbers each, and of at most `limit`."""

    states: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    rows: list[tuple[int, str, float | None]] = field(default_factory=list)

    def add(self, trace: Trace) -> None:
        self.states[trace.state] += 1
        self.rows.append((trace.time_ms, trace.state, trace.latency_ms))
        for value, values in (
            (trace.latency_ms, self.latencies),
            (trace.tokens, self.tokens),
            (trace.cost, self.costs),
        ):
            if value is not None:
                values.append(value)
        for name, names in ((trace.session, self.sessions), (trace.user, self.users)):
            if name is not None:
                names.add(name)

    def __len__(self) -> int:
        return len(self.rows)


def some(
    source: Source, selection: Selection, value: str, total: int, limit: int
) -> Iterator[Trace]:
    """All traces of a group when they are few; otherwise some, each as likely as any other."""
    term = filters.metadata_is(selection.key, value)
    if total > limit:
        share = min(_AIM * limit / total, 1.0)
        lottery = f"request_id RLIKE '({_below(math.ceil(share * len(_DIGITS) ** _PLACES))})$'"
        try:
            found = list(pages(source, selection, selection.search(term, lottery), limit))
        except CannotCompare:  # a database without regular expressions
            found = []
        if len(found) >= _TOO_FEW * share * total:
            yield from found
            return
    yield from pages(source, selection, selection.search(term), limit)


def pages(source: Source, selection: Selection, where: str, limit: int) -> Iterator[Trace]:
    """Traces in the order of their ids, which are random, so that the first ones are a sample."""
    token = None
    left = limit
    while left > 0:
        page, token = source.search(
            selection.experiment,
            where,
            order_by="request_id ASC",
            limit=min(PAGE, left),
            token=token,
        )
        yield from page[:left]
        left -= len(page)
        if token is None or not page:
            return


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
