"""What is stored when a statement fails, a worker is killed, or the database stops."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from packaging.version import Version
from preloaded import run_python
from servers import SHARED_FOLDER, PostgreSQL

pytestmark = pytest.mark.slow

MLFLOW = Version(mlflow.__version__)
HERE = Path(__file__).parent
FULL = ["app_version", "region", "service_name"]
SPANS = (2, 1, 1)

TEMPORARY = ("operational", "pool")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_uri(request, empty_store, tmp_path):
    if request.param == "sqlite":
        shutil.copy(empty_store, tmp_path / "own.db")
        return f"sqlite:///{tmp_path / 'own.db'}"
    request.getfixturevalue("shared_postgresql_server")  # which has made the tables
    return request.getfixturevalue("postgresql")


def test_a_statement_that_fails_leaves_no_half_of_a_trace(store_uri, tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE.parent),
        "_MLFLOW_SERVER_FILE_STORE": store_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(tmp_path),
        "MLFLOW_MODEL_CATALOG_URI": "",
    }
    ran = run_python(str(HERE / "programs" / "statements.py"), env=environment, timeout=300)
    assert ran.returncode == 0, ran.stderr
    results = json.loads(ran.stdout)

    assert len({at for _, at, *_ in results}) > 10
    for kind, at, status, is_partial, after, (status_again, is_partial_again, again) in results:
        where = (kind, at, status, after)
        for (is_there, spans, keys), all_spans in zip(after, SPANS, strict=True):
            assert (spans == all_spans) if is_there else (spans == 0), where
            assert keys in (([], FULL) if is_there else ([],)), where
            if (
                kind in ("operational", "pool") and is_there
            ):  # senders may try again, so nothing is left out
                assert keys == FULL, where
        if kind in TEMPORARY:
            assert status == 503 or (status == 200 and not is_partial), where
        if status == 200 and not is_partial:
            assert all(is_there for is_there, _, _ in after), where
        # The same request once more: all is there.
        assert (status_again, is_partial_again) == (200, False), where
        assert [spans for _, spans, _ in again] == list(SPANS), where


def test_nothing_that_was_answered_is_lost_when_workers_and_the_database_die():
    if not PostgreSQL.BINARIES:
        pytest.skip("PostgreSQL (Debian's package postgresql) is not installed")
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", HERE / "programs" / "failures.py", "12", "0.05"],
        env={name: os.environ[name] for name in ("PATH", SHARED_FOLDER)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    figures = {line[:20].strip(): int(line[20:]) for line in ran.stdout.splitlines()}

    for name in ("answered 200", "failed requests", "workers killed", "database stopped"):
        assert figures[name] > 0, figures
    for name in ("rejected", "lost", "without metadata", "without spans"):
        assert figures[name] == 0, ran.stdout
