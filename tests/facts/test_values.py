from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlflow_context.facts.values import MAX_LENGTH, clean

# Lone surrogates and control characters included: that is what comes from outside.
anything = st.text(st.characters(exclude_categories=()), max_size=600)


@given(anything)
def test_a_value_is_short_printable_and_can_be_encoded(text: str) -> None:
    value = clean(text)
    if value is not None:
        assert 0 < len(value) <= MAX_LENGTH
        assert value == value.strip()
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value)
        value.encode()


@given(anything)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    value = clean(text)
    assert value is None or clean(value) == value


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=MAX_LENGTH))
def test_what_is_fine_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_a_long_id_keeps_two_apart() -> None:
    same = "s" * 299
    one, two = clean(same + "1"), clean(same + "2")
    assert one is not None
    assert two is not None
    assert len(one) == len(two) == MAX_LENGTH
    assert one != two


def test_a_long_id_is_the_same_in_every_service() -> None:
    # The digest is part of the contract between services of different versions.
    assert clean("s" * 300) == "s" * 233 + "~2955c7328c57ca39"


def test_words_on_two_lines_stay_two_words() -> None:
    assert clean("one\r\ntwo\x00") == "one  two"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (7, "7"),
        (1.5, "1.5"),
        (("a", "b"), '["a", "b"]'),
        (b"bytes", None),
        (None, None),
        ("   ", None),
        (object(), None),
    ],
)
def test_other_types(value: object, text: str | None) -> None:
    assert clean(value) == text
