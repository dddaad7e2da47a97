"""The cases, a module for each kind."""

from importlib import import_module

KINDS = (
    "repositories",
    "tracked",
    "variables",
    "tags_and_changes",
    "remotes",
    "launchers",
    "notebooks",
    "installations",
)


def load() -> None:
    """Fills `CASES`, in the order of `KINDS`."""
    for kind in KINDS:
        import_module(f"detectors.truth.cases.{kind}")
