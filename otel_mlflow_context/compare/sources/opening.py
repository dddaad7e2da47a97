"""Opening the source that a tracking URI means."""

from __future__ import annotations

import os
from pathlib import Path

from otel_mlflow_context.compare.sources.base import CannotCompare, Experiment, Source
from otel_mlflow_context.mlflow_client.http.server import without_credentials
from otel_mlflow_context.settings import environment_variables as env


def open_source(tracking_uri: str | None, *, timeout: float) -> Source:
    """The source of a tracking URI, by default MLflow's variables'.

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


def experiment_of(source: Source, name: str | None) -> Experiment:
    """The experiment of a name, by default MLflow's variables'.

    Raises:
        CannotCompare: there is none.
    """
    # The same precedence as the exporter's: a name in code, the id, the name.
    experiment_id = None if name else os.environ.get(env.MLFLOW_EXPERIMENT_ID)
    name = name or os.environ.get(env.MLFLOW_EXPERIMENT_NAME) or "Default"
    return source.experiment(name, experiment_id or None)
