"""What there is of each version that traces are linked to."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from versions import HOUR_MS, Row, write

from otel_mlflow_context.compare import CannotCompare, linked_versions

COMMIT = "9f1c3aa0" * 5
OTHER = "0b" * 20


def of(model: str, commit: str, environment: str, hours_ago: float, dirty: str = "false") -> Row:
    metadata = {
        "mlflow.modelId": model,
        "service_name": "shop",
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.dirty": dirty,
        "environment": environment,
    }
    return Row("1.4.2", hours_ago=hours_ago, metadata=tuple(metadata.items()))


ROWS = (
    *(of("m-1", COMMIT, "staging", 30) for _ in range(2)),
    *(of("m-1", COMMIT, "production", hours) for hours in (3, 2, 1)),
    of("m-2", OTHER, 'it\'s "both"', 5, dirty="true"),
    Row("not linked"),
    Row("", hours_ago=0.5, metadata=(("mlflow.modelId", "m-3"),)),
)


@pytest.fixture
def linked(written: str, experiment: str) -> str:
    write(written, ROWS, experiment)
    return experiment


def test_each_version_has_its_traces_times_and_environments(
    command: Any, uri: str, linked: str
) -> None:
    now_ms = time.time() * 1000
    options = ("--experiment", linked, "--format", "json")
    status, out, _ = command(uri, *options, subcommand="versions")
    found = json.loads(out)
    assert status == 0
    assert (found["experiment"], found["complete"]) == (linked, True)
    assert [it["model_id"] for it in found["versions"]] == ["m-1", "m-2", "m-3"]
    first, second, third = found["versions"]
    hours = [(now_ms - first.pop(f"{end}_seen_ms")) / HOUR_MS for end in ("first", "last")]
    assert hours == pytest.approx([30, 1], abs=0.1)
    assert first == {
        "model_id": "m-1",
        "name": "shop-1_4_2",
        "service_name": "shop",
        "app_version": "1.4.2",
        "commit": COMMIT,
        "dirty": False,
        "environments": ["production", "staging"],
        "traces": 5,
    }
    assert (second["traces"], second["dirty"], second["environments"]) == (
        1,
        True,
        ['it\'s "both"'],
    )
    assert (third["name"], third["app_version"], third["environments"]) == (None, None, [])


def test_a_table_for_people(command: Any, written: str, linked: str) -> None:
    status, out, _ = command(written, "--experiment", linked, subcommand="versions")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == (
        [
            "service",
            "version",
            "commit",
            "environments",
            "traces",
            "first",
            "seen",
            "last",
            "seen",
            "model",
        ]
    )
    assert lines[1].split()[:6] == ["shop", "1.4.2", COMMIT[:10], "production,", "staging", "5"]
    assert lines[2].split()[2:4] == [OTHER[:10], "(dirty)"]
    assert [line.split()[-1] for line in lines[1:]] == ["m-1", "m-2", "m-3"]


def test_fewer_are_looked_for_where_that_is_asked(written: str, linked: str) -> None:
    asked: dict[str, Any] = {"experiment": linked, "tracking_uri": written}
    found = linked_versions(versions=2, **asked)
    assert [it.model_id for it in found.versions] == ["m-1", "m-3"]
    assert not found.complete
    assert "more than these 2" in found.as_text()
    where = "metadata.environment = 'staging'"
    [only] = linked_versions(where=where, since="2d", **asked).versions
    assert (only.model_id, only.traces, only.environments) == ("m-1", 2, ("staging",))
    with pytest.raises(ValueError, match="versions must be a number"):
        linked_versions(versions=0, **asked)


def test_where_nothing_is_linked_it_tells_what_to_do(written: str) -> None:
    with pytest.raises(CannotCompare, match="backfill --versions"):
        linked_versions(tracking_uri=written)
