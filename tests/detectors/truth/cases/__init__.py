"""The cases, a module for each kind or two."""

from collections import Counter
from importlib import import_module

from detectors.truth.case import CASES

MODULES = (
    "repositories",
    "tracked",
    "variables",
    "tags_and_changes",
    "remotes",
    "launchers",
    "notebooks",
    "installations",
    "platforms",
    "pull_requests",
    "together",
)


def load() -> None:
    """Fills `CASES`, in the order of `MODULES`."""
    for module in MODULES:
        import_module(f"detectors.truth.cases.{module}")


def count_by_kind() -> dict[str, int]:
    """How many cases of each kind there are: the table of docs/detection.md."""
    load()
    return dict(Counter(case.kind for case in CASES.values()))
