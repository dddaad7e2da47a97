"""A chat service without tracing code."""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class ChatRequest(BaseModel):
    message: str


class ChatResponse(BaseModel):
    response: str


@app.post("/chat")
def chat(request: ChatRequest) -> ChatResponse:
    return ChatResponse(response=call_model(request.message))


def call_model(message: str) -> str:
    """Stand in for a model. Version 1.0.0 has no answer about spans."""
    answers = {"trace": "A tree of spans."}
    if os.environ.get("APP_VERSION") != "1.0.0":
        answers["span"] = "A named, timed piece of work."
    return answers.get(message, "I do not know.")
