"""The command: its formats, its exit status, and what it says when it cannot answer."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from packaging.version import Version
from servers import free_port
from versions import Row, rows_of, write

from otel_mlflow_context.compare import CannotCompare, compare_versions

AGGREGATES = Version(mlflow.__version__) >= Version("3.10")
BOTH = ("--baseline", "1.0.0", "--candidate", "1.1.0")


def test_a_table_for_people(command: Any, uri: str) -> None:
    status, out, _ = command(uri, *BOTH)
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split()[:3] == ["app_version", "traces", "errors"]
    assert lines[0].split()[-4:] == ["cost", "sessions", "users", "verdict"]
    assert lines[1].split()[:2] == ["1.0.0", "300"]
    assert lines[2].endswith("no evidence")
    assert "1.1.0: no evidence either way, beside 1.0.0" in lines
    assert "about" in out
    assert "\x1b" not in out


def test_json_for_machines(command: Any, server: Any) -> None:
    status, out, _ = command(server.uri, *BOTH, "--format", "json")
    found = json.loads(out)
    assert status == 0
    assert (found["verdict"], found["by"], found["baseline"]) == (
        "no evidence",
        "app_version",
        "1.0.0",
    )
    assert [group["traces"] for group in found["groups"]] == [300, 200]
    [difference] = found["differences"]
    assert set(difference["error_rate"]["difference"]) == {"value", "low", "high"}
    assert 0 < difference["latency_ms"]["p_value"] <= difference["latency_ms"]["corrected_p_value"]


def test_csv_for_spreadsheets_is_the_frame(command: Any, written: str) -> None:
    status, out, _ = command(written, "--baseline", "1.0.0", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert rows[0]["value"] == "1.0.0"
    assert {row["value"]: row["errors"] for row in rows}["failing"] == "30"
    assert {row["value"]: row["error_rate"] for row in rows}["running"] == ""
    frame = compare_versions(baseline="1.0.0", tracking_uri=written).as_frame()
    read = pd.read_csv(io.StringIO(out), index_col="value")
    assert list(read) == list(frame)
    for column in read:
        expected = frame[column].dropna().to_dict()
        if expected and isinstance(next(iter(expected.values())), float):
            expected = pytest.approx(expected)
        assert read[column].dropna().to_dict() == expected


@pytest.mark.parametrize("form", ["table", "csv", "markdown", "junit"])
def test_what_is_not_shown_is_not_asked_for(form: str, command: Any, front: Any) -> None:
    if not AGGREGATES:
        pytest.skip("MLflow before 3.10 computes nothing")
    asked = []
    for shown in ("html", form):
        front.seen.clear()
        assert command(front.uri, *BOTH, "--sample", "30", "--format", shown)[0] == 0
        asked.append(sum(path.endswith("/traces/metrics") for _, path in front.seen))
    assert asked[1] == asked[0] - 4  # traces and latency over time, of each of the two


@pytest.mark.parametrize("form", ["table", "json", "csv", "html"])
def test_the_result_may_go_to_a_file(form: str, command: Any, written: str, tmp_path: Path) -> None:
    file = tmp_path / "result"
    status, out, err = command(written, *BOTH, "--format", form, "--output", str(file))
    assert (status, out) == (0, "")
    assert err.endswith(f"otel-mlflow-context: written to {file}\n")
    assert "1.1.0" in file.read_text()


def test_what_is_read_is_said_line_by_line_where_nobody_watches(command: Any, written: str) -> None:
    _, _, err = command(written, *BOTH)
    said = [line for line in err.splitlines() if "reading" in line]
    assert len(said) == 2
    assert said[0].startswith("otel-mlflow-context: reading at most ")


def test_what_is_read_is_a_bar_for_who_watches(
    command: Any, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    status, out, _ = command(written, *BOTH)
    assert status == 0
    assert out.startswith("app_version")
    for version in ("1.0.0", "1.1.0"):
        assert f"reading traces of {version}" in terminal.getvalue()
    assert "reading at most" not in terminal.getvalue()


def test_fail_on_worse_is_for_pipelines(command: Any, store: str) -> None:
    write(store, [*rows_of("1.0.0", 60, state="OK"), *rows_of("1.1.0", 60, state="ERROR")])
    assert command(store, *BOTH)[0] == 0
    assert command(store, *BOTH, "--fail-on", "worse")[0] == 1
    backwards = ("--baseline", "1.1.0", "--candidate", "1.0.0", "--fail-on", "worse")
    status, out, _ = command(store, *backwards)
    assert status == 0
    assert "1.0.0 is better than 1.1.0" in out


# --- What cannot be answered -----------------------------------------------------------------


def refused(result: tuple[int, str, str]) -> str:
    """The one line that says why."""
    status, out, err = result
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    # MLflow may have to say something too.
    said = [
        line
        for line in err.splitlines()
        if line.startswith("otel-mlflow-context: ") and "reading at most" not in line
    ]
    assert len(said) == 1, err
    return said[0].removeprefix("otel-mlflow-context: ")


def test_a_value_that_was_never_seen_lists_those_that_were(command: Any, uri: str) -> None:
    said = refused(command(uri, "--baseline", "1.0.0", "--candidate", "1.2.0"))
    assert said.startswith("no trace has '1.2.0' as its app_version; they have ")
    assert all(repr(it) in said for it in ("1.0.0", "1.1.0", "perfect", "one", "running"))


def test_a_key_that_no_trace_has_lists_those_that_they_have(command: Any, uri: str) -> None:
    said = refused(command(uri, *BOTH, "--by", "feature_flag_new"))
    assert said.startswith("no trace has the metadata 'feature_flag_new'; the newest have ")
    assert "'app_version', 'environment', 'mlflow." in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("--baseline", 'it\'s "so"', "--candidate", "1.1.0"),
        ("--baseline", "1.0.0", "--candidate", "`'\""),
        ("--by", "`'\"", *BOTH),
        ("--by", "", *BOTH),
    ],
)
def test_what_mlflow_has_no_words_for(
    arguments: tuple[str, ...], command: Any, written: str
) -> None:
    said = refused(command(written, *arguments))
    assert "cannot be written in a filter of MLflow, which knows no escape" in said


@pytest.mark.parametrize("value", ["it's", 'a "b"', "a`b"])
def test_a_quote_or_backtick_alone_is_a_value_like_any_other(
    value: str, command: Any, uri: str
) -> None:
    said = refused(command(uri, "--baseline", value, "--candidate", "1.1.0"))
    assert said.startswith(f"no trace has {value!r} as its app_version; ")


def test_an_experiment_that_is_not_there(command: Any, uri: str, monkeypatch: Any) -> None:
    said = refused(command(uri, *BOTH, "--experiment", "nowhere"))
    assert said == f"there is no experiment 'nowhere' at {uri}; there are 'Default'"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "4711")
    assert refused(command(uri, *BOTH)).startswith("there is no experiment '4711' at")


def test_an_experiment_without_traces(command: Any, store: str) -> None:
    assert refused(command(store, *BOTH)) == "experiment 'Default' has no traces"
    write(store, [Row("1.0.0", hours_ago=50)])
    said = refused(command(store, *BOTH, "--since", "1d"))
    assert said == "experiment 'Default' has no traces that match"


def test_nothing_to_compare_with(command: Any, store: str) -> None:
    write(store, [Row("1.0.0")])
    said = refused(command(store, "--baseline", "1.0.0"))
    assert said == "no trace has another app_version than '1.0.0' to compare it with"


def test_a_filter_that_is_none(command: Any, uri: str) -> None:
    assert "nonsense" in refused(command(uri, *BOTH, "--where", "nonsense ="))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--since", "yesterday"), "since must be a time back from now"),
        (("--candidate", "1.0.0"), "candidate must be one value or several"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], why: str, command: Any, written: str) -> None:
    assert refused(command(written, *BOTH, *arguments)).startswith(why)


@pytest.mark.parametrize(
    "arguments",
    [(), (*BOTH, "--sample", "0"), (*BOTH, "--format", "pdf"), (*BOTH, "--timeout", "0")],
)
def test_wrong_usage(arguments: tuple[str, ...], command: Any, written: str) -> None:
    status, out, err = command(written, *arguments)
    assert (status, out) == (2, "")
    assert "usage: " in err


def test_nobody_answers(command: Any) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    said = refused(command(uri, *BOTH, "--timeout", "1"))
    assert said.startswith(f"{uri} does not answer within 1 s")
    assert time.monotonic() - began < 5


def test_what_answers_is_no_mlflow(command: Any) -> None:
    class Login(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Who are you?</html>")

        def log_message(self, *_: object) -> None:
            pass

    login = HTTPServer(("127.0.0.1", 0), Login)
    thread = threading.Thread(target=login.serve_forever, args=(0.05,))
    thread.start()
    try:
        said = refused(command(f"http://127.0.0.1:{login.server_port}", *BOTH))
    finally:
        login.shutdown()
        thread.join()
        login.server_close()
    assert "is no MLflow server" in said


@pytest.mark.parametrize(
    ("status", "path", "why"),
    [
        (401, "", "does not let you read (401: {}): set MLFLOW_TRACKING_USERNAME"),
        (403, "/traces/search", "does not let you read (403: {})"),
        (404, "/traces/search", "has no search of traces (404: {}): it is older than MLflow 3.6"),
        (500, "/traces/search", "refuses the question (500: {})"),
    ],
)
def test_a_server_that_refuses(status: int, path: str, why: str, command: Any, front: Any) -> None:
    front.answer = lambda _, asked: status if path in asked else None
    assert why in refused(command(front.uri, *BOTH))


def test_a_store_that_is_not_there_is_not_made(command: Any, tmp_path: Path) -> None:
    said = refused(command(f"sqlite:///{tmp_path}/no.db", *BOTH))
    assert said.startswith(f"there is no file '{tmp_path}/no.db'")
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_no_kind(command: Any) -> None:
    assert "cannot be read" in refused(command("ftp://example.com/ada", *BOTH))


def test_a_file_that_cannot_be_written(command: Any, written: str, tmp_path: Path) -> None:
    said = refused(command(written, *BOTH, "-o", str(tmp_path / "no" / "file")))
    assert "cannot be written: No such file" in said


def test_a_server_is_asked_without_mlflow(server: Any) -> None:
    hidden = (
        "import sys; sys.modules['mlflow'] = None\n"
        "from otel_mlflow_context.cli import main\n"
        "sys.exit(main(['compare', *sys.argv[1:]]))"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": server.uri}
    result = subprocess.run(
        [sys.executable, "-c", hidden, *BOTH], env=environment, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    environment["MLFLOW_TRACKING_URI"] = ""
    result = subprocess.run(
        [sys.executable, "-c", hidden, *BOTH], env=environment, capture_output=True, check=False
    )
    assert result.returncode == 2
    assert b"MLFLOW_TRACKING_URI is not set" in result.stderr
    assert b"Traceback" not in result.stderr


def test_without_the_extra_the_command_says_what_to_install() -> None:
    hidden = (
        "import sys; sys.modules['scipy'] = None\n"
        "from otel_mlflow_context.cli import main\n"
        "sys.exit(main(['compare', '--baseline', '1']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, check=False, text=True
    )
    assert result.returncode == 2
    assert "pip install 'otel-mlflow-context[compare]'" in result.stderr


def test_in_code_the_problem_is_an_exception(written: str) -> None:
    with pytest.raises(CannotCompare, match="no trace has the metadata 'nothing'"):
        compare_versions("nothing", baseline="a", tracking_uri=written)
    with pytest.raises(ValueError, match="sample must be"):
        compare_versions(baseline="a", sample=0, tracking_uri=written)
