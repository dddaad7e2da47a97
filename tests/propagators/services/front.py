"""The first service that a request comes to: FastAPI."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from clients import CLIENTS
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse
from opentelemetry import baggage, trace
from opentelemetry.context import Context

from otel_mlflow_context import update_trace_context

app = FastAPI()
tracer = trace.get_tracer("front")
background: dict[str, str] = {}


@app.get("/ask/{client}")
def ask(client: str, login: str | None = None) -> dict[str, str]:
    if login:
        with tracer.start_as_current_span("login"):
            update_trace_context(user_id=login)
    call = CLIENTS[client]
    found = call(f"{os.environ['RETRIEVAL']}/search/{client}")
    vendor = call(f"{os.environ['VENDOR']}/front-{client}")
    return {"found": found, "vendor": vendor}


@app.get("/stream/{user}")
async def stream(user: str, tasks: BackgroundTasks) -> StreamingResponse:
    async def words() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0.01)
            yield f"{baggage.get_baggage('user.id')} "

    async def afterwards() -> None:
        await asyncio.sleep(0.05)
        # A trace of its own, with the request's baggage.
        user_id = str(baggage.get_baggage("user.id"))
        context = baggage.set_baggage("user.id", user_id, Context())
        with tracer.start_as_current_span(f"background {user}", context=context):
            background[user] = user_id

    tasks.add_task(afterwards)
    return StreamingResponse(words())


@app.get("/background")
def get_background() -> dict[str, str]:
    return background
