from __future__ import annotations

import logging

import pytest

from otel_mlflow_context import settings
from otel_mlflow_context.settings import Settings, environment_variables, settings_from


def test_an_empty_environment_makes_the_defaults() -> None:
    assert settings_from({}) == Settings()


def test_every_setting_has_its_variable() -> None:
    assert settings_from(
        {
            "OTEL_MLFLOW_CONTEXT_METADATA_KEYS": "tenant, plan,,tenant",
            "OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY": "service",
            "OTEL_MLFLOW_CONTEXT_SOURCE_TYPE": "kind",
            "OTEL_MLFLOW_CONTEXT_TAGS": "TRUE",
            "OTEL_MLFLOW_CONTEXT_DIRTY": "0",
        }
    ) == Settings(("tenant", "plan"), "service", "kind", tags=True, dirty=False)


def test_a_bad_value_is_logged_by_its_variable_and_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = settings_from(
        {
            "OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY": "everywhere",
            "OTEL_MLFLOW_CONTEXT_DIRTY": "perhaps",
            "OTEL_MLFLOW_CONTEXT_TAGS": "true",
        }
    )
    assert made == Settings(tags=True)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "OTEL_MLFLOW_CONTEXT_TRACE_BOUNDARY" in caplog.text
    assert '"root", "service"' in caplog.text
    assert "OTEL_MLFLOW_CONTEXT_DIRTY" in caplog.text


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_TAGS", "true")
    assert settings.current_settings().tags
    monkeypatch.setenv("OTEL_MLFLOW_CONTEXT_TAGS", "false")
    assert settings.current_settings().tags


def test_options_replace_settings_and_none_leaves_them() -> None:
    made = Settings(tags=True).with_options(trace_boundary="service", tags=None)
    assert made == Settings(trace_boundary="service", tags=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trace_boundary": "x"}, r'trace_boundary must be one of "root", "service", got \'x\''),
        ({"source_type": 1}, "source_type must be one of"),
        ({"tags": "maybe"}, "tags must be"),
        ({"metadata_keys": [1]}, "metadata_keys must be names"),
        ({"metadata_keys": ["mlflow.source.name"]}, "metadata_keys must not"),
        ({"metadata_keys": ["app_version"]}, "metadata_keys must not"),
        ({"metadata_keys": ["user.id"]}, "metadata_keys must not"),
        ({"colour": "red"}, 'unknown option "colour"; allowed are "metadata_keys"'),
    ],
)
def test_a_wrong_option_names_itself_and_what_is_allowed(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Settings().with_options(**options)


def test_every_variable_name_stands_for_itself() -> None:
    names = {name: value for name, value in vars(environment_variables).items() if name.isupper()}
    assert all(name == value for name, value in names.items())
    assert {name for name in names if name.startswith("OTEL_MLFLOW_CONTEXT_")} == set(
        settings._VARIABLES.values()
    )
