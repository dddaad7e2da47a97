"""The truth matrix: every fact of every case is what git and the program itself say, or absent.

A case is a small tree of files, a command that starts a program in it, an environment, and what is
expected of the facts that are not simply "what git says at the program's file". It runs in a fresh
process with a clean environment. Its judges are real git and the program itself, never the code
under test; `otel-mlflow-context show` has to agree with the process.

To add a case, write a function in the module of its kind, below `cases`::

    @case("git", "untracked script in a repository")
    def _(world):
        shop = world.repository()
        write(shop, {"new.py": program()})
        return world.start("python", "new.py", cwd=shop)

What is expected is given by keyword, ``version="1.2"``: one value, `GIT` (the default for commit,
branch, tag, url and dirty), `any_of` several where nothing decides, or `ITS_METADATA`. A fact that
is left out has to be absent. ``absent={"tag": "the reason"}`` allows a fact to be absent that git
knows. `python -m pytest ... -k CASE` runs one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from detectors.truth import cases
from detectors.truth.case import CASES, FACTS, Start, verdicts
from detectors.truth.environment import Environment
from detectors.truth.oracle import described, facts_of
from detectors.truth.running import ShowHost, run
from detectors.truth.world import World

pytestmark = pytest.mark.long

cases.load()


def typed_path(start: Start) -> str | None:
    """The script of ``python script``, as typed: its name where there is no repository."""
    typed = Path(start.command[-1])
    return typed.name if typed.is_absolute() or ".." in typed.parts else typed.as_posix()


@pytest.mark.parametrize("name", CASES)
def test_every_fact_is_true_or_absent_for_a_reason(
    name: str, tmp_path: Path, template: Path, environment: Environment, show: ShowHost
) -> None:
    world = World(tmp_path, template, environment)
    start = CASES[name].build(world)
    report = run(start, tmp_path)
    expected = facts_of(start, report, typed_path(start))
    found = report["facts"]
    wrong = set(verdicts(expected, found))
    lines = [
        f"{fact}: {found[fact]!r}, but it is {described(expected[fact])}"
        for fact in FACTS
        if fact in {verdict.split()[0] for verdict in wrong}
    ]
    if start.show is None:
        shown = show(start)
        for fact, value in shown.items():
            if value != found[fact]:
                wrong.add(f"show of {fact}")
                lines.append(f"{fact}: show says {value!r}, the process {found[fact]!r}")
    if wrong:
        title = f"{name}: {', '.join(sorted(wrong))}"
        pytest.fail("\n  ".join([title, f"of {report['file']}", *lines]), pytrace=False)


def test_there_are_enough_cases_of_every_kind() -> None:
    counts = cases.count_by_kind()
    assert sum(counts.values()) >= 350
    assert min(counts.values()) >= 10
