"""A Databricks workspace: its address and login by databricks-sdk, and traces in Unity Catalog.

What is sent is what MLflow's own client sends (mlflow/store/tracking/databricks_rest_store.py).
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, ClassVar, Final

import requests

from otel_mlflow_context.mlflow_client.http.credentials import Credentials
from otel_mlflow_context.mlflow_client.http.errors import RequestRejected, ServerUnavailable
from otel_mlflow_context.mlflow_client.http.rest import Client, TraceUpdate
from otel_mlflow_context.mlflow_client.http.server import server_from
from otel_mlflow_context.semconv import MLFLOW_TRACE_SCHEMA_VERSION
from otel_mlflow_context.settings import environment_variables as env

_ADDRESS: Final = re.compile(r"databricks(?:://(?P<profile>[^/:]*))?")
_REASON_LENGTH: Final = 300
_LOGIN_TIMEOUT: Final = 10
"""Seconds for one call of databricks-sdk, with its own retries: its default is five minutes."""
_SPANS_TABLE: Final = "_otel_spans"
_SCHEMA_TABLE: Final = "mlflow_experiment_trace_otel_spans"
"""The spans table of a schema without prefix."""
_PATH_TAG: Final = "mlflow.experiment.databricksTraceDestinationPath"
_TABLE_TAG: Final = "mlflow.experiment.databricksTraceSpanStorageTable"
_NO_WAREHOUSE: Final = "SQL warehouse"
"""In the answer of a workspace that does not know where to run a query."""
_RUN: Final = "mlflow.sourceRun"
_TRACE_SCHEMA: Final = {MLFLOW_TRACE_SCHEMA_VERSION: "4"}


def is_workspace_address(uri: str) -> bool:
    """Whether a tracking URI is ``databricks`` or ``databricks://<profile>``."""
    return _ADDRESS.fullmatch(uri.strip()) is not None


class Workspace:
    """A `Server` with databricks-sdk's unified authentication, which renews its tokens.

    It is configured at the first request: that may ask the workspace, or who issues tokens.

    Args:
        uri: ``databricks`` or ``databricks://<profile>``.

    Raises:
        ValueError: databricks-sdk is not installed.
    """

    verify: Final = True
    cert: Final = None
    advice: ClassVar[Mapping[int, str]] = {
        HTTPStatus.UNAUTHORIZED: (
            f"; correct {env.DATABRICKS_TOKEN}, or the profile in ~/.databrickscfg"
        ),
        HTTPStatus.FORBIDDEN: "; the user needs MODIFY and SELECT on the spans table",
    }

    def __init__(self, uri: str) -> None:
        if not _is_installed("databricks.sdk"):
            raise ValueError(
                f"tracking_uri ({env.MLFLOW_TRACKING_URI}) is {uri!r}, which needs databricks-sdk: "
                "`pip install 'otel-mlflow-context[databricks]'`"
            )
        self.name = uri.strip()
        found = _ADDRESS.fullmatch(self.name)
        self._profile = found["profile"] if found else None
        self._lock = threading.Lock()
        self._config: Any = None
        self._used = threading.local()
        """The configuration of each thread's latest request."""

    @property
    def credentials(self) -> Credentials:
        return self

    @property
    def url(self) -> str:
        return str(self._connected().host).rstrip("/")

    def add_to(self, request: requests.PreparedRequest) -> None:
        config = self._used.config = self._connected()
        try:
            request.headers.update(config.authenticate())
        except Exception as error:
            raise ServerUnavailable(_no_login(error)) from None
        if workspace_id := getattr(config, "workspace_id", None):
            request.headers["x-databricks-org-id"] = str(workspace_id)

    def renew(self) -> bool:
        with self._lock:  # another thread may have renewed it already
            if self._config is self._used.config:
                self._config = None
        return True

    def _connected(self) -> Any:
        from databricks.sdk.core import Config

        with self._lock:  # the first request of many threads
            if self._config is None:
                try:
                    self._config = Config(
                        profile=self._profile or None,
                        http_timeout_seconds=_LOGIN_TIMEOUT,
                        retry_timeout_seconds=_LOGIN_TIMEOUT,
                        product="otel-mlflow-context",
                        product_version=version("otel-mlflow-context"),
                    )
                except Exception as error:
                    raise ServerUnavailable(_no_login(error)) from None
            return self._config


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is its parent
        return False


def _no_login(error: Exception) -> str:
    """The SDK's text names the variables that it found, and hides their secrets."""
    return f"no login to Databricks: {' '.join(str(error).split())[:_REASON_LENGTH]}"


@dataclass(frozen=True)
class TraceLocation:
    """Where in Unity Catalog traces are stored."""

    catalog: str
    schema: str
    prefix: str | None
    """None: the tables of the whole schema."""
    spans_table: str
    """``<catalog>.<schema>.<table>``"""

    @property
    def path(self) -> str:
        """``<catalog>.<schema>`` or ``<catalog>.<schema>.<prefix>``, as in MLflow's trace ids."""
        return ".".join(filter(None, (self.catalog, self.schema, self.prefix)))

    @property
    def as_json(self) -> dict[str, Any]:
        names = {"catalog_name": self.catalog, "schema_name": self.schema}
        if self.prefix is None:
            table = self.spans_table.rpartition(".")[2]
            schema = {**names, "otel_spans_table_name": table}
            return {"type": "UC_SCHEMA", "uc_schema": schema}
        prefix = {**names, "table_prefix": self.prefix, "spans_table_name": self.spans_table}
        return {"type": "UC_TABLE_PREFIX", "uc_table_prefix": prefix}

    @classmethod
    def of_table(cls, uc_table: str) -> TraceLocation:
        """The location of a spans table.

        Raises:
            ValueError: it is not the name of one.
        """
        catalog, _, rest = uc_table.strip().partition(".")
        schema, _, table = rest.partition(".")
        if not catalog or not schema or "." in table or not table.endswith(_SPANS_TABLE):
            raise ValueError(
                "uc_table must be the spans table in Unity Catalog, "
                f"<catalog>.<schema>.<prefix>{_SPANS_TABLE}, got {uc_table!r}"
            )
        prefix = None if table == _SCHEMA_TABLE else table.removesuffix(_SPANS_TABLE)
        return cls(catalog, schema, prefix, uc_table.strip())

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> TraceLocation | None:
        """That of ``MLFLOW_TRACING_DESTINATION``, if it is ``<catalog>.<schema>``."""
        catalog, _, schema = environ.get(env.MLFLOW_TRACING_DESTINATION, "").strip().partition(".")
        if not catalog or not schema or "." in schema:
            return None
        return cls(catalog, schema, None, f"{catalog}.{schema}.{_SCHEMA_TABLE}")

    @classmethod
    def of_experiment(cls, tags: Mapping[str, str]) -> TraceLocation | None:
        """That which an experiment is linked to, by its tags."""
        path = tags.get(_PATH_TAG, "")
        catalog, _, rest = path.partition(".")
        schema, _, prefix = rest.partition(".")
        if not (catalog and schema and prefix):
            return None
        return cls(catalog, schema, prefix, tags.get(_TABLE_TAG) or f"{path}{_SPANS_TABLE}")


def client_of(
    uri: str, *, connections: int, run_id: str | None = None, location: TraceLocation | None = None
) -> Client:
    """The client of a tracking URI: of an MLflow server, or of a workspace.

    Args:
        uri: the http(s) address of a server, or ``databricks`` or ``databricks://<profile>``.
        connections: as of `Client`, and `run_id`.
        location: in a workspace; by default that of ``MLFLOW_TRACING_DESTINATION``.

    Raises:
        ValueError: the URI is none of them, or a package is missing.
    """
    if not is_workspace_address(uri):
        return Client(server_from(os.environ, uri), connections=connections, run_id=run_id)
    location = location or TraceLocation.of_environment(os.environ)
    return WorkspaceClient(
        Workspace(uri), connections=connections, run_id=run_id, location=location
    )


class WorkspaceClient(Client):
    """The calls to a workspace whose traces are in Unity Catalog.

    Args:
        workspace: the workspace.
        connections: as of `Client`, and `run_id`.
        location: where traces are stored; by default where the experiment is linked to.
    """

    spans_path = "/api/2.0/otel/v1/traces"

    def __init__(
        self,
        workspace: Workspace,
        *,
        connections: int,
        run_id: str | None = None,
        location: TraceLocation | None = None,
    ) -> None:
        super().__init__(workspace, connections=connections, run_id=run_id)
        self._location = location

    def destination(
        self, experiment_id: str | None, experiment_name: str | None, deadline: float
    ) -> str:
        if self._location is not None:  # needs no experiment
            return experiment_id or ""
        path = "/api/2.0/mlflow/experiments/"
        if experiment_id:
            found = self.call("GET", f"{path}get", {"experiment_id": experiment_id}, deadline)
        elif experiment_name:
            names = {"experiment_name": experiment_name}
            found = self.call("GET", f"{path}get-by-name", names, deadline)
        else:
            found = {}
        experiment = found.get("experiment", {})
        tags = {it["key"]: it["value"] for it in experiment.get("tags", ())}
        self._location = TraceLocation.of_experiment(tags)
        if self._location is None:
            what = experiment_name or experiment_id
            reason = (
                f"experiment {what!r} is not linked to tables in Unity Catalog"
                if what
                else f"neither {env.MLFLOW_EXPERIMENT_NAME} nor uc_table is set"
            )
            raise RequestRejected(
                HTTPStatus.NOT_FOUND,
                f"{reason}; link it by mlflow.set_experiment(..., trace_location=...), or set "
                f"uc_table, or {env.MLFLOW_TRACING_DESTINATION} to <catalog>.<schema>",
            )
        return str(experiment["experiment_id"])

    def spans_headers(self, _experiment_id: str) -> dict[str, str]:
        return {"X-Databricks-UC-Table-Name": self._found_location().spans_table}

    def sets_request_ids(self, _deadline: float) -> bool:
        """Always: with the rest of the trace info."""
        return True

    def has_plugin(self, _deadline: float) -> bool:
        return False

    def write(self, trace: TraceUpdate, _experiment_id: str, deadline: float) -> None:
        location = self._found_location()
        trace_id = trace.trace_id.removeprefix("tr-")
        run = {_RUN: self.run_id} if self.run_id else {}
        info = {
            **self.trace_info(trace),
            "trace_id": trace_id,
            "trace_location": location.as_json,
            "trace_metadata": {**trace.metadata, **run, **_TRACE_SCHEMA},
        }
        self.call("POST", self._info_path(trace_id), info, deadline)

    def mlflow_trace_id(self, otel_trace_id: str) -> str:
        return f"trace:/{self._found_location().path}/{otel_trace_id}"

    def _trace(self, otel_trace_id: str, deadline: float) -> Any:
        warehouse = os.environ.get(env.MLFLOW_TRACING_SQL_WAREHOUSE_ID)
        query = {"sql_warehouse_id": warehouse} if warehouse else {}
        try:
            return self.call("GET", self._info_path(otel_trace_id), query, deadline)
        except RequestRejected as rejected:
            if _NO_WAREHOUSE not in str(rejected):
                raise
            advice = f"; set {env.MLFLOW_TRACING_SQL_WAREHOUSE_ID}"
            raise RequestRejected(rejected.status, f"{rejected.reason}{advice}") from None

    def _info_path(self, otel_trace_id: str) -> str:
        return f"/api/4.0/mlflow/traces/{self._found_location().path}/{otel_trace_id}/info"

    def _found_location(self) -> TraceLocation:
        if self._location is None:
            raise ServerUnavailable("where traces are stored is not known yet")
        return self._location
