"""Traces of any store that MLflow's client opens: a database, files, a hosted service.

Aggregation is private API of MLflow, from 3.10 on; where it is not there, `NoAggregation`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlflow.exceptions import MlflowException
from mlflow.tracing.client import TracingClient

from otel_mlflow_context.compare.sources.assessments import of_entities
from otel_mlflow_context.compare.sources.base import (
    DATABASE_PAGE,
    PAGE,
    Aggregate,
    CannotCompare,
    Experiment,
    ModelNumbers,
    NoAggregation,
    Point,
    Trace,
    not_there,
)
from otel_mlflow_context.compare.sources.spans import Span, of_entity
from otel_mlflow_context.mlflow_client.http.databricks import (
    TraceLocation,
    is_workspace_address,
)
from otel_mlflow_context.mlflow_client.http.server import without_credentials

_LISTED: Final = 10
_DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")
"""How their URIs begin."""
_NO_SUCH: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class StoreSource:
    """The store of a tracking URI, by default MLflow's."""

    def __init__(self, uri: str | None) -> None:
        import mlflow

        self._uri = uri or mlflow.get_tracking_uri()
        self.page = DATABASE_PAGE if self._uri.startswith(_DATABASES) else PAGE
        try:
            self._client = TracingClient(self._uri)
            self._store = self._client.store
        except Exception as error:
            raise CannotCompare(f"{self.name} cannot be read: {_short(error)}") from None

    @property
    def name(self) -> str:
        return without_credentials(self._uri)

    def experiment(self, name: str, experiment_id: str | None) -> Experiment:
        try:
            if experiment_id is not None:
                found = self._store.get_experiment(experiment_id)
            else:
                found = self._store.get_experiment_by_name(name)
            if found is not None:
                name, found_id = str(found.name), str(found.experiment_id)
                return Experiment(found_id, name, self._location(found.tags))
        except MlflowException as error:
            if error.error_code not in _NO_SUCH:
                raise self._problem(error) from None
        except Exception as error:
            raise self._problem(error) from None
        others = [str(it.name) for it in self._store.search_experiments(max_results=_LISTED)]
        raise not_there(experiment_id or name, others, self.name)

    def aggregate(self, experiment: Experiment, question: Aggregate) -> list[Point]:
        try:
            return _query(self._store, experiment.id, question)
        except (ImportError, AttributeError):
            raise NoAggregation("MLflow before 3.10 does not") from None
        except (MlflowException, NotImplementedError) as error:  # a store or a metric without it
            raise NoAggregation(_short(error)) from None
        except Exception as error:
            raise self._problem(error) from None

    def search(
        self,
        experiment: Experiment,
        where: str,
        *,
        order_by: str,
        limit: int,
        token: str | None = None,
    ) -> tuple[list[Trace], str | None]:
        try:
            page = self._client.search_traces(
                locations=[experiment.location or experiment.id],
                filter_string=where,
                max_results=limit,
                order_by=[order_by],
                page_token=token,
                include_spans=False,
            )
        except Exception as error:
            raise self._problem(error) from None
        return [_trace(trace.info) for trace in page], page.token or None

    def spans(self, experiment: Experiment, trace_ids: Sequence[str]) -> dict[str, list[Span]]:
        try:
            found = self._store.batch_get_traces(list(trace_ids), experiment.location)
        except NotImplementedError:  # a store of files
            return {}
        except Exception as error:
            raise self._problem(error) from None
        return {it.info.trace_id: [of_entity(span) for span in it.data.spans] for it in found}

    def trace_link(self, experiment: Experiment, trace_id: str) -> str | None:  # noqa: ARG002
        """None: a store has no UI."""
        return None

    def has_model(self, experiment: Experiment, model_id: str) -> bool:
        from mlflow import MlflowClient

        try:
            found = MlflowClient(self._uri).get_logged_model(model_id)
        except MlflowException:
            return False
        return str(found.experiment_id) == experiment.id

    def log(
        self,
        experiment: Experiment,
        run_name: str,
        params: Mapping[str, str],
        numbers: Sequence[ModelNumbers],
    ) -> str:
        from mlflow import MlflowClient

        client = MlflowClient(self._uri)
        try:
            run_id = str(client.create_run(experiment.id, run_name=run_name).info.run_id)
            for key, value in params.items():
                client.log_param(run_id, key, value)
            for it in numbers:
                for key, number in it.metrics.items():
                    client.log_metric(run_id, key, number, model_id=it.model_id)
                if it.tags:
                    client.set_logged_model_tags(it.model_id, dict(it.tags))
            client.set_terminated(run_id)
        except Exception as error:
            problem = f"{self.name} does not take the metrics: {_short(error)}"
            raise CannotCompare(problem) from None
        return run_id

    def _location(self, tags: Mapping[str, str]) -> str | None:
        if not is_workspace_address(self._uri):
            return None
        found = TraceLocation.of_environment(os.environ) or TraceLocation.of_experiment(tags)
        return found.path if found else None

    def close(self) -> None:
        """Nothing to do: MLflow caches its stores."""

    def _problem(self, error: Exception) -> CannotCompare:
        return CannotCompare(f"{self.name} cannot answer: {_short(error)}")


def _query(store: Any, experiment_id: str, question: Aggregate) -> list[Point]:
    from mlflow.entities.trace_metrics import AggregationType, MetricAggregation, MetricViewType

    def aggregation(name: str) -> Any:
        if name.startswith("P"):
            return MetricAggregation(AggregationType.PERCENTILE, float(name[1:]))
        return MetricAggregation(AggregationType[name])

    points = store.query_trace_metrics(
        experiment_ids=[experiment_id],
        view_type=MetricViewType[question.view],
        metric_name=question.metric,
        aggregations=[aggregation(name) for name in question.aggregations],
        dimensions=list(question.dimensions) or None,
        filters=list(question.filters),
        time_interval_seconds=question.interval_s,
        start_time_ms=question.start_ms,
        end_time_ms=question.end_ms,
    )
    return [Point.of(it.dimensions, it.values) for it in points]


def _trace(info: Any) -> Trace:
    return Trace(
        time_ms=info.request_time,
        latency_ms=None if info.execution_duration is None else float(info.execution_duration),
        state=str(getattr(info.state, "value", info.state)),
        metadata=info.trace_metadata,
        trace_id=str(info.trace_id),
        assessments=of_entities(info.assessments),
    )


def _short(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
