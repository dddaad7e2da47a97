"""A comparison for people at a terminal: a table, and what it means."""

from __future__ import annotations

import io
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from otel_mlflow_context.compare._result import Comparison, Verdict
from otel_mlflow_context.compare.report import labels as words

_STYLES: Final = {
    Verdict.WORSE: "bold red",
    Verdict.BETTER: "bold green",
    Verdict.NO_EVIDENCE: "bold",
}
_LEFT: Final = ("", "verdict")


def as_text(comparison: Comparison, *, width: int) -> str:
    """The table and the sentences, without colours."""
    text = io.StringIO()
    write(comparison, Console(file=text, width=width, color_system=None, force_terminal=False))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines).strip("\n")


def write(comparison: Comparison, console: Console) -> None:
    """Write both to a console, in the colours that it has."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in words.HEADINGS:
        table.add_column(
            escape(heading or comparison.by),
            justify="left" if heading in _LEFT else "right",
            overflow="fold",
        )
    for cells in words.cells_of(comparison):
        table.add_row(*map(escape, cells))
    console.print(table)
    for verdict, headline, lines in words.sentences(comparison):
        console.print()
        console.print(escape(headline), style=_STYLES[verdict], highlight=False)
        for line in lines:
            console.print(f"  {escape(line)}", highlight=False)
    console.print()
    for line in (words.question(comparison), words.explanation(comparison), *comparison.notes):
        console.print(escape(line), style="dim", highlight=False)
