"""The traces that are compared: searching and aggregating the groups that a key makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from otel_mlflow_context.compare.sources import filters
from otel_mlflow_context.compare.sources.base import (
    PAGE,
    Aggregate,
    CannotCompare,
    Experiment,
    NoAggregation,
    NoTraces,
    Point,
    Source,
    Trace,
)

MOST_VALUES: Final = 20
"""Values of a key that are looked for."""
_LISTED: Final = 30


@dataclass(frozen=True)
class Selection:
    """Which traces are compared, and where they are. A group is the traces with one value."""

    source: Source
    experiment: Experiment
    key: str
    where: str
    start_ms: int | None
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of some groups the times of the first and the last trace: nothing else need be searched."""

    def is_in(self, value: str) -> str:
        """The term of a search for the traces of a group."""
        start_ms, end_ms = self.ranges.get(value, (None, None))
        return filters.all_of(
            filters.metadata_is(self.key, value),
            filters.from_time(start_ms),
            filters.until_time(end_ms),
        )

    def traces(
        self, *terms: str, limit: int = PAGE, order_by: str = "request_id ASC"
    ) -> Iterator[Trace]:
        """Traces that match all terms; in the order of their ids, the first are a random sample."""
        where = filters.all_of(*terms, self.where, filters.from_time(self.start_ms))
        token = None
        while limit > 0:
            page, token = self.source.search(
                self.experiment,
                where,
                order_by=order_by,
                limit=min(self.source.page, limit),
                token=token,
            )
            yield from page[:limit]
            limit -= len(page)
            if token is None or not page:
                return

    def aggregate(
        self, value: str, metric: str, aggregations: Sequence[str], **options: Any
    ) -> list[Point]:
        """An aggregation over a group; the options are those of `Aggregate`.

        Raises:
            NoAggregation: the source cannot compute it.
        """
        others = filters.equalities(self.where)
        if others is None:
            raise NoAggregation("it takes equalities of the status, metadata and tags only")
        terms = [filters.group_is(self.key, value), *others]
        times = {"start_ms": self.start_ms}
        # Before MLflow 3.17 the time of an assessment is its own, which may be later.
        if value in self.ranges and options.get("view") != "ASSESSMENTS":
            times = dict(zip(("start_ms", "end_ms"), self.ranges[value], strict=True))
        options = {**times, **options}
        return self.source.aggregate(
            self.experiment, Aggregate(metric, aggregations, terms, **options)
        )

    def count(self, value: str, most: int) -> int:
        """How many traces a group has; from `most` on it need not be exact."""
        try:
            points = self.aggregate(value, "trace_count", ["COUNT"])
        except NoAggregation:
            return sum(1 for _ in self.traces(self.is_in(value), limit=most))
        return sum(int(it.values["COUNT"]) for it in points)

    def with_known_key(self) -> Selection:
        """The same with the metadata key that is meant: as it is, or a fact by its name.

        Raises:
            CannotCompare: no trace has it.
        """
        for key in (self.key, filters.FACT_NAMES.get(self.key)):
            if key is not None and self._newest(filters.has_metadata(key), limit=1):
                return replace(self, key=key)
        newest = self._newest()
        if not newest:
            asked = " that match" if self.where or self.start_ms is not None else ""
            raise NoTraces(f"experiment {self.experiment.name!r} has no traces{asked}")
        keys = {key for trace in newest for key in trace.metadata}
        # What people set comes first: MLflow's own keys are many.
        listed = _listed(sorted(keys, key=lambda key: (key.startswith("mlflow."), key)))
        raise CannotCompare(f"no trace has the metadata {self.key!r}; the newest have {listed}")

    def values(self, known: Sequence[str] = ()) -> tuple[list[str], bool]:
        """The values of the key besides those known, the newest first, and whether these are all.

        Each search excludes what is known already, so that no trace is read for nothing.
        """
        found: list[str] = []
        while True:
            excluded = [value for value in (*known, *found) if filters.can_be_quoted(value)]
            newest = self._newest(
                filters.has_metadata(self.key),
                *(filters.metadata_is(self.key, it, operator="!=") for it in excluded),
            )
            values = dict.fromkeys(trace.metadata.get(self.key) for trace in newest)
            new = [it for it in values if it is not None and it not in known and it not in found]
            found += new[: MOST_VALUES - len(found)]
            if len(newest) < PAGE:
                return found, set(new) <= set(found)
            if not new or len(found) == MOST_VALUES:
                return found, False

    def never_seen(self, missing: Sequence[str]) -> CannotCompare:
        """The error for values that no trace has, with those that they have."""
        seen, complete = self.values()
        what = " and ".join(repr(it) for it in missing)
        more = "" if complete else ", and others"
        return CannotCompare(
            f"no trace has {what} as its {self.key}; they have {_listed(seen)}{more}"
        )

    def _newest(self, *terms: str, limit: int = PAGE) -> list[Trace]:
        return list(self.traces(*terms, limit=limit, order_by="timestamp_ms DESC"))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(repr(it) for it in names[:_LISTED]) + more
