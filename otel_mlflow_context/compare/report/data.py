"""A comparison as data: JSON, CSV and a pandas frame."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from otel_mlflow_context.compare._result import Change, Comparison, Difference, Group
from otel_mlflow_context.compare._statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd

_MS_PER_S: Final = 1_000


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON has it: what is not known is null."""
    return {
        "verdict": comparison.verdict.value,
        "by": comparison.by,
        "baseline": comparison.baseline.value,
        "where": comparison.where,
        "since": time_of(comparison.since_ms),
        "experiment": comparison.experiment,
        "source": comparison.source,
        "aggregated": comparison.aggregated,
        "level": comparison.level,
        "groups": [_group(group) for group in comparison.groups],
        "differences": [_difference(it) for it in comparison.differences],
        "notes": list(comparison.notes),
    }


def as_frame(comparison: Comparison) -> pd.DataFrame:
    """A comparison as a table of pandas, a row a group, the values of the key as its index."""
    import pandas as pd

    return pd.DataFrame(rows_of(comparison)).set_index("value")


def as_csv(comparison: Comparison) -> str:
    """The same table as text. What is not known is empty."""
    rows = rows_of(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def rows_of(comparison: Comparison) -> list[dict[str, Any]]:
    """A flat row for each group, with how it differs from the baseline."""
    differences = {it.value: it for it in comparison.differences}
    rows = []
    for group in comparison.groups:
        said = differences.get(group.value)
        latency = group.latency
        rows.append(
            {
                "value": group.value,
                "verdict": said.verdict.value if said else None,
                "traces": group.traces,
                "all_counted": group.all_counted,
                "finished": group.finished,
                "errors": group.errors,
                **_flat("error_rate", group.error_rate),
                "latency_p50_ms": latency.p50 if latency else None,
                "latency_p90_ms": latency.p90 if latency else None,
                "latency_p99_ms": latency.p99 if latency else None,
                "tokens": group.tokens,
                "cost_usd": group.cost,
                "sessions": group.sessions,
                "all_sessions": group.all_sessions,
                "users": group.users,
                "all_users": group.all_users,
                "sampled": group.sampled,
                **_flat_change("error_rate_change", said.errors if said else None),
                **_flat_change("latency_change_ms", said.latency if said else None),
            }
        )
    return rows


def time_of(milliseconds: int | None) -> str | None:
    """A time as ISO 8601, in UTC."""
    if milliseconds is None:
        return None
    time = datetime.fromtimestamp(milliseconds / _MS_PER_S, tz=timezone.utc)
    return time.isoformat().replace("+00:00", "Z")


def _group(group: Group) -> dict[str, Any]:
    latency = group.latency
    return {
        "value": group.value,
        "traces": group.traces,
        "all_counted": group.all_counted,
        "finished": group.finished,
        "errors": group.errors,
        "error_rate": _estimate(group.error_rate),
        "latency_ms": None if latency is None else asdict(latency),
        "tokens": group.tokens,
        "cost_usd": group.cost,
        "sessions": group.sessions,
        "all_sessions": group.all_sessions,
        "users": group.users,
        "all_users": group.all_users,
        "sampled": group.sampled,
        "over_time": [
            {
                "start": time_of(it.start_ms),
                "finished": it.finished,
                "errors": it.errors,
                "latency_p50_ms": it.latency_p50,
            }
            for it in group.over_time
        ],
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "value": difference.value,
        "verdict": difference.verdict.value,
        "error_rate": _change(difference.errors),
        "latency_ms": _change(difference.latency),
    }


def _change(change: Change | None) -> dict[str, Any] | None:
    if change is None:
        return None
    return {
        "verdict": change.verdict.value,
        "difference": _estimate(change.difference),
        "p_value": change.p_value,
        "corrected_p_value": change.corrected_p_value,
        "larger": change.larger,
        "traces_needed": change.traces_needed,
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else asdict(estimate)


def _flat(name: str, estimate: Estimate | None) -> dict[str, Any]:
    return {
        name: estimate.value if estimate else None,
        f"{name}_low": estimate.low if estimate else None,
        f"{name}_high": estimate.high if estimate else None,
    }


def _flat_change(name: str, change: Change | None) -> dict[str, Any]:
    return {
        **_flat(name, change.difference if change else None),
        f"{name}_p": change.corrected_p_value if change else None,
        f"{name}_verdict": change.verdict.value if change else None,
        f"{name}_traces_needed": change.traces_needed if change else None,
    }
