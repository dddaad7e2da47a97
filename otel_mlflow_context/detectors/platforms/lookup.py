"""Reads the tables of platforms: which platforms a process is on, and what their variables hold.

A row is a line with the platform's name and the page of its own documentation, and below it,
indented, a line for each fact that it knows:

    GitHub Actions  https://docs.github.com/en/actions/reference/workflows-and-actions/variables
        # A comment.
        known by          GITHUB_ACTIONS=true
        commit            GITHUB_SHA

- ``known by`` comes first: variables that must all be set; ``NAME=value`` to this value, in any
  case; ``!NAME`` must not be set. A name that people and deploy scripts set too, as the target of
  a deployment, needs a second variable beside it that only the platform sets.
- ``workspace`` is the variable with the folder of the code that is built: the facts of the code are
  those of the programs in there.
- ``head of merge`` is for a platform that checks out its merge of a change, without a variable for
  the head: ``second`` parent; or ``beside NAME``, the parent that is not the head of that branch.
- A fact of `FACTS` has readings with spaces between them, of which the first with a usable value
  wins; a second line of the same fact adds to the first. A reading is ``NAME``; ``NAME:prefix``,
  the value without the prefix, and nothing where it begins otherwise; or a template like
  ``https://github.com/{NAME}``, for which all variables must be set. In ``{NAME|form}`` the value
  is converted by one of `FORMS`.
- ``commit of change`` is the head of a pull request, where ``commit`` is then the platform's merge
  of it; ``branch of change`` its branch, where ``branch`` is then the one that it goes into.
- ``branch or tag`` is a branch of which the type is left out.
- ``cloud`` has no variables: a provider, or provider/platform, as the conventions name them:
  https://opentelemetry.io/docs/specs/semconv/registry/attributes/cloud/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from otel_mlflow_context import semconv
from otel_mlflow_context.detectors._files import read_text
from otel_mlflow_context.detectors._finding import Finding, checked

FACTS: Final[Mapping[str, str]] = {
    "commit of change": semconv.VCS_REF_HEAD_REVISION,
    "commit": semconv.VCS_REF_HEAD_REVISION,
    "branch of change": semconv.VCS_REF_HEAD_NAME,
    "branch or tag": semconv.VCS_REF_HEAD_NAME,
    "branch": semconv.VCS_REF_HEAD_NAME,
    "tag": semconv.VCS_REF_HEAD_TAG,
    "repository": semconv.VCS_REPOSITORY_URL_FULL,
    "change": semconv.VCS_CHANGE_ID,
    "environment": semconv.DEPLOYMENT_ENVIRONMENT_NAME,
    "deployment": semconv.DEPLOYMENT_ID,
    "deployment name": semconv.DEPLOYMENT_NAME,
    "region": semconv.CLOUD_REGION,
    "service": semconv.SERVICE_NAME,
    "version": semconv.SERVICE_VERSION,
    "cloud provider": semconv.CLOUD_PROVIDER,
}
"""The facts that are read from variables, and the attributes that they become."""

_ROW: Final = re.compile(
    r"^(?P<name>\S.*?)  (?P<page>\S+)\n(?: +#.*\n)* +known by +(?P<known_by>.*)\n"
    r"(?: +workspace +(?P<workspace>.*)\n)?(?: +head of merge +(?P<head_of_merge>.*)\n)?"
    r"(?P<facts>(?: .*\n)*)",
    re.MULTILINE,
)
_FACT: Final = re.compile(r"^ +([a-z ]*[a-z])  +(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Platform:
    """A row of a table."""

    name: str
    page: str
    known_by: str
    workspace: str | None
    head_of_merge: str | None
    facts: str

    @property
    def conditions(self) -> Mapping[str, str | bool]:
        """`known_by` by variable: True is set, False is not, a text is the value in lower case."""
        conditions: dict[str, str | bool] = {}
        for condition in self.known_by.split():
            name, equals, value = condition.partition("=")
            conditions[name.lstrip("!")] = value if equals else not name.startswith("!")
        return conditions

    @property
    def readings(self) -> Mapping[str, Sequence[str]]:
        """By the name of the fact."""
        readings: dict[str, list[str]] = {}
        for fact, text in _FACT.findall(self.facts):
            readings.setdefault(fact, []).extend(text.split())
        return readings


def rows(table: str) -> list[Platform]:
    """The rows of a table."""
    return [Platform(**row.groupdict()) for row in _ROW.finditer(table)]


def is_known(row: Platform, environ: Mapping[str, str]) -> bool:
    """Whether a process with these variables is on the platform."""
    for name, wanted in row.conditions.items():
        value = environ.get(name, "").strip()
        if bool(value) is not wanted if isinstance(wanted, bool) else value.lower() != wanted:
            return False
    return True


def findings_of(row: Platform, environ: Mapping[str, str]) -> list[Finding]:
    """The facts in a platform's variables, one finding an attribute. Never raises."""
    readings = dict(row.readings)
    constants = "/".join(readings.pop("cloud", ())).split("/")
    change = _first("change", readings, environ)
    if change is None:
        readings.pop("commit of change", None)
        readings.pop("branch of change", None)
    elif "branch of change" in readings:
        readings.pop("branch", None)
    tag = _first("tag", readings, environ)
    found: dict[str, Finding] = {}
    for fact, attribute in FACTS.items():
        # Many platforms give the tag as the name of the branch too.
        excluded = tag.value if tag and attribute == semconv.VCS_REF_HEAD_NAME else None
        finding = _first(fact, readings, environ, excluded)
        if finding is None or attribute in found:
            continue
        found[attribute] = finding
        if fact.startswith("branch") and fact != "branch or tag":
            branch = Finding(semconv.VCS_REF_HEAD_TYPE, "branch", finding.source)
            found[branch.attribute] = branch
    source = next(iter(row.conditions))
    names = (semconv.CLOUD_PROVIDER, semconv.CLOUD_PLATFORM)
    cloud = (Finding(*it, source) for it in zip(names, constants, strict=False) if it[1])
    return [*found.values(), *cloud]


class Change(NamedTuple):
    """The proposed change that a platform builds."""

    head: Finding | None
    """The commit that was proposed."""
    commit: Finding | None
    """The commit that is checked out, as far as the platform knows: the head, or a merge of it."""
    target: str | None
    """The branch that it goes into, where that tells the parents of a merge apart."""
    is_second: bool
    """In a merge, the head is the second parent."""


def change_of(row: Platform, environ: Mapping[str, str]) -> Change | None:
    """The change that a platform builds; None where it builds none. Never raises."""
    readings = row.readings
    if not _first("change", readings, environ):
        return None
    how, _, target = (row.head_of_merge or "").partition(" ")
    return Change(
        _first("commit of change", readings, environ),
        _first("commit", readings, environ),
        (target and environ.get(target, "").strip()) or None,
        how == "second",
    )


def workspace_of(row: Platform, environ: Mapping[str, str]) -> str | None:
    """The folder of the code that a platform builds, as its variable has it."""
    return environ.get(row.workspace, "").strip() or None if row.workspace else None


def variables_of(reading: str) -> tuple[str, ...]:
    """The variables of a reading. A finding names the last as its source."""
    return tuple(re.findall(r"[A-Z][A-Z0-9_]+", reading))


def _first(
    fact: str,
    readings: Mapping[str, Sequence[str]],
    environ: Mapping[str, str],
    excluded: object = None,
) -> Finding | None:
    attribute = FACTS[fact]
    for reading in readings.get(fact, ()):
        text = _read(reading, environ)
        if text and attribute in _NORMALIZED:
            text = _NORMALIZED[attribute](text)
        value = checked(attribute, text)
        if value is not None and value != excluded:
            return Finding(attribute, value, variables_of(reading)[-1])
    return None


_IN_TEMPLATE: Final = re.compile(r"\{(?P<name>\w+)(?:\|(?P<form>\w+))?\}")


def _read(reading: str, environ: Mapping[str, str]) -> str | None:
    if "{" not in reading:
        name, _, prefix = reading.partition(":")
        value = environ.get(name, "").strip()
        return value.removeprefix(prefix) if value.startswith(prefix) else None
    is_complete = True

    def fill(variable: re.Match[str]) -> str:
        nonlocal is_complete
        value: str | None = environ.get(variable["name"], "").strip()
        if variable["form"]:
            value = FORMS[variable["form"]](value or "")
        is_complete = is_complete and bool(value)
        return value or ""

    text = _IN_TEMPLATE.sub(fill, reading)
    return text if is_complete else None


# --- Values --------------------------------------------------------------------------------------

_REFS: Final = "refs/"
_BRANCHES: Final = "refs/heads/"
# GitHub's refs/pull/5/merge, CircleCI's pull/5, Netlify's pull/5/head and merge-requests/5/head;
# CodeBuild's pr/5; the page of a pull request.
_CHANGE_REF: Final = re.compile(
    r"(?:refs/)?(?:pull|pull-requests|merge-requests)/([0-9]+)(?:/(?:head|merge))?"
)
_CHANGE: Final = (
    re.compile(r"(?:pr/)?([0-9]+)"),
    _CHANGE_REF,
    re.compile(r"https?://\S+/(?:pull|pull-requests)/([0-9]+)"),
)


def _branch(ref: str) -> str | None:
    if ref.startswith(_BRANCHES):
        return ref.removeprefix(_BRANCHES)
    is_none = ref.startswith(_REFS) or ref in ("HEAD", "detached") or _CHANGE_REF.fullmatch(ref)
    return None if is_none else ref


def _change(text: str) -> str | None:
    """The number of a change. Many platforms have "false" where there is none."""
    return next((match[1] for form in _CHANGE if (match := form.fullmatch(text))), None)


def _deployment(text: str) -> str | None:
    return None if text == "$LATEST" else text  # Lambda: whatever was deployed last


_NORMALIZED: Final[Mapping[str, Callable[[str], str | None]]] = {
    semconv.VCS_REF_HEAD_NAME: _branch,
    semconv.VCS_CHANGE_ID: _change,
    semconv.DEPLOYMENT_ID: _deployment,
}

_HOSTS: Final = {"github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org"}
_MODAL_CLOUDS: Final = {"aws": "aws", "gcp": "gcp", "oci": "oracle_cloud"}
_MAX_EVENT: Final = 1 << 20  # bytes; that of a pull request has some 30,000


def _head_in_event(path: str) -> str | None:
    """The commit that a pull request proposes, from the event file of GitHub Actions."""
    try:
        sha = json.loads(read_text(Path(path), _MAX_EVENT))["pull_request"]["head"]["sha"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return sha if isinstance(sha, str) else None


FORMS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "host": lambda provider: _HOSTS.get(provider.lower()),
    "slot": lambda name: None if name.lower() == "production" else name,
    "modal_cloud": lambda text: _MODAL_CLOUDS.get(text.lower().removeprefix("cloud_provider_")),
    "head_in_event": _head_in_event,
}
"""What a variable's value may be converted by in a template."""
