"""Filter strings: of MLflow's search, and the subset that its aggregation takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from otel_mlflow_context.semconv import MLFLOW_CLIENT_REQUEST_ID, PROCESS_FACTS, REQUEST_FACTS

_NEVER: Final = "otel-mlflow-context: no value"

# One equality of MLflow's search: an attribute, or metadata or a tag by its key.
_KEY: Final = r"(?:`[^`'\"]+`|\"[^`'\"]+\"|'[^`'\"]+'|[\w.]+)"
_TERM: Final = re.compile(
    rf"\s*(?:(?P<status>(?:trace\.|attributes?\.)?status)"
    rf"|(?P<entity>request_metadata|metadata|tags?)\.(?P<key>{_KEY}))"
    r"\s*=\s*(?P<value>'[^'\"`\\]*'|\"[^'\"`\\]*\")\s*"
)
_AND: Final = re.compile(r"AND\s", re.IGNORECASE)

FACT_NAMES: Final = {
    fact.name: fact.metadata
    for fact in (*PROCESS_FACTS, *REQUEST_FACTS)
    if fact.metadata != MLFLOW_CLIENT_REQUEST_ID
}
"""The metadata key of each fact by the fact's name: ``commit``."""


class CannotBeQuoted(ValueError):  # noqa: N818  # a limit of MLflow's syntax
    """MLflow's filter syntax has no way to write a key or value."""


def quoted_key(key: str) -> str:
    """A metadata key quoted for a filter.

    >>> quoted_key("mlflow.source.git.commit")
    '`mlflow.source.git.commit`'
    """
    # MLflow takes backticks off after the quotes.
    in_backticks = key.startswith("`") and key.endswith("`")
    limits = (
        "not be empty, end with a backslash, stand in backticks, or have all of `, \" and ' in it"
    )
    return _quoted("key", key, ("`" if in_backticks else "`\"'") if key.strip() else "", limits)


def quoted_value(value: str) -> str:
    """A value quoted for a filter.

    >>> print(quoted_value("1.1.0"), quoted_value("ada's"))
    '1.1.0' "ada's"
    """
    limits = "not have both ' and \" in it, or end with a backslash"
    return _quoted("value", value, "'\"", limits)


def _quoted(what: str, text: str, quotes: str, limits: str) -> str:
    """MLflow knows no escape: the first quote that the text does not have."""
    for quote in quotes:
        if quote not in text and not text.endswith("\\"):
            return f"{quote}{text}{quote}"
    raise CannotBeQuoted(
        f"the {what} {text!r} cannot be written in a filter of MLflow, which knows no escape: it "
        f"must {limits}"
    )


def metadata_is(key: str, value: str, *, operator: str = "=") -> str:
    """The term of a search that compares a metadata value."""
    return f"metadata.{quoted_key(key)} {operator} {quoted_value(value)}"


def group_is(key: str, value: str) -> str:
    """The same equality for an aggregation."""
    return f"trace.{metadata_is(key, value)}"


def can_be_key(key: str) -> bool:
    """Whether a filter can have a key in it."""
    try:
        quoted_key(key)
    except CannotBeQuoted:
        return False
    return True


def can_be_quoted(value: str) -> bool:
    """Whether a filter can have a value in it."""
    try:
        quoted_value(value)
    except CannotBeQuoted:
        return False
    return True


def has_metadata(key: str) -> str:
    """The term of a search for traces that have a key. ``IS NOT NULL`` is 3.10's and later."""
    return metadata_is(key, _NEVER, operator="!=")


def has_feedback(name: str) -> str:
    """The term of a search for traces that have a feedback, or an error in its place."""
    return f"feedback.{quoted_key(name)} != {quoted_value(_NEVER)}"


def from_time(start_ms: int | None) -> str:
    """The term of a search for traces from a time on."""
    return "" if start_ms is None else f"timestamp_ms >= {start_ms}"


def until_time(end_ms: int | None) -> str:
    """The term of a search for traces up to a time."""
    return "" if end_ms is None else f"timestamp_ms <= {end_ms}"


def all_of(*terms: str) -> str:
    """The conjunction of terms."""
    return " AND ".join(term for term in terms if term.strip())


def equalities(where: str) -> Sequence[str] | None:
    """A search filter as filters of MLflow's aggregation; None where it has no equivalent.

    Aggregation takes a list of equalities, of the status and of metadata and tags by their key.

    >>> equalities("metadata.environment = 'production' AND status = 'OK'")
    ["trace.metadata.`environment` = 'production'", "trace.status = 'OK'"]
    >>> equalities("execution_time_ms > 5") is None
    True
    """
    found: list[str] = []
    rest = where.strip()
    while rest:
        term = _TERM.match(rest)
        if term is None:
            return None
        found.append(_of_aggregation(term))
        rest = rest[term.end() :]
        if rest:
            conjunction = _AND.match(rest)
            if conjunction is None or conjunction.end() == len(rest):
                return None
            rest = rest[conjunction.end() :]
    return found


def _of_aggregation(term: re.Match[str]) -> str:
    if term["status"]:
        return f"trace.status = {term['value']}"
    entity = "tag" if term["entity"].startswith("tag") else "metadata"
    key = quoted_key(term["key"].strip("`\"'"))
    return f"trace.{entity}.{key} = {term['value']}"
