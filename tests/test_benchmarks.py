from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# All but `compare`, which is beside the tests of what it measures.
SECTIONS = ("spans", "propagation", "detection", "imports", "export", "server", "health")
# As in a shell, but for the servers: they start in the way of the tests, which takes less long.
PROGRAM = """
import sys
sys.path[:0] = ["benchmarks", "tests"]
import _servers, servers
log = open(sys.argv.pop(1), "wb")
_servers.start_python = lambda *started: servers.start_python(*started, log)
import run
if __name__ == "__main__":
    run.main()
"""


@pytest.mark.long
def test_the_benchmarks_run_and_compare(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "servers.log", "--quick", *SECTIONS],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for row in ("MlflowContextSpanProcessor", "detect_resource(), DIRTY=false", "goal"):
        assert row in result.stdout
