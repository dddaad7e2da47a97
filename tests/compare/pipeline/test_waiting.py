"""A pipeline waits for enough traces, and learns when there are not."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from versions import Row, rows_of, write

from otel_mlflow_context.compare import NotEnoughTraces, compare_versions

BOTH = ("--baseline", "1.0.0", "--candidate", "1.1.0")


def test_too_few_are_not_enough_to_tell(command: Any, uri: str) -> None:
    assert command(uri, *BOTH, "--min-traces", "200")[0] == 0
    status, out, err = command(uri, *BOTH, "--min-traces", "201")
    assert (status, out) == (3, "")
    assert err.splitlines()[-1] == (
        "otel-mlflow-context: not enough to tell: '1.1.0' has 200; at least 201 traces of each "
        "are needed"
    )
    status, _, err = command(uri, "--baseline", "1.0.0", "--candidate", "9", "--min-traces", "1")
    assert status == 3
    assert "'9' has 0" in err


def test_what_comes_in_time_is_compared(command: Any, store: str) -> None:
    write(store, rows_of("1.0.0", 5))

    def deploy() -> None:
        time.sleep(1)
        write(store, rows_of("1.1.0", 5))

    thread = threading.Thread(target=deploy)
    thread.start()
    status, out, err = command(store, *BOTH, "--min-traces", "5", "--wait", "2m")
    thread.join()
    assert status == 0
    assert out.splitlines()[2].split()[:2] == ["1.1.0", "5"]
    said = [it for it in err.splitlines() if it.startswith("otel-mlflow-context: waiting: ")]
    assert said == [
        "otel-mlflow-context: waiting: '1.1.0' has 0; at least 5 traces of each are needed"
    ]


def test_what_does_not_come_is_waited_for_as_long_as_was_asked(store: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotEnoughTraces, match="not enough to tell: experiment 'Default' has no"):
        compare_versions(
            baseline="1", min_traces=1, wait=timedelta(seconds=1.5), tracking_uri=store
        )
    assert 1.5 <= time.monotonic() - began < 15
    write(store, [Row("1")])
    with pytest.raises(NotEnoughTraces, match="no trace has another app_version than '1'"):
        compare_versions(baseline="1", min_traces=1, tracking_uri=store)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"min_traces": 0}, "min_traces must be a number of at least 1, got 0"),
        ({"wait": "30m"}, "wait needs min_traces"),
        ({"min_traces": 1, "wait": "soon"}, "wait must be a length of time, such as 90s, 30m"),
        ({"min_traces": 1, "wait": timedelta(-1)}, "wait must be a length of time"),
    ],
)
def test_wrong_arguments_are_refused_by_name(wrong: Any, why: str, written: str) -> None:
    with pytest.raises(ValueError, match=why):
        compare_versions(baseline="1.0.0", tracking_uri=written, **wrong)
