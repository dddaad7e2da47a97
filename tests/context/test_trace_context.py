from __future__ import annotations

import asyncio
import contextvars
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider

from otel_mlflow_context import trace_context
from otel_mlflow_context.facts.request import RequestFacts
from otel_mlflow_context.settings import Settings

tracer = TracerProvider().get_tracer("test")


def session() -> object:
    return baggage.get_baggage("session.id")


def facts() -> dict[str, str]:
    return dict(RequestFacts(Settings()).read(None))


def test_it_sets_baggage_for_a_block() -> None:
    with trace_context(session_id="s", user_id="u", request_id="r"):
        assert dict(baggage.get_all()) == {
            "session.id": "s",
            "user.id": "u",
            "mlflow.client_request_id": "r",
        }
    assert not baggage.get_all()


def test_the_metadata_never_becomes_baggage() -> None:
    with trace_context(metadata={"tenant": "acme"}):
        assert not baggage.get_all()
        assert facts()["tenant"] == "acme"


def test_an_inner_block_wins_and_the_outer_one_comes_back() -> None:
    with trace_context(session_id="outer", user_id="u", metadata={"a": "1", "b": "1"}):
        with trace_context(session_id="inner", metadata={"b": "2"}):
            inner = facts()
            assert (inner["session.id"], inner["user.id"]) == ("inner", "u")
            assert (inner["a"], inner["b"]) == ("1", "2")
        assert session() == "outer"
        assert facts()["b"] == "1"


def test_it_is_undone_when_the_block_fails() -> None:
    with pytest.raises(KeyError), trace_context(session_id="s"):
        raise KeyError
    assert session() is None


def test_none_and_blank_are_not_set() -> None:
    with trace_context(session_id=None, user_id="  ", metadata={"a": ""}):
        assert facts() == {}


def test_numbers_and_uuids_become_text() -> None:
    user = uuid.uuid4()
    with trace_context(session_id=7, user_id=user):
        assert session() == "7"
        assert baggage.get_baggage("user.id") == str(user)


def test_ids_are_cleaned_and_shortened() -> None:
    with trace_context(session_id="s\n1", user_id="u" * 300, request_id="r" * 60):
        made = facts()
    assert made["session.id"] == "s 1"
    assert len(made["user.id"]) == 250
    assert len(made["mlflow.client_request_id"]) == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"session_id": b"s"}, "session_id must be text, an int or a UUID, not bytes"),
        ({"user_id": True}, "user_id must be text"),
        ({"request_id": 1.5}, "request_id must be text"),
        ({"metadata": ["a"]}, "metadata must be a mapping"),
        ({"metadata": {1: "a"}}, "a name in metadata must be text"),
        ({"metadata": {"a,b": "a"}}, "a name in metadata must be text"),
        ({"metadata": {"a\n": "a"}}, "a name in metadata must be text"),
        ({"metadata": {"mlflow.x": "a"}}, "must not start with 'mlflow.'"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace_context(**arguments)


def test_an_error_does_not_tell_the_users_id() -> None:
    with pytest.raises(ValueError, match="user_id") as raised:
        trace_context(user_id=["ada@example.com"])
    assert "ada" not in str(raised.value)


def test_it_decorates_a_function() -> None:
    @trace_context(session_id="s")
    def answer(question: str) -> tuple[object, str]:
        """Answer."""
        return session(), question

    assert answer("q") == ("s", "q")
    assert (answer.__name__, answer.__doc__) == ("answer", "Answer.")
    assert session() is None


def test_it_decorates_a_coroutine_function() -> None:
    @trace_context(session_id="s")
    async def answer() -> object:
        await asyncio.sleep(0)
        return session()

    assert asyncio.iscoroutinefunction(answer)
    assert asyncio.run(answer()) == "s"


def test_it_serves_an_async_with() -> None:
    async def answer() -> tuple[object, object]:
        async with trace_context(session_id="s"):
            inside = session()
        return inside, session()

    assert asyncio.run(answer()) == ("s", None)


def test_it_holds_in_a_generator_but_not_in_its_consumer() -> None:
    @trace_context(session_id="s")
    def stream() -> Iterator[object]:
        got = yield session()
        yield got, session()
        return "done"

    def consume() -> Iterator[object]:
        return (yield from stream())

    stepping = consume()
    assert next(stepping) == "s"
    assert session() is None
    assert stepping.send("sent") == ("sent", "s")
    with pytest.raises(StopIteration) as stop:
        next(stepping)
    assert stop.value.value == "done"
    assert session() is None


def test_a_generator_keeps_the_span_that_it_opened() -> None:
    @trace_context(session_id="s")
    def stream() -> Iterator[trace.Span]:
        with tracer.start_as_current_span("stream"):
            yield trace.get_current_span()
            yield trace.get_current_span()
        yield trace.get_current_span()

    stepping = stream()
    first = next(stepping)
    assert trace.get_current_span() is not first
    assert next(stepping) is first
    assert next(stepping) is trace.INVALID_SPAN


def test_a_decorated_function_may_have_arguments_of_any_name() -> None:
    names = dict.fromkeys(("context", "function", "args", "kwargs", "steps"), 1)

    @trace_context(session_id="s")
    def stream(**kwargs: int) -> Iterator[dict[str, int]]:
        yield kwargs

    @trace_context(session_id="s")
    async def async_stream(**kwargs: int) -> AsyncIterator[dict[str, int]]:
        yield kwargs

    async def first() -> dict[str, int]:
        return await anext(aiter(async_stream(**names)))

    assert next(iter(stream(**names))) == names
    assert asyncio.run(first()) == names


def test_a_generator_can_be_thrown_into_and_closed() -> None:
    seen = []

    @trace_context(session_id="s")
    def stream() -> Iterator[object]:
        try:
            yield 1
        except KeyError:
            seen.append(("thrown", session()))
        try:
            yield 2
        finally:
            seen.append(("closed", session()))

    stepping = stream()
    next(stepping)
    assert stepping.throw(KeyError()) == 2
    stepping.close()
    assert seen == [("thrown", "s"), ("closed", "s")]
    assert session() is None


def test_it_holds_in_an_async_generator_but_not_in_its_consumer() -> None:
    seen = []

    @trace_context(session_id="s")
    async def stream() -> AsyncIterator[object]:
        try:
            yield session()
            await asyncio.sleep(0)
            yield session()
        finally:
            seen.append(session())

    async def consume() -> list[object]:
        items = []
        async for item in stream():
            items += [item, session()]
        stopped_early = stream()
        async for _ in stopped_early:
            break
        await stopped_early.aclose()
        return items

    assert asyncio.run(consume()) == ["s", None, "s", None]
    assert seen == ["s", "s"]


def test_one_object_may_be_used_by_many_tasks_at_once() -> None:
    shared = trace_context(session_id="s")

    async def request(n: int) -> object:
        with trace_context(user_id=n), shared:
            await asyncio.sleep(0.001 * (n % 7))
            return session(), baggage.get_baggage("user.id")

    async def many() -> list[object]:
        return await asyncio.gather(*map(request, range(50)))

    assert asyncio.run(many()) == [("s", str(n)) for n in range(50)]


def test_one_object_may_be_used_by_many_threads_at_once() -> None:
    shared = trace_context(session_id="s")

    def request(n: int) -> object:
        with shared, trace_context(user_id=n):
            return session(), baggage.get_baggage("user.id")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(request, range(200))) == [("s", str(n)) for n in range(200)]
    assert session() is None


def test_leaving_in_another_context_does_not_raise() -> None:
    # A web framework may open a dependency in one thread's context and close it in another's.
    block = trace_context(session_id="s")
    contextvars.copy_context().run(block.__enter__)
    contextvars.copy_context().run(block.__exit__, None, None, None)
    assert session() is None
