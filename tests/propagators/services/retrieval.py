"""The service behind it: Flask, which serves each request in a thread."""

from __future__ import annotations

import os
import time

from clients import CLIENTS
from flask import Flask
from opentelemetry import baggage

app = Flask(__name__)


@app.get("/search/<client>")
def search(client: str) -> dict[str, str]:
    call = CLIENTS[client]
    return {
        "queue": call(f"{os.environ['QUEUE']}/work/{client}"),
        "vendor": call(f"{os.environ['VENDOR']}/retrieval-{client}"),
    }


@app.get("/slow/<user>")
def slow(user: str) -> str:
    time.sleep(0.05)
    return f"{user} {baggage.get_baggage('user.id')}"


@app.get("/ready")
def ready() -> str:
    return "yes"
