"""Versions that the files of a project name, and those that they do not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from otel_mlflow_context.detectors.program.static_version import normalized, static_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('[project]\nname = "till"\nversion = "1.2"\n', "1.2"),
        ("[ project ] # ours\nversion='1.2' # soon 1.3\n", "1.2"),
        ('[project]\r\nversion = "1.2"\r\n', "1.2"),
        ('[project]\ndynamic = ["version"]\n[tool.x]\nversion = "9"\n', None),
        ('[project]\ndescription = """\nversion = "9"\n"""\nversion = "1.2"\n', "1.2"),
        ("[project]\ndescription = '''\nversion = \"9\"\n'''\n", None),
        ('[[project]]\nversion = "9"\n', None),
        ('[project.urls]\nversion = "9"\n', None),
        ('# [project]\nversion = "9"\n', None),
        ('[project]\n# version = "9"\n', None),
        ('[tool.poetry]\nversion = "1.2"\n', "1.2"),
        ('[tool.poetry]\nversion = "0"\n[tool.poetry-dynamic-versioning]\nenable = true\n', None),
        ('[tool.poetry]\nversion = "1.1"\n[project]\nversion = "1.2"\n', "1.2"),
        ("[project\n", None),
        ("\0", None),
        ("", None),
    ],
)
def test_the_version_in_pyproject(tmp_path, text, version):
    (tmp_path / "pyproject.toml").write_text(text, newline="")

    found = static_version(tmp_path)

    assert (found and found.version) == version
    assert found is None or found.file == "pyproject.toml"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("[metadata]\nname = till\nversion = 1.2\n", "1.2"),
        ("[metadata]\nVersion: 1.2\n", "1.2"),
        ("[metadata]\nversion = attr: till.__version__\n", None),
        ("[metadata]\nversion = file: VERSION\n", None),
        ("[bumpversion]\nversion = 9\n", None),
        ("version = 9\n", None),
    ],
)
def test_the_version_in_setup_cfg(tmp_path, text, version):
    (tmp_path / "setup.cfg").write_text(text)

    found = static_version(tmp_path)

    assert (found and found.version) == version
    assert found is None or found.file == "setup.cfg"


def test_a_folder_without_a_project_has_none(tmp_path):
    assert static_version(tmp_path) is None
    (tmp_path / "pyproject.toml").mkdir()
    assert static_version(tmp_path) is None


LONGEST = 250


@pytest.mark.parametrize("version", ["9" * 5_000, f"1.{'0' * 5_000}", f"1+{'9' * 5_000}"])
def test_what_no_index_allows_is_no_version(tmp_path, version):
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')

    assert static_version(tmp_path) is None
    assert normalized("9" * LONGEST) == "9" * LONGEST


VERSION = re.compile(
    r"v?(\d!)?\d{1,3}(\.\d{1,3}){0,3}([-_.]?(a|alpha|beta|c|rc|pre)[-_.]?\d?)?"
    r"(-\d|[-_.]?(post|rev|r)[-_.]?\d?)?([-_.]?dev[-_.]?\d?)?(\+[a-z0-9]+([-_.][a-z0-9]+)*)?",
    re.ASCII,
)


@given(st.from_regex(VERSION, fullmatch=True).filter(lambda it: len(it) <= LONGEST))
def test_a_version_has_the_form_of_its_metadata(version):
    assert normalized(version) == str(Version(version))
