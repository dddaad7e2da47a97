"""The version that the files of a project name, as they are now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors._files import read_text_if_possible

_MAX_LENGTH: Final = 1 << 20
_PYPROJECT: Final = "pyproject.toml"
_TABLES: Final = ("project", "tool.poetry")
_DERIVED: Final = "tool.poetry-dynamic-versioning"
"""A plugin of Poetry with which the version there is a placeholder."""
_LONG_TEXT: Final = re.compile(r'(""")(?:\\.|[^\\])*?"""|(\'\'\')[\s\S]*?\'\'\'', re.DOTALL)
_TABLE: Final = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?")
_QUOTED: Final = re.compile(r"""\s*version\s*=\s*(?:"([^"\\]+)"|'([^']+)')\s*(?:#.*)?""")
_SETUP: Final = "setup.cfg"
_PLAIN: Final = re.compile(r"version\s*[=:]\s*([\w.!+-]+)\s*", re.IGNORECASE)


class StaticVersion(NamedTuple):
    """A version, and the name of the file that it is in."""

    version: str
    file: str


def static_version(project: Path) -> StaticVersion | None:
    """The version that pyproject.toml or setup.cfg names, if it stands there.

    None for one that a build backend takes from elsewhere: an attribute, a file, a tag. Nothing is
    parsed but tables and lines as people write them: `tomllib` is not in all versions of Python.
    """
    text = _LONG_TEXT.sub('""', read_text_if_possible(project / _PYPROJECT, _MAX_LENGTH))
    tables = dict(_versions(text, _QUOTED))
    for table in _TABLES:
        if (version := tables.get(table)) and not (table != "project" and _DERIVED in text):
            return StaticVersion(version, _PYPROJECT)
    text = read_text_if_possible(project / _SETUP, _MAX_LENGTH)
    version = dict(_versions(text, _PLAIN)).get("metadata")
    return StaticVersion(version, _SETUP) if version else None


def _versions(text: str, form: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Each version of a table, by the table's name."""
    name = ""
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            table = _TABLE.fullmatch(line)
            name = table[1] if table else ""
        elif version := form.fullmatch(line):
            yield name, next(filter(None, version.groups()))
