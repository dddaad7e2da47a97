"""A stand-in for the OpenTelemetry Collector, with the example's configuration.

It takes OTLP, merges the requests into one, and sends that on as the configuration says.
"""

from __future__ import annotations

import gzip
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXAMPLE = Path(__file__).parents[1] / "examples" / "collector"


class Relay(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _RelayHandler)
        text = re.sub(
            r"\$\{env:(\w+)\}",
            lambda match: environment[match[1]],
            (EXAMPLE / "collector.yaml").read_text(),
        )
        self.configuration = yaml.safe_load(text)
        self.exporter = self.configuration["exporters"]["otlphttp/mlflow"]
        self.batch = ExportTraceServiceRequest()

    def send_on(self) -> None:
        assert (self.exporter["encoding"], self.exporter["compression"]) == ("proto", "none")
        requests.post(
            self.exporter["traces_endpoint"],
            data=self.batch.SerializeToString(),
            headers={**self.exporter["headers"], "Content-Type": "application/x-protobuf"},
            timeout=30,
        ).raise_for_status()


class _RelayHandler(BaseHTTPRequestHandler):
    server: Relay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.batch.MergeFrom(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
