"""Patterns of paths, as git matches them."""

import subprocess

import pytest

from otel_mlflow_context.detectors.repository.pattern import matches

PATTERNS = [
    "a",
    "*",
    "**",
    "a/*",
    "a/**",
    "**/b",
    "a/**/c",
    "a**",
    "a**/c",
    "?",
    "[ab]",
    "[a-c]/b",
    "[!b]",
    "[^b]",
    "[]]",
    "[!]]",
    "[[:alpha:]]",
    "[[:digit:][:upper:]]",
    "[[:weather:]]",
    "[a\\]]",
    "[a-]",
    "[c-a]",
    "[a",
    "a\\*",
    "\\a",
    "a[/]b",
    "*.b",
    "A",
]
PATHS = ["a", "b", "]", "-", "7", "a/b", "a/c", "a/b/c", "ab", "ab/c", "a*", "a.b", "A", "[a"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_it_matches_for_git(tmp_path, pattern):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    more = tmp_path / "more"
    more.write_text("[it]\n\tmatches = true\n")
    escaped = pattern.replace("\\", "\\\\")
    for path in PATHS:
        (tmp_path / "config").write_text(
            f'[remote "r"]\n\turl = "{path}"\n'
            f'[includeIf "hasconfig:remote.*.url:{escaped}"]\n\tpath = {more}\n'
        )
        git = subprocess.run(
            ["git", "config", "it.matches"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "GIT_CONFIG_GLOBAL": str(tmp_path / "config")},
            capture_output=True,
            check=False,
        )
        assert matches(pattern, path) is bool(git.stdout), path


def test_what_stands_before_a_pattern_is_taken_as_it_is():
    assert matches("*", "/[a]/b", start="/[a]/")
    assert not matches("*", "/a/b", start="/[a]/")
    assert matches("B", "/a/b", start="/A/", ignores_case=True)
