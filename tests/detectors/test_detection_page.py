"""The tables of docs/detection.md are those of the code.

`PYTHONPATH=tests python tests/detectors/test_detection_page.py` writes them anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import git
from detectors.truth.cases import count_by_kind

from otel_mlflow_context.detectors.platforms.ci import CI
from otel_mlflow_context.detectors.platforms.hosting import HOSTING
from otel_mlflow_context.detectors.platforms.lookup import Platform, rows, variables_of

PAGE = Path(__file__).parents[2] / "docs" / "detection.md"
TABLES = {"runtime": rows(HOSTING), "CI": rows(CI)}


def row(platform: Platform) -> str:
    known_by = ", ".join(
        f"`{name}`" + ("" if wanted is True else " unset" if wanted is False else f"=`{wanted}`")
        for name, wanted in platform.conditions.items()
    )
    values = [f"workspace: `{platform.workspace}`"] if platform.workspace else []
    values += [
        f"{fact}: {', '.join(dict.fromkeys(f'`{it}`' for it in variables_of(' '.join(readings))))}"
        for fact, readings in platform.readings.items()
        if fact != "cloud"
    ]
    values += [f"cloud: {it}" for it in platform.readings.get("cloud", ())]
    return f"| [{platform.name}]({platform.page}) | {known_by} | {'; '.join(values) or 'nothing'} |"


def table(kind: str) -> str:
    header = "| Platform | Detected by | Values from |\n|---|---|---|\n"
    return header + "\n".join(map(row, TABLES[kind]))


def marked(kind: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- {kind} -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def truth_table() -> str:
    """How many cases of each kind the truth matrix has."""
    counts = count_by_kind()
    lines = [f"| {kind} | {count} |" for kind, count in counts.items()]
    total = f"| together | {sum(counts.values())} |"
    return "\n".join(["| Programs, by what differs | Cases |", "|---|---|", *lines, total])


WRITTEN = {
    "truth": truth_table,
    "runtime": lambda: table("runtime"),
    "CI": lambda: table("CI"),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_tables_are_those_of_the_code(kind: str) -> None:
    [written] = marked(kind).findall(PAGE.read_text())
    assert written == WRITTEN[kind](), (
        "PYTHONPATH=tests python tests/detectors/test_detection_page.py writes it anew"
    )


def test_the_worked_dockerfile_is_that_of_the_build_stamps_page() -> None:
    dockerfile = re.compile(r"^```dockerfile\n(.*?AS build.*?)^```", re.MULTILINE | re.DOTALL)
    [here] = dockerfile.findall(PAGE.read_text())
    assert here in (PAGE.parent / "build-stamp.md").read_text()


def test_what_the_page_shows_is_what_the_command_prints(repository: Path) -> None:
    (repository / "app.py").touch()
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "app")
    [shown] = re.findall(r"^```\n(commit .*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    printed = subprocess.run(
        [sys.executable, "-m", "otel_mlflow_context.cli", "show", "--", "python", "app.py"],
        cwd=repository,
        env={"APP_VERSION": "1.2.0", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    of_page = shown.replace(
        "9f1c3aa2b7d04e5f8a6c1d2e3f405162738495a6", git(repository, "rev-parse", "HEAD")
    )
    assert first_words(printed.splitlines()) == first_words(of_page.splitlines())


def first_words(lines: Iterable[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines]


if __name__ == "__main__":
    text = PAGE.read_text()
    for each, written in WRITTEN.items():
        text = marked(each).sub(lambda _, written=written: written(), text)
    PAGE.write_text(text)
