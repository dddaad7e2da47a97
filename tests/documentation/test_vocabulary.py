"""The package and its documentation use the terms of OpenTelemetry and MLflow.

Words that once stood for them are listed here with the term to use, so that they do not come back.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from pathlib import Path

import pytest
from documentation.markdown import PAGES, ROOT

PACKAGE = sorted((ROOT / "otel_mlflow_context").rglob("*.py"))

# Parts of identifiers, as in `is_speaker` and `SpeakerSpan`.
IDENTIFIERS = {
    "speaker": "entry span",
    "speakers": "entry spans",
    "speaks": "entry span",
    "unheld": "in-memory trace",
    "held": "in-memory trace",
    "said": "value, source",
    "says": "value, source",
    "announce": "create or patch trace info",
    "watching": "active traces",
    "closer": "abandoned traces",
}
# Phrases of prose. Words that have another meaning in ordinary English are not forbidden by
# themselves, and a message or an answer may say why.
PHRASES = {
    r"speakers?": "entry span",
    r"(?:speaks?|spoke|speaking) for|(?:speaks|spoke) of": "entry span; determines",
    r"unheld": "in-memory trace",
    r"held (?:traces?|spans?)|(?:traces?|spans?) (?:is|are|was|were) held": "in-memory trace",
    r"said late|late words?": "retry queue",
    r"who (?:asks|asked)": "user, session; request facts",
    r"who says(?: so| it)?": "source",
    r"(?<!message )(?<!answer )(?:says?|said)": "value; source; sets; reports",
    r"announc\w+": "create or patch trace info",
}
PROSE = re.compile(
    "|".join(rf"(?P<p{number}>\b(?:{it})\b)" for number, it in enumerate(PHRASES)), re.IGNORECASE
)


def words_of(identifier: str) -> list[str]:
    """The words of an identifier in any case.

    >>> words_of("_isSpeaker_2"), words_of("LATE_SPAN")
    (['is', 'speaker'], ['late', 'span'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)]


def retired(text: str) -> list[str]:
    """The retired phrases of a text, with the line and what to write in their place.

    >>> retired("It speaks HTTP.\\nThe span that speaks for the trace.")
    ['2: "speaks for": entry span; determines']
    """
    terms = list(PHRASES.values())
    return [
        f'{text.count(chr(10), 0, it.start()) + 1}: "{it[0]}": {terms[int(str(it.lastgroup)[1:])]}'
        for it in PROSE.finditer(text)
    ]


@pytest.mark.parametrize("module", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_no_retired_word(module: Path) -> None:
    text = module.read_text()
    names = {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string)
    }
    assert sorted(name for name in names if IDENTIFIERS.keys() & set(words_of(name))) == []
    assert retired(text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_no_retired_word(page: Path) -> None:
    assert retired(page.read_text()) == []
