"""Where traces are asked for: what a source of them can do, and which one an address means."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from otel_mlflow_context.mlflow_client.rest import without_credentials
from otel_mlflow_context.semconv import MLFLOW_TRACE_SESSION, MLFLOW_TRACE_USER
from otel_mlflow_context.settings import environment_variables as env

PAGE: Final = 500
"""Traces a page: the most that every server gives."""

# mlflow/tracing/constant.py: JSON, {"total_tokens": ...} and {"total_cost": ...} in US dollars.
_USAGE: Final = "mlflow.trace.tokenUsage"
_COST: Final = "mlflow.trace.cost"

OK: Final = "OK"
ERROR: Final = "ERROR"
FINISHED: Final = (OK, ERROR)
"""The states of a trace whose outcome is known."""


class CannotCompare(Exception):  # noqa: N818  # an answer too, though not the one hoped for
    """The question could not be answered: why, and what to do next."""


class NoAggregation(Exception):  # noqa: N818  # a state, not a mistake
    """The source cannot compute this number: it is older, or of another kind."""


@dataclass(frozen=True)
class Trace:
    """What the comparison needs of one trace."""

    time_ms: int
    latency_ms: float | None
    state: str
    metadata: Mapping[str, str]

    @property
    def tokens(self) -> float | None:
        return _number(self.metadata.get(_USAGE), "total_tokens")

    @property
    def cost(self) -> float | None:
        return _number(self.metadata.get(_COST), "total_cost")

    @property
    def session(self) -> str | None:
        return self.metadata.get(MLFLOW_TRACE_SESSION)

    @property
    def user(self) -> str | None:
        return self.metadata.get(MLFLOW_TRACE_USER)


@dataclass(frozen=True)
class Point:
    """One row of an aggregation's answer."""

    dimensions: Mapping[str, str]
    values: Mapping[str, float]


@dataclass(frozen=True)
class Aggregate:
    """One question that the source's database answers by itself."""

    metric: str
    aggregations: Sequence[str]
    """``COUNT``, ``AVG``, or ``P`` and a percentile."""
    filters: Sequence[str]
    by_status: bool = False
    interval_s: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True)
class Experiment:
    id: str
    name: str


class Source(Protocol):
    """Something that has traces. Each call raises `CannotCompare` where it fails."""

    @property
    def name(self) -> str:
        """Where it is, without credentials."""
        ...

    def experiment(self, name: str | None, experiment_id: str | None) -> Experiment:
        """The experiment of an id, or else of a name, or else MLflow's default."""
        ...

    def aggregate(self, experiment: Experiment, question: Aggregate) -> list[Point]:
        """Let the source compute.

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

    def close(self) -> None: ...


def open_source(tracking_uri: str | None, *, timeout: float) -> Source:
    """The source that an address means, by default MLflow's variables'.

    Raises:
        CannotCompare: there is none.
    """
    uri = (tracking_uri or os.environ.get(env.MLFLOW_TRACKING_URI, "")).strip()
    if uri.lower().startswith(("http:", "https:")):
        from otel_mlflow_context.compare.sources.server import ServerSource

        return ServerSource(uri, timeout=timeout)
    if uri.startswith("sqlite:///"):
        # MLflow would make the file.
        path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        if not path.exists():
            raise CannotCompare(
                f"there is no file {str(path)!r}: correct {env.MLFLOW_TRACKING_URI}"
            )
    try:
        from otel_mlflow_context.compare.sources.store import StoreSource
    except ImportError:
        where = without_credentials(uri) if uri else "not set"
        raise CannotCompare(
            f"{env.MLFLOW_TRACKING_URI} is {where}: set it to the http(s) address of an MLflow "
            "server, or install mlflow, which reads other stores"
        ) from None
    return StoreSource(uri or None)


def values_of(values: Mapping[str, Any]) -> dict[str, float]:
    """An aggregation's numbers by our names: MLflow says ``P50`` or ``P50.0``."""
    return {
        f"P{float(name[1:]):g}" if name.startswith("P") else name: float(value)
        for name, value in values.items()
    }


def not_there(name: str, others: Sequence[str], where: str) -> CannotCompare:
    """An experiment that is missing, as a problem."""
    listed = ", ".join(repr(other) for other in others)
    there = f"; there are {listed}" if listed else ""
    return CannotCompare(f"there is no experiment {name!r} at {where}{there}")


def _number(text: str | None, key: str) -> float | None:
    if not text:
        return None
    try:
        value: Any = json.loads(text)[key]
    except (ValueError, KeyError, TypeError):
        return None
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if usable else None
