"""MLflow's own server, with one difference: spans that come by OTLP bring their trace's metadata.

``mlflow server --app-name otel-mlflow-context`` (entry point ``mlflow.app``), or
``otel-mlflow-context-basic-auth`` for MLflow's basic authentication. See docs/server.md.
"""

from __future__ import annotations

from typing import Any

__all__ = ["create_app", "create_basic_auth_app"]


def create_app() -> Any:
    """MLflow's ASGI application, with the route for spans replaced.

    Raises:
        UnsupportedMlflowError: this MLflow, or how it is started, is not one that this works with.
    """
    from otel_mlflow_context.server import mlflow_internals

    return _with_metadata(mlflow_internals.app())


def create_basic_auth_app() -> Any:
    """The same with the users and permissions of ``--app-name basic-auth``."""
    from otel_mlflow_context.server import mlflow_internals

    return _with_metadata(mlflow_internals.basic_auth_app())


def _with_metadata(app: Any) -> Any:
    from otel_mlflow_context.server import mlflow_internals
    from otel_mlflow_context.server.abandoned_traces import Closer
    from otel_mlflow_context.server.route import InfoRoute, IngestRoute

    store = mlflow_internals.store()
    closer = Closer(store)
    store.watch(closer.seen)
    # First, so that they are asked before MLflow's own: behind its middleware all the same.
    app.router.routes[:0] = [IngestRoute(app.router, store), InfoRoute()]
    return app
