"""A comparison as annotations of GitHub Actions.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_mlflow_context.compare.report import labels
from otel_mlflow_context.compare.result import Result, Verdict

SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""The variable with the file that the summary page of a step is appended to."""
_COMMANDS: Final = {
    Verdict.WORSE: "error",
    Verdict.DIFFERENT: "warning",
    Verdict.BETTER: "notice",
    Verdict.NO_EVIDENCE: "notice",
}
_MESSAGE: Final = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY: Final = {**_MESSAGE, ":": "%3A", ",": "%2C"}


def commands(comparison: Result) -> str:
    """A workflow command for each candidate, which is one line."""
    return "\n".join(
        f"::{_COMMANDS[verdict]} title={_escaped(headline, _PROPERTY)}::"
        f"{_escaped(chr(10).join(lines), _MESSAGE)}"
        for verdict, headline, lines in labels.sentences(comparison)
    )


def _escaped(text: str, characters: Mapping[str, str]) -> str:
    return "".join(characters.get(it, it) for it in text)
