from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# All but `compare`, which is beside the tests of what it measures.
SECTIONS = ("spans", "propagation", "detection", "imports", "export", "server", "health")


@pytest.mark.long
def test_the_benchmarks_run_and_compare() -> None:
    result = subprocess.run(
        [sys.executable, "benchmarks/run.py", "--quick", *SECTIONS],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for row in ("MlflowContextSpanProcessor", "detect_resource(), DIRTY=false", "goal"):
        assert row in result.stdout
