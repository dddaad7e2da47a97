"""Masked messages: the same for two errors of one kind, and no secret that was quoted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlflow_context.compare.explain.masking import masked


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no answer within 30 s", "no answer within <number> s"),
        ("no answer within 1.5 s", "no answer within <number> s"),
        ("user 'ada' not found", "user <text> not found"),
        ('KeyError: "a b c"', "KeyError: <text>"),
        ("can't open 'x'", "can't open <text>"),
        ("trace 0af7651916cd43dd8448eb211c80319c is gone", "trace <id> is gone"),
        ("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "id <id>"),
        ("request req_7Fh2k9xQ failed", "request <id> failed"),
        ("at 0x7f3a2b", "at <id>"),
        ("first\nsecond 5", "first"),
        ("  \n", ""),
        ("", ""),
        ("utf8 and http2 stay", "utf8 and http2 stay"),
        ("port 8,080 of 10.0.0.1:443", "port <number> of <number>"),
    ],
)
def test_what_differs_is_masked(message: str, expected: str) -> None:
    assert masked(message) == expected


@given(st.integers(), st.integers(), st.text("abc @.=", max_size=20))
def test_two_errors_of_one_kind_are_the_same(first: int, second: int, text: str) -> None:
    one = f"limit of {first} for '{text}' reached"
    other = f"limit of {second} for 'b' reached"
    assert masked(one) == masked(other)


@given(st.text(max_size=5_000))
def test_any_message_becomes_one_short_line(message: str) -> None:
    found = masked(message)
    assert len(found) <= 160
    assert len(found.splitlines()) <= 1


def test_a_message_that_is_a_document_takes_no_time() -> None:
    assert len(masked("'" * 1_000_000)) <= 160
    assert len(masked("a-1" * 1_000_000)) <= 160
