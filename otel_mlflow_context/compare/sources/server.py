"""Traces of an MLflow server, by REST, without mlflow."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from otel_mlflow_context.compare.sources import at_once
from otel_mlflow_context.compare.sources.assessments import of_json
from otel_mlflow_context.compare.sources.base import (
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
from otel_mlflow_context.compare.sources.spans import Span, of_otlp
from otel_mlflow_context.compare.sources.times import milliseconds
from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
from otel_mlflow_context.mlflow_client.http.logged_models import LOGGED_MODELS
from otel_mlflow_context.mlflow_client.http.rest import Client, pairs
from otel_mlflow_context.mlflow_client.http.server import LOGIN_VARIABLES, server_from
from otel_mlflow_context.settings import environment_variables as env

_FIRST_ANSWER: Final = 10.0
"""The seconds in which a server that is there has answered which experiment it is."""
_UNKNOWN: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_UNAUTHORIZED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_LISTED: Final = 10
_MS_PER_S: Final = 1_000


class ServerSource:
    """The server of a tracking URI, with the credentials of MLflow's variables."""

    page = PAGE

    def __init__(self, uri: str, *, timeout: float) -> None:
        try:
            self._client = Client(server_from(os.environ, uri), connections=at_once.MOST)
        except ValueError as error:
            raise CannotCompare(str(error)) from None
        self._timeout = timeout

    @property
    def name(self) -> str:
        return self._client.server.name

    def experiment(self, name: str, experiment_id: str | None) -> Experiment:
        path = "/api/2.0/mlflow/experiments/"
        if experiment_id is not None:
            call, body = "get", {"experiment_id": experiment_id}
        else:
            call, body = "get-by-name", {"experiment_name": name}
        try:
            info = self._call("GET", f"{path}{call}", body, first=True)["experiment"]
            return Experiment(id=str(info["experiment_id"]), name=str(info["name"]))
        except RequestRejected as refused:
            if refused.status in _UNAUTHORIZED:
                raise self._problem(refused) from None
            try:
                others = self._call("POST", f"{path}search", {"max_results": _LISTED})
            except RequestRejected:
                raise self._problem(refused) from None
            names = [str(it["name"]) for it in others.get("experiments") or ()]
            raise not_there(experiment_id or name, names, self.name) from None
        except (KeyError, TypeError, AttributeError):
            raise self._no_mlflow() from None

    def aggregate(self, experiment: Experiment, question: Aggregate) -> list[Point]:
        body: dict[str, Any] = {
            "experiment_ids": [experiment.id],
            "view_type": question.view,
            "metric_name": question.metric,
            "aggregations": [_aggregation(name) for name in question.aggregations],
            "dimensions": list(question.dimensions),
            "filters": list(question.filters),
            "time_interval_seconds": question.interval_s,
            "start_time_ms": question.start_ms,
            "end_time_ms": question.end_ms,
        }
        body = {key: value for key, value in body.items() if value is not None}
        try:
            answer = self._call("POST", "/api/3.0/mlflow/traces/metrics", body)
        except RequestRejected as refused:
            if refused.status in _UNKNOWN:
                raise NoAggregation(f"MLflow before 3.10 does not, {refused.status}") from None
            if refused.status == HTTPStatus.BAD_REQUEST:
                raise NoAggregation(str(refused)) from None
            raise self._problem(refused) from None
        points = answer.get("data_points") or ()
        return [Point.of(it.get("dimensions"), it.get("values")) for it in points]

    def search(
        self,
        experiment: Experiment,
        where: str,
        *,
        order_by: str,
        limit: int,
        token: str | None = None,
    ) -> tuple[list[Trace], str | None]:
        location = {"mlflow_experiment": {"experiment_id": experiment.id}}
        body: dict[str, Any] = {
            "locations": [{"type": "MLFLOW_EXPERIMENT", **location}],
            "filter": where,
            "max_results": limit,
            "order_by": [order_by],
            **({"page_token": token} if token else {}),
        }
        try:
            answer = self._call("POST", "/api/3.0/mlflow/traces/search", body)
        except RequestRejected as refused:
            raise self._problem(refused) from None
        traces = [_trace(info) for info in answer.get("traces") or ()]
        return traces, answer.get("next_page_token") or None

    def spans(self, experiment: Experiment, trace_ids: Sequence[str]) -> dict[str, list[Span]]:  # noqa: ARG002  # a server finds traces by their id
        try:
            answer = self._call(
                "GET", "/api/3.0/mlflow/traces/batchGet", {"trace_ids": list(trace_ids)}
            )
        except RequestRejected as refused:
            raise self._problem(refused) from None
        return {
            str(it["trace_info"]["trace_id"]): [of_otlp(span) for span in it["spans"]]
            for it in answer.get("traces") or ()
            if it.get("spans")
        }

    def trace_link(self, experiment: Experiment, trace_id: str) -> str | None:
        query = urlencode({"selectedEvaluationId": trace_id})
        return f"{self.name}/#/experiments/{quote(experiment.id)}/traces?{query}"

    def has_model(self, experiment: Experiment, model_id: str) -> bool:
        try:
            answer = self._call("GET", f"{LOGGED_MODELS}/{quote(model_id, safe='')}", {})
            return str(answer["model"]["info"]["experiment_id"]) == experiment.id
        except (RequestRejected, KeyError, TypeError, AttributeError):
            return False

    def log(
        self,
        experiment: Experiment,
        run_name: str,
        params: Mapping[str, str],
        numbers: Sequence[ModelNumbers],
    ) -> str:
        path, now_ms = "/api/2.0/mlflow/", time.time_ns() // 1_000_000
        run = {"experiment_id": experiment.id, "run_name": run_name, "start_time": now_ms}
        try:
            created = self._call("POST", f"{path}runs/create", run)
            run_id = str(created["run"]["info"]["run_id"])
            body = {"run_id": run_id, "params": pairs(params)}
            self._call("POST", f"{path}runs/log-batch", body)
            for it in numbers:
                metrics = [
                    {"key": key, "value": value, "timestamp": now_ms, "model_id": it.model_id}
                    for key, value in it.metrics.items()
                ]
                body = {"run_id": run_id, "metrics": metrics}
                self._call("POST", f"{path}runs/log-batch", body)
                if it.tags:
                    tags = {"tags": pairs(it.tags)}
                    self._call("PATCH", f"{LOGGED_MODELS}/{quote(it.model_id, safe='')}/tags", tags)
            ended = {"run_id": run_id, "status": "FINISHED", "end_time": now_ms}
            self._call("POST", f"{path}runs/update", ended)
        except RequestRejected as refused:
            raise self._not_logged(refused) from None
        except (KeyError, TypeError, AttributeError):
            raise self._no_mlflow() from None
        return run_id

    def _not_logged(self, refused: RequestRejected) -> CannotCompare:
        if refused.status in _UNAUTHORIZED:
            return CannotCompare(
                f"{self.name} does not let you log metrics ({refused}): it needs a user with EDIT "
                "permission on the experiment"
            )
        return CannotCompare(f"{self.name} does not take the metrics ({refused})")

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, body: dict[str, Any], *, first: bool = False) -> Any:
        timeout = min(self._timeout, _FIRST_ANSWER) if first else self._timeout
        try:
            answer = self._client.call(method, path, body, time.monotonic() + timeout)
        except ServerUnavailable as error:
            raise CannotCompare(
                f"{self.name} does not answer within {timeout:g} s ({error}): see that the server "
                f"runs, and that {env.MLFLOW_TRACKING_URI} is its address"
            ) from None
        except ValueError:
            raise self._no_mlflow() from None
        if not isinstance(answer, dict):
            raise self._no_mlflow()
        return answer

    def _problem(self, refused: RequestRejected) -> CannotCompare:
        if refused.status in _UNAUTHORIZED:
            return CannotCompare(
                f"{self.name} does not let you read ({refused}): set {LOGIN_VARIABLES}, of a user "
                "who may read the experiment"
            )
        if refused.status in _UNKNOWN:
            return CannotCompare(
                f"{self.name} has no search of traces ({refused}): it is older than MLflow 3.6, "
                "or a proxy does not pass it on"
            )
        return CannotCompare(f"{self.name} refuses the question ({refused})")

    def _no_mlflow(self) -> CannotCompare:
        return CannotCompare(
            f"what answers at {self.name} is no MLflow server, but perhaps a login page: correct "
            f"{env.MLFLOW_TRACKING_URI} (http or https? a path?)"
        )


def _aggregation(name: str) -> dict[str, Any]:
    if name.startswith("P"):
        return {"aggregation_type": "PERCENTILE", "percentile_value": float(name[1:])}
    return {"aggregation_type": name}


def _trace(info: Mapping[str, Any]) -> Trace:
    duration = str(info.get("execution_duration") or "")
    return Trace(
        time_ms=milliseconds(str(info["request_time"])),
        latency_ms=float(duration.removesuffix("s")) * _MS_PER_S if duration else None,
        state=str(info.get("state") or ""),
        metadata=info.get("trace_metadata") or {},
        trace_id=str(info.get("trace_id") or ""),
        assessments=of_json(info.get("assessments")),
    )
