"""Which keys may become trace metadata, whoever names them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import mlflow
import pytest
from attacks import KEYS, LISTED, MLFLOW_KEYS, VALUES, claiming
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracing import constant
from mlflow.utils import mlflow_tags
from opentelemetry import baggage
from opentelemetry.context import Context
from table import ATTRIBUTES, FACTS

from otel_mlflow_context import trace_context
from otel_mlflow_context.facts.metadata import (
    MAX_FEATURE_FLAGS,
    MAX_SIZE,
    attributes_from_metadata,
    merge_facts,
    metadata_from_attributes,
    with_tags,
)
from otel_mlflow_context.facts.request import RequestFacts
from otel_mlflow_context.facts.span_metadata import metadata_from_span
from otel_mlflow_context.semconv import (
    MAX_DECLARED,
    PROCESS_FACTS,
    REQUEST_FACTS,
    RESERVED,
    is_allowed_key,
)
from otel_mlflow_context.settings import Settings

TABLE = {fact.metadata for fact in (*PROCESS_FACTS, *REQUEST_FACTS)}


# --- A key that is not allowed is not, by any way ------------------------------------------------


@pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key[:30]))
def test_no_key_of_mlflow_s_or_of_another_form_gets_through(key: str) -> None:
    attack = claiming(key)
    settings = Settings()
    expected = {"session.id": {"mlflow.trace.session": "{not json"}}
    expected["user.id"] = {"mlflow.trace.user": "{not json"}
    # The two are in the table, where they have their own meaning.
    assert metadata_from_attributes(attack) == expected.get(key, {})
    assert metadata_from_span(attack, {}, settings) == expected.get(key, {})
    assert metadata_from_span({}, attack, settings) == {}
    entries = baggage.set_baggage(key, "x", Context())
    if key not in expected:
        facts = RequestFacts(settings).read(entries)
        assert dict(facts) == ({"session.id": "x"} if key == "gen_ai.conversation.id" else {})
    if key:
        flag = f"feature_flag_{key}"
        allowed = re.fullmatch(r"[A-Za-z0-9_.:/~ -]{1,237}", key) and not key.endswith(" ")
        if not allowed:
            assert metadata_from_attributes({flag: "x"}) == {}
    with pytest.raises(ValueError, match="metadata"):
        trace_context(metadata={key: "x"})
    stripped = key.strip()  # of names in the setting, which whoever runs the program may declare
    if stripped and not is_allowed_key(stripped, (stripped,)):
        with pytest.raises(ValueError, match="metadata_keys must"):
            Settings(metadata_keys=(key,))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_no_value_gets_a_key_through(value: Any) -> None:
    assert metadata_from_attributes(claiming(*MLFLOW_KEYS, value=value)) == {}


@pytest.mark.parametrize(
    "listed",
    [
        ["tenant"],
        b"tenant",
        7,
        "",
        ",",
        ",,,",
        "tenant ,x",
        " tenant",
        "tenant;plan",
        "*",
        "tenant\n,plan\n",
        "TENANT",
    ],
    ids=repr,
)
def test_a_list_of_another_form_lists_nothing(listed: Any) -> None:
    assert metadata_from_attributes({LISTED: listed, "tenant": "a", "plan": "b"}) == {}


def test_who_runs_the_program_may_declare_what_mlflow_reads_but_nothing_of_its_own() -> None:
    declared = Settings(metadata_keys=("gen_ai.request.model",))
    span = {"gen_ai.request.model": "m"}
    assert metadata_from_span(span, {}, declared) == span
    assert metadata_from_span({}, span, declared) == span
    assert metadata_from_span(claiming("gen_ai.request.model"), {}, Settings()) == {}


def test_case_makes_no_second_key() -> None:
    attack = claiming("Tenant", "tenant", "TENANT", value="x")
    assert metadata_from_attributes(attack) == {"Tenant": "x"}
    flags = {"feature_flag_A": "1", "feature_flag_a": "2"}
    assert metadata_from_attributes(flags) == {"feature_flag_A": "1"}


# --- How many, and how much ----------------------------------------------------------------------


def test_the_number_is_bounded_and_process_facts_come_first() -> None:
    keys = [f"key-{number}" for number in range(10_000)]
    flags = {f"feature_flag_{number}": "x" for number in range(10_000)}
    found = metadata_from_attributes({**claiming(*keys, value="x"), **flags, **ATTRIBUTES})
    assert found.items() >= ATTRIBUTES.items()
    assert list(found)[: len(ATTRIBUTES)] == [fact.metadata for fact in PROCESS_FACTS]
    assert len(found) == len(ATTRIBUTES) + MAX_DECLARED + MAX_FEATURE_FLAGS


def test_the_size_is_bounded_and_process_facts_come_first() -> None:
    wide = "\U0001f600" * 250
    keys = [f"{number:0250}" for number in range(MAX_DECLARED)]
    flags = {f"feature_flag_{number:0230}": wide for number in range(MAX_FEATURE_FLAGS)}
    found = metadata_from_attributes({**flags, **claiming(*keys, value=wide), **ATTRIBUTES})
    assert found.items() >= ATTRIBUTES.items()
    sizes = {key: len(key) + len(value.encode()) for key, value in found.items()}
    assert sum(size for key, size in sizes.items() if key not in TABLE) <= MAX_SIZE
    assert sum(sizes.values()) <= 2 * MAX_SIZE


def test_a_span_has_room_for_all_facts_and_their_tags() -> None:
    settings = Settings(metadata_keys=tuple(f"key-{number}" for number in range(MAX_DECLARED)))
    context = Context()
    for key in (*settings.metadata_keys, *(f"feature_flag_{n}" for n in range(500))):
        context = baggage.set_baggage(key, "x", context)
    facts = merge_facts(ATTRIBUTES, RequestFacts(settings).read(context))
    assert len(facts) <= 113
    tagged = with_tags(facts, settings.metadata_keys)
    assert len(tagged) <= 113
    assert tagged.items() >= ATTRIBUTES.items()
    tags = {f"mlflow.traceTag.{key}": value for key, value in ATTRIBUTES.items()}
    assert tagged.items() >= tags.items()


def test_many_declarations_together_are_bounded() -> None:
    facts: dict[str, str] = {}
    for number in range(20):
        names = {f"key-{number}-{n}": "x" for n in range(MAX_DECLARED)}
        facts = merge_facts(facts, attributes_from_metadata(names))
    assert len(facts) == MAX_DECLARED + 1
    assert len(metadata_from_attributes(facts)) == MAX_DECLARED


def test_too_many_names_are_an_error_in_code() -> None:
    with pytest.raises(ValueError, match="at most 32 names, got 33"):
        trace_context(metadata={f"key-{number}": "x" for number in range(33)})
    with pytest.raises(ValueError, match="metadata_keys must be at most 32 names, got 33"):
        Settings(metadata_keys=tuple(f"key-{number}" for number in range(33)))


texts = st.text(st.characters(exclude_categories=()), max_size=300) | st.sampled_from(KEYS)
values = texts | st.integers() | st.floats() | st.booleans() | st.binary() | st.lists(texts)


@given(st.dictionaries(texts, values, max_size=50), st.dictionaries(texts, values), st.lists(texts))
def test_whatever_comes_the_metadata_keeps_to_the_rules(
    attributes: dict[str, Any], resource: dict[str, Any], listed: list[str]
) -> None:
    attributes = {**attributes, **dict.fromkeys(listed, "x"), LISTED: ",".join(listed)}
    found = metadata_from_span(attributes, {**FACTS, **resource}, Settings())
    for key, value in found.items():
        assert key in TABLE or (key not in RESERVED and is_allowed_key(key))
        assert 1 <= len(value) <= 250
        assert value.isprintable() or not re.search("[\x00-\x1f\x7f-\x9f]", value)
        f"{key}{value}".encode()
    assert len({key.lower() for key in found}) == len(found)
    assert metadata_from_attributes(attributes_from_metadata(found)) == found


# --- What MLflow reads ---------------------------------------------------------------------------


def constants(source: Any) -> set[str]:
    """The texts of MLflow's constants that are keys: in classes of keys, and of tags."""
    classes = [it for name, it in vars(source).items() if inspect.isclass(it) and "Key" in name]
    of_classes = {value for it in classes for value in vars(it).values() if isinstance(value, str)}
    of_module = {value for value in vars(source).values() if isinstance(value, str)}
    return {value for value in of_classes | of_module if re.fullmatch(r"[\w.-]+\.[\w.-]+", value)}


def test_every_key_that_this_mlflow_names_is_known() -> None:
    """A new version that reads another key fails here: add its namespace to `semconv`."""
    keys = (constants(constant) | constants(mlflow_tags)) - {
        constant.__name__,
        mlflow_tags.__name__,
    }
    assert len(keys) > 60
    assert {key for key in keys if is_allowed_key(key)} == set()


READS = re.compile(
    r"(?:trace_metadata|request_metadata|info\.tags|metadata)"
    r"""(?:\.get\(|\.pop\(|\.setdefault\(|\[)\s*["']([^"']+)["']"""
)
# Keys of other dictionaries that have such a name too: of models, prompts, datasets, documents.
OTHERS = re.compile(r"[a-z_]+")


def test_every_key_of_metadata_that_this_mlflow_s_source_reads_is_known() -> None:
    folder = Path(mlflow.__file__).parent
    parts = ("tracing", "store", "server", "entities")
    files = [path for part in parts for path in (folder / part).rglob("*.py")]
    found = {key for path in files for key in READS.findall(path.read_text("utf-8"))}
    assert len(files) > 100
    dotted = {key for key in found if not OTHERS.fullmatch(key)}
    assert {key for key in dotted if is_allowed_key(key)} == set()
