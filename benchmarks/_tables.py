"""What every benchmark prints: plain text tables, and progress on the side."""

import statistics
import sys
from collections.abc import Iterable, Sequence


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *notes: str) -> str:
    """A table with its first column to the left and figures to the right."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    formatted = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([title, "", formatted[0], rule, *formatted[1:], *notes])


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """Two series as a ratio of medians, and in brackets the median of the rounds' own ratios."""
    medians = statistics.median(over) / (statistics.median(under) or float("nan"))
    each = [a / b for a, b in zip(over, under, strict=True) if b]
    return f"{medians:.2f} ({statistics.median(each):.2f})"


def progress(text: str) -> None:
    """Say on stderr what is being done, on one line that is overwritten where that is seen."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def progress_done() -> None:
    """Leave no trace of the progress."""
    progress("")
