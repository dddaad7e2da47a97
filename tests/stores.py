"""MLflow's own store, for tests that write many traces."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import mlflow
from mlflow.tracing.client import TracingClient
from packaging.version import Version

_TAKES_MANY = Version(mlflow.__version__) >= Version("3.12")


@contextmanager
def store_of(uri: str) -> Iterator[Any]:
    """The store of a URI, which looks up an experiment once, and not for each trace."""
    store = TracingClient(uri).store
    known = functools.cache(store.get_experiment)
    with mock.patch.object(store, "get_experiment", known):
        yield store


def log_spans(store: Any, spans_of_traces: Sequence[Sequence[Any]]) -> None:
    """Write the spans of traces to the default experiment: at once, where MLflow takes that."""
    if _TAKES_MANY:
        spans_of_traces = [[span for spans in spans_of_traces for span in spans]]
    for spans in spans_of_traces:
        store.log_spans("0", spans)
