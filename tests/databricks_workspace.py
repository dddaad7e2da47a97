"""A stand-in for the HTTP side of a Databricks workspace, for tests.

It parses every request with mlflow's own messages, as strictly as they are, and answers what
mlflow's own client expects. What a workspace does beyond that is not known here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf import json_format
from mlflow.entities import TraceInfo
from mlflow.protos import databricks_tracing_pb2 as messages
from mlflow.protos.service_pb2 import GetTraceInfoV3, StartTraceV3
from mlflow.protos.service_pb2 import Trace as TraceV3
from mlflow.utils.search_utils import SearchTraceUtils
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS_PATH = "/api/2.0/otel/v1/traces"
WORKSPACE_ID = "1234567890"
EXPERIMENTS = "/api/2.0/mlflow/experiments/"
NO_WAREHOUSE = (
    400,
    {"error_code": "INVALID_PARAMETER_VALUE", "message": "Could not resolve a SQL warehouse ID"},
)


class DatabricksWorkspace(ThreadingHTTPServer):
    """What it was sent; and what it refuses, if `fault` says so."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.token = "dapi-secret"
        self.clients = {"client-1": "secret-of-client-1"}
        """Service principals, with their secrets."""
        self.experiments: dict[str, dict[str, str]] = {"/Shared/qa": {}}
        """By name, their tags. The id is the place in the order, from 1."""
        self.infos: dict[tuple[str, str], messages.TraceInfo] = {}
        """By location and trace id."""
        self.experiment_infos: dict[str, Any] = {}
        """Those of traces in experiments, by their id; their spans are files, in `artifacts`."""
        self.artifacts = ""
        self.searches: dict[str, Any] = {}
        """By name, their results."""
        self.warehouse = ""
        """The SQL warehouse that searches have to name; none if empty."""
        self.written: Counter[tuple[str, str]] = Counter()
        """How often each was written."""
        self.spans: dict[str, dict[str, Any]] = {}
        """By table, and trace id and span id."""
        self.repeated: list[str] = []
        """Spans that were sent again after they had been stored."""
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.wrong: list[str] = []
        """Requests that mlflow's messages do not allow."""
        self.fault: Any = lambda path: None
        """None, a status, a status with headers, or "drop"."""
        self.lock = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": "databricks",
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_TOKEN": self.token,
        }

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[DatabricksWorkspace]:
        with cls() as made:
            thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            yield made
            made.shutdown()
            thread.join()
        assert made.wrong == []
        for _, path, _, body in made.requests:
            for secret in (made.token, *made.clients.values()):
                assert secret not in path
                assert secret.encode() not in body

    def link(self, experiment: str, path: str) -> None:
        """Link an experiment, which is made when missing, to tables: catalog.schema.prefix."""
        self.experiments[experiment] = {
            "mlflow.experiment.databricksTraceDestinationPath": path,
            "mlflow.experiment.databricksTraceSpanStorageTable": f"{path}_otel_spans",
        }

    def handle_error(self, *_: object) -> None:
        """A connection that was dropped is part of the tests."""

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Any:
        """The JSON of an answer, or its status."""
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if (login := self._login(url.path, headers.get("Authorization"))) is not None:
            return login
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 401
        if url.path.startswith(EXPERIMENTS):
            return self._experiment_call(url.path.removeprefix(EXPERIMENTS), query)
        if url.path == SPANS_PATH:
            return self._store_spans(headers.get("X-Databricks-UC-Table-Name"), body)
        version, *parts = url.path.removeprefix("/api/").split("/")
        if version == "3.0":
            return self._call_of_experiments(method, parts, body)
        return self._call_of_tables(method, parts, parse_qs(url.query), body)

    def _call_of_experiments(self, method: str, parts: list[str], body: bytes) -> Any:
        match method, *parts:
            case ["GET", "mlflow", "traces", trace_id]:
                found = TraceV3(trace_info=self.experiment_infos[trace_id])
                return _json(GetTraceInfoV3.Response(trace=found))
            case ["POST", "mlflow", "traces"]:
                trace = json_format.Parse(body, StartTraceV3()).trace
                location = f"{self.artifacts}/{trace.trace_info.trace_id}"
                trace.trace_info.tags["mlflow.artifactLocation"] = location
                self.experiment_infos[trace.trace_info.trace_id] = trace.trace_info
                return _json(StartTraceV3.Response(trace=trace))
        return 404

    def _call_of_tables(
        self, method: str, parts: list[str], query: dict[str, list[str]], body: bytes
    ) -> Any:
        match method, *parts:
            case ["POST", "mlflow", "traces", "search"]:  # before MLflow 3.12
                return self._search(json_format.Parse(body, messages.SearchTraces()))
            case ["POST", "mlflow", "traces", "search-long-running"]:
                found = self._search(json_format.Parse(body, messages.SearchTracesLongRunning()))
                if found is NO_WAREHOUSE:
                    return found
                if self.searches:
                    return {"name": "quick", "done": True, "response": found}
                self.searches["slow"] = found  # the first, as mlflow then waits a second
                return {"name": "slow", "done": False}
            case ["GET", "mlflow", "traces", "search", "operations", name]:
                return {"name": name, "done": True, "response": self.searches[name]}
            case ["GET", "mlflow", "traces", location, "batchGet"]:
                return self._traces(location, query["trace_ids"])
            case ["GET", "mlflow", "traces", location, trace_id, "info"]:
                if self.warehouse and query.get("sql_warehouse_id") != [self.warehouse]:
                    return NO_WAREHOUSE
                trace = messages.Trace(trace_info=self.infos[location, trace_id])
                return _json(messages.GetTraceInfo.Response(trace=trace))
            case ["POST", "mlflow", "traces", location, trace_id, "info"]:
                info = json_format.Parse(body, messages.TraceInfo())
                return self._store_info(location, trace_id, info)
        return 404

    def _search(self, request: Any) -> Any:
        if self.warehouse and request.sql_warehouse_id != self.warehouse:
            return NO_WAREHOUSE
        [location] = request.locations
        names = getattr(location, str(location.WhichOneof("identifier")))
        parts = ("catalog_name", "schema_name", "table_prefix")
        path = ".".join(getattr(names, it) for it in parts if hasattr(names, it))
        infos = [TraceInfo.from_proto(info) for (at, _), info in self.infos.items() if at == path]
        infos = SearchTraceUtils.filter(infos, request.filter or None)
        infos = SearchTraceUtils.sort(infos, list(request.order_by))
        first = int(request.page_token or 0)
        last = first + request.max_results
        answer = messages.SearchTraces.Response(
            trace_infos=[it.to_proto() for it in infos[first:last]],
            next_page_token=str(last) if last < len(infos) else "",
        )
        return _json(answer)

    def _login(self, path: str, authorization: str | None) -> Any:
        """What is answered without credentials."""
        if path.endswith("/.well-known/oauth-authorization-server"):
            return {
                "authorization_endpoint": f"{self.url}/oidc/v1/authorize",
                "token_endpoint": f"{self.url}/oidc/v1/token",
            }
        if path == "/.well-known/databricks-config":
            return {"oidc_endpoint": f"{self.url}/oidc", "workspace_id": WORKSPACE_ID}
        if path == "/oidc/v1/token":
            logins = (f"{name}:{secret}".encode() for name, secret in self.clients.items())
            if authorization not in {f"Basic {base64.b64encode(it).decode()}" for it in logins}:
                return 401
            return {"access_token": self.token, "token_type": "Bearer", "expires_in": 3_600}
        return None

    def _store_info(self, location: str, trace_id: str, info: messages.TraceInfo) -> Any:
        assert info.trace_id == trace_id, "the ids of the path and of the body differ"
        assert info.trace_location.WhichOneof("identifier"), "no location"
        self.infos[location, trace_id] = info
        self.written[location, trace_id] += 1
        return _json(info)

    def _experiment_call(self, name: str, query: dict[str, str]) -> Any:
        if name != "search":
            return self._experiment(query)
        found = [self._experiment({"experiment_name": it}) for it in self.experiments]
        return {"experiments": [it["experiment"] for it in found]}

    def _experiment(self, query: dict[str, str]) -> Any:
        names = list(self.experiments)
        name = query.get("experiment_name") or names[int(query["experiment_id"]) - 1]
        if name not in names:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}
        return {
            "experiment": {
                "experiment_id": str(names.index(name) + 1),
                "name": name,
                "artifact_location": "dbfs:/none",
                "lifecycle_stage": "active",
                "tags": [{"key": k, "value": v} for k, v in self.experiments[name].items()],
            }
        }

    def _store_spans(self, table: str | None, body: bytes) -> Any:
        assert table, "no table"
        assert len(table.split(".")) == 3, table
        request = ExportTraceServiceRequest.FromString(body)
        stored = self.spans.setdefault(table, {})
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    key = (span.trace_id.hex(), span.span_id.hex())
                    if key in stored:
                        self.repeated.append(str(key))
                    stored[key] = span
        return {}

    def _traces(self, location: str, trace_ids: list[str]) -> Any:
        spans = [it for table in self.spans.values() for it in table.items()]
        traces = [
            messages.Trace(
                trace_info=self.infos[location, trace_id],
                spans=[span for key, span in spans if key[0] == trace_id],
            )
            for trace_id in trace_ids
            if (location, trace_id) in self.infos
        ]
        return _json(messages.BatchGetTraces.Response(traces=traces))


class _Handler(BaseHTTPRequestHandler):
    server: DatabricksWorkspace
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        more: dict[str, str] = {}
        with self.server.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.requests.append((self.command, self.path, headers, body))
            answer = self.server.fault(self.path)
            if answer == "drop":
                self.close_connection = True
                self.connection.close()
                return
            if isinstance(answer, tuple):
                answer, more = answer
            if answer is None:
                try:
                    answer = self.server.answer(self.command, self.path, self.headers, body)
                except (json_format.ParseError, AssertionError, KeyError) as error:
                    self.server.wrong.append(f"{self.command} {self.path}: {error!r}")
                    answer = 400
        status, content = 200, answer
        if isinstance(answer, int):
            status, content = answer, {}
        elif isinstance(answer, tuple):
            status, content = answer
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def _json(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
