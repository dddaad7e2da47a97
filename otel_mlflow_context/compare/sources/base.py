"""A source of traces: what it must be able to do, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from otel_mlflow_context.compare.sources.assessments import Assessment
from otel_mlflow_context.compare.sources.spans import Span, number_in
from otel_mlflow_context.semconv import MLFLOW_TRACE_SESSION, MLFLOW_TRACE_USER

PAGE: Final = 500
"""Traces a page: the most that every server gives."""
DATABASE_PAGE: Final = 2_000
"""The same of a database, which searches anew for each page."""
SPANS_PAGE: Final = 50
"""The traces whose spans are read at once: their ids are in the address of the request."""

# mlflow/tracing/constant.py: JSON, {"total_tokens": ...} and {"total_cost": ...} in US dollars.
_USAGE: Final = "mlflow.trace.tokenUsage"
_COST: Final = "mlflow.trace.cost"

OK: Final = "OK"
ERROR: Final = "ERROR"
FINISHED: Final = (OK, ERROR)
"""The states of a trace whose outcome is known."""


class CannotCompare(Exception):  # noqa: N818  # an outcome, and a public name
    """The comparison is not possible: why, and what to do next."""


class NoTraces(CannotCompare):
    """There are none yet that match."""


class NoAggregation(Exception):  # noqa: N818  # a state, not a mistake
    """The source cannot compute this aggregation: it is older, or of another kind."""


@dataclass(frozen=True)
class Trace:
    """What a comparison needs of one trace."""

    time_ms: int
    latency_ms: float | None
    state: str
    metadata: Mapping[str, str]
    trace_id: str = ""
    assessments: Sequence[Assessment] = ()

    @property
    def tokens(self) -> float | None:
        return number_in(self.metadata.get(_USAGE), "total_tokens")

    @property
    def cost(self) -> float | None:
        return number_in(self.metadata.get(_COST), "total_cost")

    @property
    def session(self) -> str | None:
        return self.metadata.get(MLFLOW_TRACE_SESSION)

    @property
    def user(self) -> str | None:
        return self.metadata.get(MLFLOW_TRACE_USER)


@dataclass(frozen=True)
class Point:
    """One data point of an aggregation."""

    dimensions: Mapping[str, str]
    values: Mapping[str, float]

    @classmethod
    def of(cls, dimensions: Mapping[str, str] | None, values: Mapping[str, Any] | None) -> Point:
        """A data point with one name for each aggregation: MLflow's may be ``P50.0``."""
        names = {it: f"P{float(it[1:]):g}" if it.startswith("P") else it for it in values or {}}
        return cls(dimensions or {}, {names[it]: float(x) for it, x in (values or {}).items()})


@dataclass(frozen=True)
class Aggregate:
    """An aggregation that the source's database computes."""

    metric: str
    aggregations: Sequence[str]
    """``COUNT``, ``AVG``, or ``P`` and a percentile."""
    filters: Sequence[str]
    dimensions: Sequence[str] = ()
    view: str = "TRACES"
    """Or ``SPANS`` or ``ASSESSMENTS``: each has metrics and dimensions of its own."""
    interval_s: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True)
class Experiment:
    id: str
    name: str
    location: str | None = None
    """Of its traces in Unity Catalog, ``<catalog>.<schema>[.<prefix>]``."""


@dataclass(frozen=True)
class ModelNumbers:
    """What is logged to a LoggedModel."""

    model_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class Source(Protocol):
    """A store of traces. Each call raises `CannotCompare` where it fails."""

    @property
    def page(self) -> int:
        """How many traces a search may ask for."""
        ...

    @property
    def name(self) -> str:
        """Where it is, without credentials."""
        ...

    def experiment(self, name: str, experiment_id: str | None) -> Experiment:
        """The experiment of an id, or else of a name."""
        ...

    def aggregate(self, experiment: Experiment, question: Aggregate) -> list[Point]:
        """Compute an aggregation.

        Raises:
            NoAggregation: it cannot.
        """
        ...

    def search(
        self,
        experiment: Experiment,
        where: str,
        *,
        order_by: str,
        limit: int,
        token: str | None = None,
    ) -> tuple[list[Trace], str | None]:
        """A page of traces, without their spans, and the token of the next one."""
        ...

    def spans(self, experiment: Experiment, trace_ids: Sequence[str]) -> Mapping[str, list[Span]]:
        """The spans of at most `SPANS_PAGE` traces, by trace id; a trace without any is missing."""
        ...

    def trace_link(self, experiment: Experiment, trace_id: str) -> str | None:
        """The address of a trace in MLflow's UI; None where there is no server."""
        ...

    def has_model(self, experiment: Experiment, model_id: str) -> bool:
        """Whether a LoggedModel of that id is in the experiment."""
        ...

    def log(
        self,
        experiment: Experiment,
        run_name: str,
        params: Mapping[str, str],
        numbers: Sequence[ModelNumbers],
    ) -> str:
        """Write metrics and tags of LoggedModels by a new run, with params; returns its id."""
        ...

    def close(self) -> None: ...


def not_there(name: str, others: Sequence[str], where: str) -> CannotCompare:
    """The error for an experiment that does not exist, with those that do."""
    listed = ", ".join(repr(other) for other in others)
    there = f"; there are {listed}" if listed else ""
    return CannotCompare(f"there is no experiment {name!r} at {where}{there}")
