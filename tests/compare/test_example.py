"""The example finds what was put into it, and the benchmark measures what it says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from preloaded import run_python
from servers import SHARED_FOLDER

ROOT = Path(__file__).parents[2]
EXAMPLE = """
import sys
sys.path[:0] = [{example!r}, {tests!r}]
import main, stores
with stores.experiments_looked_up_once():
    main.main()
"""
BENCHMARK = """
import sys
from types import SimpleNamespace
sys.path[:0] = [{benchmarks!r}, {tests!r}]
import _processes, preloaded
# As here; in a shell, each would import mlflow.
_processes.subprocess = SimpleNamespace(
    run=lambda command, env, cwd, **_: preloaded.run_python(*command[1:], env=env, cwd=cwd)
)
from compare import run
print(run(quick=True))
"""


def run(*arguments: str | Path) -> str:
    environment = {name: os.environ[name] for name in ("PATH", SHARED_FOLDER)}
    environment["PYTHONPATH"] = str(ROOT)
    result = run_python(*map(str, arguments), env=environment, timeout=240)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.long  # MLflow is asked in the tests of the sources
def test_the_example_finds_that_the_second_version_is_worse(tmp_path: Path) -> None:
    report, history = tmp_path / "report.html", tmp_path / "history.html"
    code = EXAMPLE.format(example=f"{ROOT}/examples/regression", tests=f"{ROOT}/tests")
    out = run("-c", code, report, history)
    assert "1.1.0 is worse than 1.0.0\n  errors: worse, " in out
    assert "\n  latency: worse, " in out
    assert "\n  helpful: worse, " in out
    why = out.partition("Why: 1.1.0")[2]
    assert re.search(r"errors: .*\n +ContextLengthExceeded: .* \(new\): \+\d", why)
    assert re.search(r"latency: .*\n +rerank \(new\): \+\d", why)
    assert sum(
        int(it.replace(",", "")) for it in re.findall(r"^1\.\d\.0 +([\d,]+)", out, re.MULTILINE)
    ) == (2_000)
    assert "<h1>1.1.0 is worse than 1.0.0</h1>" in report.read_text()
    assert "\n  first bad commit: 3c59435b50 Add a page on privacy\n" in out
    assert "2 commits between never ran:" in out
    assert "<h1>Worse from 3c59435b50 on (errors, latency, helpful)</h1>" in history.read_text()


def test_the_examples_page_shows_what_it_prints() -> None:
    page = (ROOT / "examples" / "regression" / "README.md").read_text()
    shown = re.search(r"```\n(app_version .*?)\n```", page, re.DOTALL)
    assert shown
    assert "1.1.0 is worse than 1.0.0" in shown[1]


@pytest.mark.long
def test_the_benchmark_compares_with_the_loops() -> None:
    out = run("-c", BENCHMARK.format(benchmarks=f"{ROOT}/benchmarks", tests=f"{ROOT}/tests"))
    rows = [line.split("  ")[0] for line in out.splitlines()[4:7]]
    assert set(rows) == {
        "compare_versions",
        "loop over mlflow.search_traces",
        "the same, 500 traces a page",
    }
