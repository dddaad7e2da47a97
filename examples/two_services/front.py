"""The front service: authenticates the user, calls the retrieval service, and then the model."""

from __future__ import annotations

import os
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Header

from otel_mlflow_context import update_trace_context

app = FastAPI()
USERS = {"Bearer adas-token": "ada", "Bearer graces-token": "grace"}


def logged_in(authorization: Annotated[str, Header()]) -> str:
    """Authenticate the user, and add the user to the trace in progress."""
    user = USERS[authorization]
    update_trace_context(user_id=user)
    return user


@app.post("/ask")
def ask(question: str, user: Annotated[str, Depends(logged_in)]) -> dict[str, str]:
    passages = httpx.get(f"{os.environ['RETRIEVAL']}/search", params={"q": question}).json()
    answer = httpx.post(f"{os.environ['VENDOR']}/v1/chat", json={"passages": passages}).text
    return {"user": user, "answer": answer}
