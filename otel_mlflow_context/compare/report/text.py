"""A comparison for people at a terminal: a table, and what it means."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, Literal

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_mlflow_context.compare.explain.labels import printable, sections
from otel_mlflow_context.compare.report import labels
from otel_mlflow_context.compare.result import Result, Verdict

STYLES: Final = {
    Verdict.WORSE: "bold red",
    Verdict.BETTER: "bold green",
    Verdict.DIFFERENT: "bold yellow",
    Verdict.NO_EVIDENCE: "bold",
}


def as_text(write_to: Callable[[Console], None], *, width: int) -> str:
    """What is written to a console, without colors."""
    text = io.StringIO()
    write_to(Console(file=text, width=width, color_system=None, force_terminal=False))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines).strip("\n")


def write(comparison: Result, console: Console) -> None:
    """Write the table and the sentences to a console, in the colors that it has."""
    headings, rows = labels.table_of(comparison)
    write_table(console, headings, rows, left=(0, len(headings) - 1))
    headings, rows = labels.assessments_of(comparison)
    if rows:
        console.print()
        write_table(console, headings, rows, left=(0, 1))
    for verdict, headline, lines in labels.sentences(comparison):
        console.print()
        console.print(escape(printable(headline)), style=STYLES[verdict], highlight=False)
        for line in lines:
            console.print(f"  {escape(printable(line))}", highlight=False)
    for explanation in comparison.explanations:
        console.print()
        console.print(escape(printable(f"Why: {labels.label(explanation.value)}")), style="bold")
        for section in sections(explanation, comparison.level):
            console.print(Padding(Text(section.heading), (0, 0, 0, 2)))
            for line, link in zip(section.lines, section.links, strict=True):
                console.print(Padding(Text(line), (0, 0, 0, 4)))
                if link:  # whole, however narrow the terminal is
                    console.print(Text(f"      {link}"), soft_wrap=True)
    console.print()
    for line in labels.limits(comparison):
        console.print(escape(printable(line)), style="dim", highlight=False)


def write_table(
    console: Console, headings: list[str], rows: list[list[str]], *, left: tuple[int, ...]
) -> None:
    """Write a table; the columns `left` are text, all others numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, heading in enumerate(headings):
        justify: Literal["left", "right"] = "left" if index in left else "right"
        table.add_column(escape(printable(heading)), justify=justify, overflow="fold")
    for cells in rows:
        table.add_row(*(escape(printable(cell)) for cell in cells))
    console.print(table)
