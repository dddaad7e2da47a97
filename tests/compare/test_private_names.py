"""What the comparison touches of MLflow's private API: an upgrade that breaks it is seen here."""

from __future__ import annotations

import inspect

import mlflow
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracing.client import TracingClient
from packaging.version import Version

from otel_mlflow_context.compare.sources.base import Aggregate, Experiment, NoAggregation
from otel_mlflow_context.compare.sources.store import StoreSource

AGGREGATES = Version(mlflow.__version__) >= Version("3.10")


def test_the_client_has_a_store_that_knows_experiments(store: str) -> None:
    found = TracingClient(store).store
    for name in ("get_experiment", "get_experiment_by_name", "search_experiments"):
        assert callable(getattr(found, name))
    assert {"locations", "include_spans"} <= set(
        inspect.signature(TracingClient.search_traces).parameters
    )


@pytest.mark.skipif(not AGGREGATES, reason="MLflow before 3.10 computes nothing")
def test_the_store_aggregates() -> None:
    from mlflow.entities.trace_metrics import AggregationType, MetricAggregation, MetricViewType

    assert {"COUNT", "AVG", "PERCENTILE"} <= {it.name for it in AggregationType}
    assert MetricViewType.TRACES
    assert list(inspect.signature(MetricAggregation).parameters) == [
        "aggregation_type",
        "percentile_value",
    ]
    assert {
        *("experiment_ids", "view_type", "metric_name", "aggregations", "dimensions", "filters"),
        *("time_interval_seconds", "start_time_ms", "end_time_ms"),
    } <= set(inspect.signature(SqlAlchemyStore.query_trace_metrics).parameters)


def test_a_store_without_it_says_so(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for base in SqlAlchemyStore.__mro__:
        monkeypatch.delattr(base, "query_trace_metrics", raising=False)
    with pytest.raises(NoAggregation):
        StoreSource(store).aggregate(Experiment("0", "Default"), Aggregate("latency", ["AVG"], []))
