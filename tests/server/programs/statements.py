"""A program: has each statement of the transaction that stores spans fail, one after the other.

The store is the environment's, as `mlflow server` sets it for its workers. It prints, as JSON, what
is stored after each failure, and after the same request is sent again.
"""

import asyncio
import json
import os
import sys

import httpx
import sqlalchemy
from mlflow.server.handlers import _get_tracking_store
from otlp import HAS_REMOTE_PARENT, otlp_request
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from otel_mlflow_context.server import create_app

FAULTS = {
    "operational": lambda: OperationalError("a fault", {}, Exception("the connection is lost")),
    "pool": lambda: sqlalchemy.exc.TimeoutError(
        "no connection is free"
    ),  # only at the first statement
    "integrity": lambda: IntegrityError("a fault", {}, Exception("the row is there")),
    "data": lambda: DataError("a fault", {}, Exception("a bad value")),
    "bug": lambda: RuntimeError("a fault"),
}
RESOURCE = {"service.name": "qa", "service.version": "1", "cloud.region": "eu"}
KEYS = ("app_version", "region", "service_name")


class Faults:
    """Counts statements and commits, and has one of them fail."""

    def __init__(self, engine):
        self.count = self.at = 0
        self.make = None
        sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *_: self._next())
        sqlalchemy.event.listen(engine, "commit", lambda *_: self._next())

    def arm(self, at, make):
        self.count, self.at, self.make = 0, at, make

    def disarm(self):
        """Whether it has happened."""
        self.make = None
        return self.count >= self.at

    def _next(self):
        self.count += 1
        if self.make is not None and self.count == self.at:
            raise self.make()


def new_request():
    """A root with a child, an entry span without a root, and another root."""
    traces = [os.urandom(16) for _ in range(3)]
    child = {"parent_span_id": b"p" * 8, "flags": 0x100}
    entry = {"parent_span_id": b"p" * 8, "flags": HAS_REMOTE_PARENT}
    spans = [{"trace_id": traces[0]}, {"trace_id": traces[0], **child}]
    spans += [{"trace_id": traces[1], **entry}, {"trace_id": traces[2]}]
    body = otlp_request(*spans, **RESOURCE).SerializeToString()
    return [f"tr-{trace_id.hex()}" for trace_id in traces], body


def stored(engine, trace_ids):
    """Of each trace: whether it is there, its spans, and its keys of ours."""
    found = {}
    with engine.connect() as connection:
        for trace_id in trace_ids:

            def rows(query, trace_id=trace_id):
                return connection.execute(sqlalchemy.text(query), {"id": trace_id}).scalars().all()

            metadata = rows("SELECT key FROM trace_request_metadata WHERE request_id = :id")
            found[trace_id] = (
                bool(rows("SELECT request_id FROM trace_info WHERE request_id = :id")),
                len(rows("SELECT span_id FROM spans WHERE trace_id = :id")),
                sorted(set(metadata) & set(KEYS)),
            )
    return list(found.values())


async def main():
    app = create_app()
    engine = _get_tracking_store().engine
    faults = Faults(engine)
    results = []
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

        async def send(body):
            headers = {"x-mlflow-experiment-id": "0", "content-type": "application/x-protobuf"}
            answer = await client.post("/v1/traces", content=body, headers=headers)
            return answer.status_code, b"tr-" in answer.content

        for kind, make in FAULTS.items():
            for at in range(1, 2 if kind == "pool" else 500):
                trace_ids, body = new_request()
                faults.arm(at, make)
                status, is_partial = await send(body)
                if not faults.disarm():
                    break
                after = stored(engine, trace_ids)
                again = (*await send(body), stored(engine, trace_ids))
                results.append((kind, at, status, is_partial, after, again))
    json.dump(results, sys.stdout)


asyncio.run(main())
