"""Describes a program without starting it: each fact with its value, source and alternatives."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from opentelemetry.sdk.resources import OTELResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._decision import merged
from otel_mlflow_context.detectors._files import working_directory
from otel_mlflow_context.detectors._finding import RESOURCE_VARIABLE, Finding
from otel_mlflow_context.detectors._sources import code_sources
from otel_mlflow_context.detectors.deployment import variable_findings
from otel_mlflow_context.detectors.program.command_line import Program, program_of
from otel_mlflow_context.detectors.program.launchers import NOTEBOOK_KERNELS
from otel_mlflow_context.detectors.program.notebook import notebook
from otel_mlflow_context.detectors.source import source_attributes
from otel_mlflow_context.facts.process import process_facts
from otel_mlflow_context.facts.values import clean
from otel_mlflow_context.semconv import PROCESS_FACTS, Fact
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env

_NAME_VARIABLE: Final = "OTEL_SERVICE_NAME"


@dataclass(frozen=True)
class Candidate:
    """A value for a fact, and its source."""

    value: str
    source: str


@dataclass(frozen=True)
class DescribedFact:
    """A fact: its value in the traces, or what to do so that there is one."""

    name: str
    """The fact, as the documentation calls it: ``commit``."""
    metadata: str
    """The trace metadata that it becomes."""
    value: str | None
    source: str | None
    """For people: ``GITHUB_SHA``, ``.git/HEAD``, ``build stamp of 2026-11-01``."""
    preferred_to: tuple[Candidate, ...] = ()
    """Other values, from sources that do not count."""
    hint: str | None = None
    """For a fact that is absent: the first thing to try."""


@dataclass(frozen=True)
class Description:
    """All facts of a program, as they would be if it were started now, from here."""

    program: str | None
    """Its entry point; None for whatever is started from the working directory."""
    facts: tuple[DescribedFact, ...]
    problems: tuple[str, ...]
    """Files that are there and cannot be read."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        known = [fact for fact in self.facts if fact.value is not None]
        absent = [fact for fact in self.facts if fact.value is None]
        name_width = max(len(fact.name) for fact in self.facts)
        value_width = max((len(fact.value or "") for fact in known), default=0)
        lines = []
        for fact in known:
            value = (fact.value or "").ljust(value_width)
            lines.append(f"{fact.name.ljust(name_width)}  {value}  {fact.source}")
            lines += [
                f"{'':{name_width}}  {other.value.ljust(value_width)}  not that of {other.source}"
                for other in fact.preferred_to
            ]
        if absent:
            lines += ["", "not known:"]
            lines += [f"{fact.name.ljust(name_width)}  {fact.hint}" for fact in absent]
        return "\n".join(line.rstrip() for line in lines)


def describe(command_line: Sequence[str] = ()) -> Description:
    """Describe a program without starting it.

    Args:
        command_line: as it would be started, ``["uvicorn", "app.main:app"]``; by default, any
            program in the working directory.
    """
    cwd = working_directory()
    program = Program(directory=cwd)
    if command_line:
        program = program_of(command_line, environ=os.environ, cwd=cwd)
        if program.launcher in NOTEBOOK_KERNELS:
            program = notebook(program, os.environ, cwd)
    problems: list[str] = []
    sources = [
        _opentelemetry_findings(),
        variable_findings(os.environ),
        *code_sources(program, dirty=current_settings().dirty, problems=problems).in_order,
        _source_findings(program),
    ]
    facts = process_facts(
        [
            {it.attribute: it.value for it in sources[0]},
            {it.attribute: it.value for it in merged(*sources[2:]).values()}
            | {it.attribute: it.value for it in sources[1]},
        ],
        current_settings(),
    )
    return Description(
        program=program.name,
        facts=tuple(_described(fact, facts.get(fact.attribute), sources) for fact in PROCESS_FACTS),
        problems=tuple(problems),
    )


def _described(
    fact: Fact, value: str | None, sources: Iterable[Sequence[Finding]]
) -> DescribedFact:
    candidates = [
        Candidate(text, finding.source)
        for source in sources
        for finding in source
        if finding.attribute in (fact.source, *fact.aliases) and (text := clean(finding.value))
    ]
    if value is None:
        hint = _HINTS[fact.source]
        return DescribedFact(fact.name, fact.metadata, None, None, tuple(candidates), hint)
    if fact.source == semconv.MLFLOW_SOURCE_TYPE and value not in {it.value for it in candidates}:
        candidates.insert(0, Candidate(value, "the environment's name (setting SOURCE_TYPE)"))
    winner = next(it for it in candidates if it.value == value)
    others = tuple(it for it in candidates if it.value != value)
    return DescribedFact(fact.name, fact.metadata, value, winner.source, others)


def _opentelemetry_findings() -> list[Finding]:
    attributes = OTELResourceDetector().detect().attributes
    return [
        Finding(
            name,
            str(value),
            _NAME_VARIABLE
            if name == semconv.SERVICE_NAME and os.environ.get(_NAME_VARIABLE)
            else RESOURCE_VARIABLE,
        )
        for name, value in attributes.items()
    ]


def _source_findings(program: Program) -> list[Finding]:
    attributes = source_attributes(program, os.environ)
    return [Finding(name, value, "command line") for name, value in attributes.items()]


def _variable(name: str, example: str) -> str:
    return f"set {name}={example}"


_RESOURCE: Final = f"set {RESOURCE_VARIABLE}="
_HINTS: Final[Mapping[str, str]] = {
    semconv.VCS_REF_HEAD_REVISION: (
        "start it from a checkout that tracks it (`git add`), or write a build stamp: "
        "`otel-mlflow-context stamp`"
    ),
    semconv.VCS_REF_HEAD_NAME: "check out a branch, or write a build stamp where one is",
    semconv.VCS_REPOSITORY_URL_FULL: "git remote add origin URL",
    semconv.VCS_REF_HEAD_DIRTY: "needs git and a commit, and DIRTY=true",
    semconv.VCS_CHANGE_ID: f"{_RESOURCE}vcs.change.id=42",
    semconv.MLFLOW_SOURCE_NAME: (
        "give the command: otel-mlflow-context show -- uvicorn app.main:app"
    ),
    semconv.MLFLOW_SOURCE_TYPE: _variable(env.APP_ENVIRONMENT, "production"),
    semconv.SERVICE_VERSION: _variable(env.APP_VERSION, "1.2.0"),
    semconv.DEPLOYMENT_ENVIRONMENT_NAME: _variable(env.APP_ENVIRONMENT, "production"),
    semconv.DEPLOYMENT_ID: _variable(env.DEPLOYMENT_ID, "7"),
    semconv.CLOUD_REGION: _variable(env.REGION, "eu-west-1"),
    semconv.SERVICE_NAME: _variable(_NAME_VARIABLE, "qa"),
    semconv.MLFLOW_MODEL_ID: _variable(env.MLFLOW_ACTIVE_MODEL_ID, "m-..."),
}
"""The first thing to try for a fact that is absent."""
