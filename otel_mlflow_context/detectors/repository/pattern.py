"""Patterns of paths, as git's own wildmatch.c matches them in conditions of its configuration."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"(?P<folders>(?<![^/])\*\*/)|(?P<rest>(?<![^/])\*\*$)|(?P<stars>\*+)|(?P<any>\?)"
    r"|\[(?P<not>[!^]?)(?P<set>\]?(?:\[:\w+:\]|\\.|[^\]\\])*)\]|\\(?P<escaped>.)|(?P<char>.)",
    re.DOTALL,
)
_REGEX: Final = {"folders": "(?:.*/)?", "rest": ".*", "stars": "[^/]*", "any": "[^/]"}
_IN_SET: Final = re.compile(
    r"\[:(?P<name>\w+):\]|(?P<first>\\.|[^\\])(?:-(?P<last>\\.|[^\\]))?", re.DOTALL
)
_NAMED_SETS: Final = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


def matches(pattern: str, path: str, *, start: str = "", ignores_case: bool = False) -> bool:
    """Whether a path is `start`, taken as it is, and then what a pattern describes.

    >>> matches("**/[a-c]hop/*.py", "home/shop/s.py"), matches("[!a-c]hop", "shop")
    (False, True)
    """
    try:
        regex = re.compile(
            re.escape(start) + "".join(map(_regex, _TOKEN.finditer(pattern))),
            re.DOTALL | (re.IGNORECASE if ignores_case else 0),
        )
    except (re.error, KeyError, ValueError):  # what git takes for no pattern
        return False
    return regex.fullmatch(path) is not None


def _regex(token: re.Match[str]) -> str:
    if token["set"] is not None:
        members = "".join(map(_members, _IN_SET.finditer(token["set"])))
        return f"(?!/)[{'^' if token['not'] else ''}{members}]"
    if token["char"] == "[":
        raise ValueError("a bracket that is not closed")
    kind = str(token.lastgroup)
    return _REGEX.get(kind) or re.escape(token["escaped"] or token["char"])


def _members(token: re.Match[str]) -> str:
    if token["name"]:
        return _NAMED_SETS[token["name"]]
    ends = (it[-1] for it in (token["first"], token["last"]) if it)
    return "-".join(map(re.escape, ends))
