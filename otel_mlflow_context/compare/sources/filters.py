"""Filters: what MLflow's filter strings can say, and which of it its aggregation can say too."""

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
"""The metadata of each fact by the name that the documentation gives it: ``commit``."""


class CannotBeSaid(ValueError):  # noqa: N818  # it is MLflow's language that lacks the words
    """MLflow's filters have no way to write a key or value."""


def quoted_key(key: str) -> str:
    """A key of metadata as a filter writes it.

    MLflow takes the ends off and knows no escape, so it takes a quote that the key has not.

    >>> quoted_key("mlflow.source.git.commit")
    '`mlflow.source.git.commit`'

    Raises:
        CannotBeSaid: there is none.
    """
    # MLflow takes backticks off after the quotes.
    quotes = "`" if key.startswith("`") and key.endswith("`") else "`\"'"
    for quote in quotes:
        if quote not in key and key.strip() and not key.endswith("\\"):
            return f"{quote}{key}{quote}"
    raise CannotBeSaid(
        f"the key {key!r} cannot be written in a filter of MLflow, which knows no escape: it must "
        "not be empty, end with a backslash, stand in backticks, or have all of `, \" and ' in it"
    )


def quoted_value(value: str) -> str:
    """A value as a filter writes it.

    >>> print(quoted_value("1.1.0"), quoted_value("ada's"))
    '1.1.0' "ada's"

    Raises:
        CannotBeSaid: it has quotes of both kinds, or a backslash that would hide one.
    """
    for quote in "'\"":
        if quote not in value and not value.endswith("\\"):
            return f"{quote}{value}{quote}"
    raise CannotBeSaid(
        f"the value {value!r} cannot be written in a filter of MLflow, which knows no escape: it "
        "must not have both ' and \" in it, or end with a backslash"
    )


def metadata_is(key: str, value: str, *, operator: str = "=") -> str:
    """The term of a search that compares a metadata value."""
    return f"metadata.{quoted_key(key)} {operator} {quoted_value(value)}"


def group_is(key: str, value: str) -> str:
    """The same equality in the words of aggregation."""
    return f"trace.{metadata_is(key, value)}"


def can_be_said(value: str) -> bool:
    """Whether a filter can have a value in it."""
    try:
        quoted_value(value)
    except CannotBeSaid:
        return False
    return True


def has_metadata(key: str) -> str:
    """The term of a search for traces that have a key. ``IS NOT NULL`` is 3.10's and later."""
    return metadata_is(key, _NEVER, operator="!=")


def from_time(start_ms: int | None) -> str:
    """The term of a search for traces since a time."""
    return "" if start_ms is None else f"timestamp_ms >= {start_ms}"


def all_of(*terms: str) -> str:
    """Terms as one filter."""
    return " AND ".join(term for term in terms if term.strip())


def equalities(where: str) -> Sequence[str] | None:
    """A search filter in the words of MLflow's aggregation; None where that lacks them.

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
