"""Limits of the numbers of assessments that a reader must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from otel_mlflow_context.compare import statistics
from otel_mlflow_context.compare.metrics import Metric, Share
from otel_mlflow_context.compare.result import Group
from otel_mlflow_context.compare.units import share


def notes_on_quality(
    groups: Sequence[Group], rows: Sequence[Metric], level: float
) -> tuple[str, ...]:
    """The notes on all assessments, at the level of all tests of what was judged together."""
    names = _names(groups)
    return (*_different_shares(groups, names, level), *problems_of(groups, rows))


def _names(groups: Sequence[Group]) -> Sequence[str]:
    return sorted({name for group in groups for name in group.judged})


def _different_shares(groups: Sequence[Group], names: Sequence[str], level: float) -> Iterator[str]:
    base, *candidates = groups
    tests = [
        (name, it.value, it.judged[name].among, base.judged[name].among)
        for name in names
        for it in candidates
    ]
    p_values = statistics.holm(
        [
            statistics.fisher(found.count, found.total, before.count, before.total)
            for _, _, found, before in tests
        ]
    )
    for (name, value, found, before), p_value in zip(tests, p_values, strict=True):
        if p_value <= level:
            yield (
                f"{name} was judged in {share(found.count / found.total)} of the traces of {value} "
                f"and {share(before.count / before.total)} of {base.value}: what is judged may "
                "differ from the rest."
            )


def unequally_judged(groups: Sequence[Group], level: float) -> Iterator[str]:
    """The assessments that some of many groups have more often than others."""
    shares = {
        name: [it.judged[name].among for it in groups if it.judged[name].among.total]
        for name in _names(groups)
    }
    p_values = statistics.holm(
        [statistics.equal_shares([(of.count, of.total) for of in it]) for it in shares.values()]
    )
    for (name, found), p_value in zip(shares.items(), p_values, strict=True):
        if p_value <= level:
            rates = [it.count / it.total for it in found]
            yield (
                f"{name} was judged in {share(min(rates))} to {share(max(rates))} of the traces of "
                "a version: what is judged may differ from the rest."
            )


def problems_of(groups: Sequence[Group], rows: Sequence[Metric]) -> Iterator[str]:
    """What was judged and does not count."""
    names = _names(groups)
    if not any(it.tested for it in rows):
        yield "Nothing was tested: no trace has been judged."
    failed = [
        f"{count:,} of {name} of {group.value}"
        for name in names
        for group in groups
        if (count := group.judged[name].failed)
    ]
    if failed:
        yield f"Judges that ended with an error do not count: {', '.join(failed)}."
    divided = [
        f"{count:,} of {row.assessment} of {group.value}"
        for row in rows
        for group in groups
        if isinstance(found := group.observed.get(row.name), Share)
        and row.assessment
        and (count := group.judged[row.assessment].traces - found.total)
    ]
    if divided:
        yield (
            "Traces on which the judges are divided or undecided do not count: "
            f"{', '.join(divided)}."
        )
    if unlike := [it for it in names if it not in {row.assessment for row in rows}]:
        yield (
            "Not compared, because they have no yes or no, no numbers, and no more than a few "
            f"texts: {', '.join(unlike)}."
        )
