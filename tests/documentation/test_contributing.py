"""CONTRIBUTING.md describes the package as it is."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation.markdown import ROOT, rows

PAGE = ROOT / "CONTRIBUTING.md"
PACKAGE = ROOT / "otel_mlflow_context"


def parts() -> list[str]:
    """The package's modules and folders, in the order of the table."""
    names = [
        match[1] for row in rows(PAGE) if (match := re.fullmatch(r"`(\w+)(?:\.py|/)`", row[0]))
    ]
    assert len(names) == len(set(names))
    return names


def imports(module: Path) -> Iterator[str]:
    """The parts of the package that a module imports, wherever in the module it does."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, *rest = name.split(".")
            if package == PACKAGE.name and rest:
                yield rest[0]


def test_the_table_has_every_part_of_the_package() -> None:
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(parts()) == {name for name in found if not name.startswith("__")}


@pytest.mark.parametrize("part", parts())
def test_a_part_imports_only_from_parts_above_it(part: str) -> None:
    path = PACKAGE / part
    modules = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    above = parts()[: parts().index(part) + 1]
    assert {name for module in modules for name in imports(module)} <= set(above)


def test_no_folder_has_more_than_ten_modules() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    modules = {
        str(folder.relative_to(PACKAGE)): len(
            [it for it in folder.glob("*.py") if not it.name.startswith("__")]
        )
        for folder in folders
    }
    assert {folder: count for folder, count in modules.items() if count > 10} == {}


def test_every_make_target_that_it_names_exists() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    targets = {line.split()[0] for line in listed.stdout.splitlines()}
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE.read_text(), re.MULTILINE))
    assert {"test", "lint", "help"} <= named <= targets


def test_make_runs_every_long_test() -> None:
    [places] = re.findall(r"^LONG := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    marked = re.compile(r"^(@|pytestmark = )pytest\.mark\.(long|slow)\b", re.MULTILINE)
    found = [path for path in (ROOT / "tests").rglob("*.py") if marked.search(path.read_text())]
    assert len(found) > 5
    folders = [ROOT / place for place in places.split()]
    assert [it for it in found if not any(it.is_relative_to(place) for place in folders)] == []


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"`([\w./]+\.(?:py|md|toml|txt)|[\w./]+/)`", PAGE.read_text()))
    assert len(named) > 20
    # Paths of the package are given without its name, files of a folder without the folder's.
    folders = [ROOT, PACKAGE, PACKAGE / "detectors", PACKAGE / "detectors" / "platforms"]
    assert [it for it in named if not any((folder / it).exists() for folder in folders)] == []
