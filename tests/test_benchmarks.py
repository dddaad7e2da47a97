from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_benchmarks_run_and_compare() -> None:
    result = subprocess.run(
        [sys.executable, "benchmarks/run.py", "--quick"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for row in ("MlflowContextSpanProcessor", "detect_resource(), DIRTY=false", "goal"):
        assert row in result.stdout
