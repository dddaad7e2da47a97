"""The sources of facts about the program's code, in their order of precedence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from opentelemetry.sdk.resources import OTELResourceDetector

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._checkout import (
    Checkout,
    described_version,
    read_checkout,
    uncommitted_changes,
)
from otel_mlflow_context.detectors._decision import checkout_and_platforms, merged
from otel_mlflow_context.detectors._files import working_directory
from otel_mlflow_context.detectors._finding import RESOURCE_VARIABLE, Finding, commit_of, findings
from otel_mlflow_context.detectors._stamp import stamp_findings
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.databricks import git_folder_findings, job_findings
from otel_mlflow_context.detectors.program.notebook import is_notebook
from otel_mlflow_context.detectors.program.package import package_findings
from otel_mlflow_context.facts.values import clean
from otel_mlflow_context.settings import current_settings
from otel_mlflow_context.settings import environment_variables as env


class Sources(NamedTuple):
    """The findings about a program's code and about where it runs, the highest precedence first."""

    opentelemetry: list[Finding]
    checkout: list[Finding]
    notebook: list[Finding]
    stamp: list[Finding]
    platforms: list[list[Finding]]
    package: list[Finding]

    @property
    def in_order(self) -> list[list[Finding]]:
        first = [self.opentelemetry, self.checkout, self.notebook, self.stamp]
        return [*first, *self.platforms, self.package]


def code_findings(
    program: Program, *, dirty: bool, problems: list[str] | None = None
) -> dict[str, Finding]:
    """The findings of `code_sources`, merged."""
    return merged(*code_sources(program, dirty=dirty, problems=problems).in_order)


def code_sources(
    program: Program,
    *,
    dirty: bool,
    problems: list[str] | None = None,
    early: Checkout | None = None,
) -> Sources:
    """The findings about the program's code by source.

    Args:
        program: whose code it is.
        dirty: whether to check for uncommitted changes, which starts git.
        problems: a message is added for each file that is there and cannot be read.
        early: an earlier reading of its checkout.
    """
    problems = [] if problems is None else problems
    checkout, platforms = checkout_and_platforms(
        program, checkout_findings(program, problems, early)
    )
    sources = Sources(
        _opentelemetry_findings(),
        checkout,
        git_folder_findings(os.environ) if is_notebook(program) else [],
        stamp_findings(program, _environment(), working_directory()),
        [*platforms, job_findings(os.environ)],
        package_findings(program),
    )
    return with_changes(sources, program, problems, early) if dirty else sources


def checkout_findings(
    program: Program, problems: list[str], early: Checkout | None = None
) -> list[Finding]:
    """The findings of a program's checkout, without uncommitted changes."""
    checkout = read_checkout(program, problems, early)
    if checkout is None:
        return []
    version = described_version(program, checkout, problems) if current_settings().describe else []
    return [*checkout.findings, *version]


def with_changes(
    sources: Sources, program: Program, problems: list[str], early: Checkout | None = None
) -> Sources:
    """The same, with the uncommitted changes that git finds, where the commit is the checkout's."""
    if commit_of(sources.checkout) is None:
        return sources
    changed = uncommitted_changes(program, problems, early)
    return sources._replace(checkout=[*sources.checkout, *changed])


def _opentelemetry_findings() -> list[Finding]:
    """The facts of the code in OTEL_RESOURCE_ATTRIBUTES."""
    attributes = {
        name: value
        for name, value in OTELResourceDetector().detect().attributes.items()
        if name.startswith(semconv.VCS_PREFIX) and clean(value)
    }
    found = findings(RESOURCE_VARIABLE, attributes)
    commit = attributes.get(semconv.VCS_REF_HEAD_REVISION)
    if commit and commit_of(found) is None:  # of another form, and still the one that counts
        found.append(Finding(semconv.VCS_REF_HEAD_REVISION, str(commit), RESOURCE_VARIABLE))
    return found


def _environment() -> Mapping[str, str]:
    """The environment, with the settings that have a variable of their own."""
    stamp = current_settings().stamp
    return {**os.environ, env.OTEL_MLFLOW_CONTEXT_STAMP: stamp} if stamp else os.environ
