"""MLflow's own server, which also stores the trace metadata that OTLP spans carry.

``mlflow server --app-name otel-mlflow-context`` (entry point ``mlflow.app``), or
``otel-mlflow-context-basic-auth`` for MLflow's basic authentication. See docs/server.md.
"""

from __future__ import annotations

import gc
from typing import Any

__all__ = ["create_app", "create_basic_auth_app"]


def create_app() -> Any:
    """MLflow's ASGI application with another route for OTLP spans.

    Raises:
        UnsupportedMlflowError: this MLflow, or how it was started, is not supported.
    """
    from otel_mlflow_context.server import mlflow_internals

    return _with_plugin(mlflow_internals.app(), is_strict=False)


def create_basic_auth_app() -> Any:
    """The same with the users and permissions of ``--app-name basic-auth``."""
    from otel_mlflow_context.server import mlflow_internals

    return _with_plugin(mlflow_internals.basic_auth_app(), is_strict=True)


def _with_plugin(app: Any, *, is_strict: bool) -> Any:
    from otel_mlflow_context.server import mlflow_internals, route
    from otel_mlflow_context.server.abandoned_traces import AbandonedTraces

    store = mlflow_internals.store()
    store.instrument(on_trace_without_root=AbandonedTraces(store).track)
    # Before MLflow's routes, but behind its middleware, which authenticates.
    app.router.routes[:0] = [
        route.TracesRoute(app, store, is_strict=is_strict),
        route.plugin_route(),
    ]
    # What has been imported stays. Each garbage collection would look at it again, and hold up
    # all requests: of large ones there are many.
    gc.collect()
    gc.freeze()
    return app
