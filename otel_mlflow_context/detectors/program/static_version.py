"""The version that the files of a project name, as they are now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context.detectors._files import read_text_if_possible

_MAX_LENGTH: Final = 1 << 20
_MAX_VERSION: Final = 250
"""The characters of a version that package indexes allow. Python converts no number of thousands of
digits."""
_PYPROJECT: Final = "pyproject.toml"
_TABLES: Final = ("project", "tool.poetry")
_DERIVED: Final = "tool.poetry-dynamic-versioning"
"""A plugin of Poetry with which the version there is a placeholder."""
_LONG_TEXT: Final = re.compile(r'(""")(?:\\.|[^\\])*?"""|(\'\'\')[\s\S]*?\'\'\'', re.DOTALL)
_TABLE: Final = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?")
_QUOTED: Final = re.compile(r"""\s*version\s*=\s*(?:"([^"\\]+)"|'([^']+)')\s*(?:#.*)?""")
_SETUP: Final = "setup.cfg"
_PLAIN: Final = re.compile(r"version\s*[=:]\s*([\w.!+-]+)\s*", re.IGNORECASE)


# https://packaging.python.org/en/latest/specifications/version-specifiers/
_VERSION: Final = re.compile(
    r"""v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)
    (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>\d*))?
    (?:-(?P<bare>\d+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>\d*))?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_number>\d*))?
    (?:\+(?P<local>[a-z\d]+(?:[-_.][a-z\d]+)*))?""",
    re.VERBOSE | re.ASCII,
)
_PHASES: Final = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


class StaticVersion(NamedTuple):
    """A version, and the name of the file that it is in."""

    version: str
    file: str


def static_version(project: Path) -> StaticVersion | None:
    """The version that pyproject.toml or setup.cfg names, if it stands there.

    It has the form that a build would give it. None for one that a build backend takes from
    elsewhere: an attribute, a file, a tag. Nothing is parsed but tables and lines as people write
    them: `tomllib` is not in all versions of Python.
    """
    found = _found(project)
    version = normalized(found.version) if found else None
    return StaticVersion(version, found.file) if found and version else None


def normalized(version: str) -> str | None:
    """A version as the metadata of a distribution has it; None for what is none.

    >>> normalized("v2.0.0-RC.1"), normalized("1.0-alpha"), normalized("1.0-1"), normalized("@1@")
    ('2.0.0rc1', '1.0a0', '1.0.post1', None)
    """
    version = version.strip().lower()
    found = _VERSION.fullmatch(version) if len(version) <= _MAX_VERSION else None
    if found is None:
        return None
    epoch = f"{int(found['epoch'])}!" if found["epoch"] and int(found["epoch"]) else ""
    release = ".".join(str(int(number)) for number in found["release"].split("."))
    pre = (
        found["pre"] and f"{_PHASES.get(found['pre'], found['pre'])}{_number(found['pre_number'])}"
    )
    post_number = found["bare"] or found["post_number"]
    post = f".post{_number(post_number)}" if found["post"] or found["bare"] else ""
    dev = f".dev{_number(found['dev_number'])}" if found["dev"] else ""
    parts = re.split("[-_.]", found["local"] or "")
    local = "+" + ".".join(str(int(it)) if it.isdigit() else it for it in parts) if parts[0] else ""
    return f"{epoch}{release}{pre or ''}{post}{dev}{local}"


def _number(digits: str | None) -> int:
    return int(digits or 0)


def _found(project: Path) -> StaticVersion | None:
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
