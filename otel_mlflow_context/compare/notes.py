"""Limits of the numbers that a reader must know: of which traces they are, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from otel_mlflow_context.compare.result import Group


def notes_of(groups: Sequence[Group], why_not: str | None) -> tuple[str, ...]:
    """The notes of a comparison; `why_not` is why the source computed nothing, if so."""
    notes = []
    sampled = [group for group in groups if group.sampled < group.traces or not group.all_counted]
    if why_not is not None:
        notes.append(
            f"Not computed where the traces are ({why_not}): all numbers are of traces that were "
            f"read one by one{_of_which(sampled)}."
        )
    elif sampled:
        notes.append(
            "The tests of numbers, their typical differences, the cost, the users and the share of "
            f"judged traces are of traces that were read one by one{_of_which(sampled)}. All other "
            "numbers are of all traces."
        )
    if unfinished := [it for it in groups if it.finished < it.traces]:
        listed = ", ".join(f"{it.traces - it.finished:,} of {it.value}" for it in unfinished)
        notes.append(f"Traces that have not ended do not count for the error rate: {listed}.")
    if no_latency := [it.value for it in groups if it.latency is None]:
        notes.append(f"No trace has a duration: {', '.join(no_latency)}.")
    return tuple(notes)


def _of_which(sampled: Sequence[Group]) -> str:
    if not sampled:
        return ", all of them"
    listed = ", ".join(
        f"{it.sampled:,} of {it.traces:,} of {it.value}"
        if it.all_counted
        else f"{it.sampled:,} of {it.value}, which has more"
        for it in sampled
    )
    return f", a random sample: {listed}"
