"""A planted cause is explained first; equal versions are seldom explained at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import explain as simulation

pytestmark = pytest.mark.long

PLANTED = [it for it in simulation.EXPECTED if it != simulation.NOTHING]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_cause_is_the_first_line(planted: str) -> None:
    for seed in range(3):
        assert simulation.EXPECTED[planted](simulation.explanation(planted, seed)), seed


def test_equal_versions_are_seldom_explained() -> None:
    # Fewer than one in twenty: of 12, four or more would come up once in 500 times.
    expected = simulation.EXPECTED[simulation.NOTHING]
    assert (
        sum(expected(simulation.explanation(simulation.NOTHING, it, 500)) for it in range(12)) < 4
    )
