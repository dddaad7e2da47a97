"""Tables as CSV, in which no spreadsheet takes a text for a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_of(table: pd.DataFrame) -> str:
    """A table's columns and rows, without its index. What is not known is empty."""
    safe = table.convert_dtypes()
    for name in safe.select_dtypes(include=["string", "object"]):
        safe[name] = safe[name].map(_safe)
    text: str = safe.rename(columns=_safe).to_csv(index=False)
    return text


def _safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
