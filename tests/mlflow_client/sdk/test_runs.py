"""MLflow runs with the same facts as traces, on by a setting."""

import pytest

RUN = """
import mlflow
from mlflow import MlflowClient

with mlflow.start_run({arguments}) as run:
    pass
report(MlflowClient().get_run(run.info.run_id).data.tags)
"""


@pytest.fixture
def tags(run, store):
    """The tags of a run that a program makes, which imports nothing of ours."""

    def tags(arguments="", **environment):
        return run(
            RUN.format(arguments=arguments),
            environment={
                "MLFLOW_TRACKING_URI": store,
                "APP_VERSION": "1.2.0",
                "APP_ENVIRONMENT": "production",
                **environment,
            },
        )

    return tags


def test_a_run_says_what_a_trace_says(tags, commit):
    found = tags(OTEL_MLFLOW_CONTEXT_RUNS="true")

    expected = {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": "main",
        "mlflow.source.git.repoURL": "https://github.com/acme/app",
        "mlflow.source.name": "app.py",
        "mlflow.source.type": "LOCAL",
        "app_version": "1.2.0",
        "environment": "production",
    }
    assert found.items() >= expected.items()


def test_what_the_call_says_wins(tags):
    found = tags("tags={'app_version': '2'}", OTEL_MLFLOW_CONTEXT_RUNS="true")

    assert found["app_version"] == "2"


def test_a_run_is_left_alone_where_nobody_asked(tags):
    assert "app_version" not in tags()
