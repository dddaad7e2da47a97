"""Parts of Markdown pages: fenced blocks, tables and links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *sorted((ROOT / "examples").glob("*/*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def block(page: Path, language: str, start: str) -> str:
    """The one block of a language that begins so."""
    [found] = [it for it in blocks(page, language) if it.startswith(start)]
    return found


def rows(page: Path) -> list[list[str]]:
    """The cells of every row of every table, headers included."""
    return [
        [cell.strip() for cell in line.strip("| \n").split("|")]
        for line in page.read_text().splitlines()
        if line.startswith("| ")
    ]


def links(page: Path) -> list[tuple[str, str]]:
    """Links within the repository: path ("" for the page itself) and anchor ("" for none)."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
