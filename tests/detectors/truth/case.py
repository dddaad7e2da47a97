"""What a case of the matrix is, and how a process is judged by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FACTS = {
    "commit": "vcs.ref.head.revision",
    "branch": "vcs.ref.head.name",
    "tag": "vcs.ref.head.tag",
    "url": "vcs.repository.url.full",
    "dirty": "vcs.ref.head.dirty",
    "change": "vcs.change.id",
    "name": "mlflow.source.name",
    "type": "mlflow.source.type",
    "version": "service.version",
    "environment": "deployment.environment.name",
    "deployment": "deployment.id",
    "service": "service.name",
    "region": "cloud.region",
}
"""The facts that are compared in every case, and the resource attributes that carry them."""

OF_GIT = ("commit", "branch", "tag", "url", "dirty")
"""The facts that git is asked for at the program's file, unless a case expects something else."""


class Marker:
    def __init__(self, meaning: str) -> None:
        self.meaning = meaning

    def __repr__(self) -> str:
        return self.meaning


GIT = Marker("what git says at the program's file")
ITS_PATH = Marker("the file's path in its repository, as git says it, or else as typed")
ITS_METADATA = Marker("what importlib.metadata says in the program")


class AnyOf(frozenset):
    """One of several values is right: for what the documentation does not decide."""

    def __repr__(self) -> str:
        return " or ".join(sorted(map(repr, self)))


class Confirmed(str):
    """A value that git has to confirm, or the case itself is wrong."""

    __slots__ = ()


def any_of(*values: object) -> AnyOf:
    return AnyOf(values)


@dataclass(frozen=True)
class Start:
    """How a case starts its program, and which facts are right."""

    command: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]
    expected: Mapping[str, object]
    """By name of `FACTS`; one that is left out is None, but for git's, name and type."""
    absent: Mapping[str, str]
    """Facts that git or the program know and that are absent on purpose, each with the reason."""
    show: str | None
    """Why `show` cannot describe the same; None where it can, and then has to agree."""
    environment: Any
    """The `Environment` of `show` too, where it is not that of all cases."""
    input: str | None
    """What the program reads from its standard input."""
    question: Path | None
    """The file to ask git about, where the program has none of its own."""


@dataclass(frozen=True)
class Case:
    kind: str
    id: str
    build: Callable[[Any], Start] = field(compare=False)
    """Makes the files of the case in a `World`; returns how to start the program."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


CASES: dict[str, Case] = {}


def case(kind: str, name: str) -> Callable[[Callable[..., Start]], Callable[..., Start]]:
    """Adds a case to the matrix: the decorated function gets a `World` and returns a `Start`."""

    def add(build: Callable[..., Start]) -> Callable[..., Start]:
        new = Case(kind, name, build)
        assert str(new) not in CASES, f"two cases are called {new}"
        CASES[str(new)] = new
        return build

    return add


def verdicts(expected: Mapping[str, object], found: Mapping[str, object]) -> Iterator[str]:
    """Each fact that is not right, as ``commit`` (wrong) or ``commit absent``."""
    for fact, value in found.items():
        right = expected[fact]
        allowed = right if isinstance(right, AnyOf) else {right}
        if value not in allowed:
            yield f"{fact} absent" if value is None else fact
