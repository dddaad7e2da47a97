"""The environment of all cases, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from detectors.truth.environment import Environment, make_environment
from detectors.truth.running import ShowHost
from detectors.truth.wheels import LAUNCHERS, WHEELS
from detectors.truth.world import make_template

# Their functions are no tests: test_truth runs them.
collect_ignore = ["cases"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return make_environment(tmp_path_factory.mktemp("environment") / "env", WHEELS, LAUNCHERS)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "shop")


@pytest.fixture(scope="session")
def show(environment: Environment) -> Iterator[ShowHost]:
    host = ShowHost(environment)
    yield host
    host.close()
