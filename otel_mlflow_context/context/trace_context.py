"""`trace_context`: request facts for the time of a `with` block or of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final, ParamSpec, TypeVar, cast
from uuid import UUID

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_mlflow_context.facts.request import set_request_facts
from otel_mlflow_context.facts.values import clean, max_length, request_value
from otel_mlflow_context.semconv import (
    CLIENT_REQUEST_ID,
    MAX_DECLARED,
    MAX_KEY_LENGTH,
    NAMESPACES_OF_MLFLOW,
    PROCESS_FACTS,
    REQUEST_FACTS,
    SESSION_ID,
    USER_ID,
    is_allowed_key,
)
from otel_mlflow_context.settings import current_settings

_P = ParamSpec("_P")
_R = TypeVar("_R")
_ARGUMENTS: Final = frozenset(
    name for fact in REQUEST_FACTS for name in (fact.attribute, fact.metadata)
)
_PROCESS_METADATA: Final = frozenset(fact.metadata for fact in PROCESS_FACTS)

# What `__exit__` has to undo, per task and thread: one object may be entered by many at a time.
_open_blocks: ContextVar[tuple[Token[Context], ...]] = ContextVar("open_blocks", default=())


class trace_context:  # noqa: N801  # used like a function, as contextlib's are
    """Set session, user and more for every trace that starts inside; also a decorator.

    Session, user and request id become OpenTelemetry baggage, so that services that are called
    from inside get them too. What is set here wins over what came with a request, and an inner
    `trace_context` over an outer one. The metadata stays in this process.

    Args:
        session_id: the conversation (text, or an int or UUID that becomes text); one of over 250
            characters is shortened, with a digest of the whole at its end.
        user_id: the end user, of the same form.
        request_id: the application's own id of this request, of the same form, of at most 50
            characters; it becomes the trace's client request id.
        metadata: more trace metadata, text by name, at most 32. Names are letters and digits of
            ASCII, spaces and any of ``_ . : / ~ -``, and do not start with ``mlflow.``.

    None and blank text are not set.

    Raises:
        ValueError: an argument of another form; the message names it.

    Example:

    >>> from opentelemetry import baggage
    >>> with trace_context(session_id="s-1", user_id="ada"):
    ...     baggage.get_baggage("session.id")
    's-1'

    It decorates functions, coroutine functions, and generators of both kinds, in which it holds
    while their own code runs, not while the consumer's does:

    >>> @trace_context(session_id="s-2")
    ... def answer():
    ...     return baggage.get_baggage("session.id")
    >>> answer()
    's-2'
    """

    def __init__(
        self,
        *,
        session_id: str | int | UUID | None = None,
        user_id: str | int | UUID | None = None,
        request_id: str | int | UUID | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        ids = {
            SESSION_ID: _id("session_id", session_id, SESSION_ID),
            USER_ID: _id("user_id", user_id, USER_ID),
            CLIENT_REQUEST_ID: _id("request_id", request_id, CLIENT_REQUEST_ID),
        }
        self._ids = {key: value for key, value in ids.items() if value is not None}
        self.metadata = _metadata(metadata)

    def entries(self) -> dict[str, str]:
        """The baggage entries, with the user's id as the settings of this moment allow."""
        settings = current_settings()
        entries = {key: request_value(key, value, settings) for key, value in self._ids.items()}
        return {key: value for key, value in entries.items() if value is not None}

    def __enter__(self) -> None:
        _open_blocks.set((*_open_blocks.get(), context_api.attach(self._context())))

    def __exit__(self, *_: object) -> None:
        *outer, token = _open_blocks.get() or (None,)
        if token is not None:
            _open_blocks.set(tuple(outer))
            context_api.detach(token)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        wrapper: Any
        if inspect.isasyncgenfunction(function):
            wrapper = _async_generator(function, self._context)
        elif inspect.isgeneratorfunction(function):

            def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                return (yield from _Steps(self._context(), function, *args, **kwargs))

        elif inspect.iscoroutinefunction(function):

            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

        else:

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return function(*args, **kwargs)

        return cast("Callable[_P, _R]", functools.wraps(function)(wrapper))

    def _context(self) -> Context:
        return set_request_facts(context_api.get_current(), self.entries(), self.metadata)


class _Steps(Generator[Any, Any, Any]):
    """A generator whose steps run in a context that its consumer does not see.

    The context keeps what a step has left attached: a generator that has opened a span finds it
    again when it goes on.
    """

    def __init__(
        self, context: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> None:
        self._context = context
        with self.attached():
            self.generator = function(*args, **kwargs)

    @contextmanager
    def attached(self) -> Generator[None, None, None]:
        token = context_api.attach(self._context)
        try:
            yield
        finally:
            self._context = context_api.get_current()
            context_api.detach(token)

    def send(self, value: Any) -> Any:
        with self.attached():
            return self.generator.send(value)

    def throw(self, *error: Any) -> Any:
        with self.attached():
            return self.generator.throw(*error)


def _async_generator(function: Callable[..., Any], new_context: Callable[[], Context]) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = _Steps(new_context(), function, *args, **kwargs)
        step = steps.generator.asend(None)
        while True:  # what "yield from" does, which asynchronous generators do not have
            try:
                with steps.attached():
                    item = await step
            except StopAsyncIteration:
                return
            try:
                step = steps.generator.asend((yield item))
            except GeneratorExit:
                with steps.attached():
                    await steps.generator.aclose()
                raise
            except BaseException as error:
                step = steps.generator.athrow(error)

    return wrapper


def _id(argument: str, value: object, key: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)):
        raise ValueError(f"{argument} must be text, an int or a UUID, not {type(value).__name__}")  # noqa: TRY004
    return clean(str(value), max_length(key))


def _metadata(metadata: object) -> dict[str, str]:
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise ValueError(  # noqa: TRY004
            f"metadata must be a mapping of names to text, not {type(metadata).__name__}"
        )
    if len(metadata) > MAX_DECLARED:
        raise ValueError(f"metadata must have at most {MAX_DECLARED} names, got {len(metadata)}")
    return {
        key: text
        for name, value in metadata.items()
        if (key := _metadata_key(name)) and (text := clean(value)) is not None
    }


def _metadata_key(name: object) -> str:
    if name in _ARGUMENTS:
        raise ValueError(f"metadata must not have {name!r}, which is an argument of its own")
    if isinstance(name, str) and name.lower().startswith(NAMESPACES_OF_MLFLOW):
        raise ValueError(
            f"a name in metadata must not start with {' or '.join(map(repr, NAMESPACES_OF_MLFLOW))}"
            f", got {name!r}"
        )
    if not isinstance(name, str) or not (name in _PROCESS_METADATA or is_allowed_key(name)):
        raise ValueError(
            f"a name in metadata must be text of 1 to {MAX_KEY_LENGTH} letters and digits of "
            f"ASCII, spaces and any of _ . : / ~ -, got {name!r}"
        )
    return name
