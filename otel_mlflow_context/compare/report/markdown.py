"""A comparison as Markdown, for a comment on a change or the summary of a pipeline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from otel_mlflow_context.compare.explain.labels import sections
from otel_mlflow_context.compare.report import labels
from otel_mlflow_context.compare.result import Result, Verdict

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#|~])")
_SPACE: Final = re.compile(r"\s+")
_SIGNS: Final = {
    Verdict.WORSE: "\u274c",
    Verdict.BETTER: "\u2705",
    Verdict.DIFFERENT: "\u26a0\ufe0f",
    Verdict.NO_EVIDENCE: "\u2796",
}


def as_markdown(comparison: Result) -> str:
    """Headline and sentences of each candidate, the tables, and the limits of the numbers."""
    blocks = []
    for verdict, headline, lines in labels.sentences(comparison):
        blocks.append(f"### {_SIGNS[verdict]} {escaped(headline)}")
        blocks.append("\n".join(f"- {escaped(line)}" for line in lines))
    blocks.append(_table(*labels.table_of(comparison)))
    headings, rows = labels.assessments_of(comparison)
    if rows:
        blocks.append(_table(headings, rows))
    for explanation in comparison.explanations:
        blocks.append(f"### Why: {escaped(labels.label(explanation.value))}")
        for section in sections(explanation, comparison.level):
            blocks.append(f"**{escaped(section.heading)}**")
            blocks.append(
                "\n".join(
                    f"- {escaped(line)}{f' ([open]({link}))' if link else ''}"
                    for line, link in zip(section.lines, section.links, strict=True)
                )
            )
    blocks.append("<details><summary>What was compared</summary>")
    blocks.append("\n".join(f"- {escaped(line)}" for line in labels.limits(comparison)))
    blocks.append("</details>")
    return "\n\n".join(block for block in blocks if block)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one line.

    >>> print(escaped("a|b <c>"))
    a\\|b \\<c\\>
    """
    return _SPECIAL.sub(r"\\\1", _SPACE.sub(" ", text).strip())


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---", *("---:" for _ in headings[1:])]]
    return "\n".join(
        [
            *(f"| {' | '.join(cells)} |" for cells in ([*map(escaped, lines[0])], lines[1])),
            *(f"| {' | '.join(map(escaped, cells))} |" for cells in rows),
        ]
    )
