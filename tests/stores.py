"""MLflow's own store, for tests that write many traces."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import mlflow
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracing.client import TracingClient
from packaging.version import Version

_TAKES_MANY = Version(mlflow.__version__) >= Version("3.12")

_times_written: Counter[str] = Counter()


@contextmanager
def store_of(uri: str) -> Iterator[Any]:
    """The store of a URI, for many traces."""
    with experiments_looked_up_once():
        yield TracingClient(uri).store


def experiments_looked_up_once() -> AbstractContextManager[Any]:
    """Stores look up an experiment once, and not for each trace: half of what writing one takes."""
    known = functools.cache(SqlAlchemyStore.get_experiment)
    return mock.patch.object(SqlAlchemyStore, "get_experiment", known)


def log_spans(store: Any, spans_of_traces: Sequence[Sequence[Any]]) -> None:
    """Write the spans of traces to the default experiment: at once, where MLflow takes that."""
    if _TAKES_MANY:
        spans_of_traces = [[span for spans in spans_of_traces for span in spans]]
    for spans in spans_of_traces:
        store.log_spans("0", spans)


def dice_of(uri: str, *traces: Any) -> random.Random:
    """Dice for the ids of traces: the same in each run, so that the same traces are sampled.

    Those of traces that are written once more to the same store are others.
    """
    _times_written[uri] += 1
    return random.Random(repr((_times_written[uri], traces)))
