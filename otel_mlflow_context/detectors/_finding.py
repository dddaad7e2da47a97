"""A finding: one resource attribute that one source of process facts has a value for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors.repository.url import browsable_url
from otel_mlflow_context.facts.values import clean

RESOURCE_VARIABLE: Final = "OTEL_RESOURCE_ATTRIBUTES"


class Finding(NamedTuple):
    """What every source returns, the detectors choose from, and `show` prints."""

    attribute: str
    """The resource attribute, a name of `semconv`: ``vcs.ref.head.revision``."""
    value: str | bool
    source: str
    """Where it was found, for people, without values: ``GITHUB_SHA``, ``.git/HEAD``."""
    is_old: bool = False
    """It may be of another commit than what runs now: a version from the time of installation."""


def findings(source: str, values: Mapping[str, object]) -> list[Finding]:
    """The findings of one source: those of `values`, by attribute, that are usable."""
    return [
        Finding(attribute, value, source)
        for attribute, raw in values.items()
        if (value := checked(attribute, raw)) is not None
    ]


def commit_findings(source: str, commit: object, others: Mapping[str, object]) -> list[Finding]:
    """The findings of a source that counts for its commit alone: none without a usable one."""
    found = findings(source, {semconv.VCS_REF_HEAD_REVISION: commit, **others})
    return found if found and found[0].attribute == semconv.VCS_REF_HEAD_REVISION else []


def commit_of(found: Iterable[Finding]) -> str | None:
    """The commit among the findings of one source."""
    commits = (it.value for it in found if it.attribute == semconv.VCS_REF_HEAD_REVISION)
    return next(map(str, commits), None)


def branch(name: object) -> dict[str, object]:
    """The attributes of a branch, for `findings`."""
    is_usable = checked(semconv.VCS_REF_HEAD_NAME, name) is not None
    return {
        semconv.VCS_REF_HEAD_NAME: name,
        semconv.VCS_REF_HEAD_TYPE: "branch" if is_usable else None,
    }


_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_BOOLEANS: Final = {"true": True, "false": False}


def checked(attribute: str, value: object) -> str | bool | None:
    """A value in the form that its attribute has, or None where it cannot have it."""
    if attribute == semconv.VCS_REF_HEAD_DIRTY:
        return value if isinstance(value, bool) else _BOOLEANS.get(str(value))
    text = clean(value) if isinstance(value, str) else None
    if text is None:
        return None
    if attribute == semconv.VCS_REF_HEAD_REVISION:
        return commit_id(text)
    return browsable_url(text) if attribute == semconv.VCS_REPOSITORY_URL_FULL else text


def commit_id(text: str) -> str | None:
    """A commit in lower case, whole or shortened to no less than 7 digits; None for another."""
    return text.lower() if _COMMIT.fullmatch(text.lower()) else None
