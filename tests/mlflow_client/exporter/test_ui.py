"""What a person sees in MLflow's own web UI of a trace that the exporter has sent.

`python tests/mlflow_client/exporter/test_ui.py URI FILE.png` makes the picture of the README, with
an empty MLflow server at that address.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from browser import CHROMIUM, DRIVER, open_browser
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from packaging.version import Version
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
)
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from otel_mlflow_context import MlflowContextSpanProcessor, MlflowSpanExporter, trace_context
from otel_mlflow_context.compare import compare_versions

COMMIT = "9f1c3aa2b7d04e5f8a6c1d2e3f405162738495a6"
SHOWN = ("User", "Source", "app_version", "environment")
HIDDEN = ("Output", "State", "Tokens", "Tags")


def resource(version: str, commit: str) -> Resource:
    return Resource(
        {
            "vcs.ref.head.revision": commit,
            "vcs.ref.head.name": "main",
            "vcs.repository.url.full": "https://github.com/acme/qa",
            "mlflow.source.name": "qa/service.py",
            "service.name": "qa",
            "service.version": version,
            "deployment.environment.name": "production",
        }
    )


def send_trace(
    uri: str,
    experiment: str,
    *,
    who: tuple[str, str],
    code: tuple[str, str] = ("1.4.2", COMMIT),
    question: str = "What is a span?",
    versions: bool = False,
) -> None:
    # As the detectors make it; MLflow makes tags of it besides.
    provider = TracerProvider(resource=resource(*code))
    provider.add_span_processor(MlflowContextSpanProcessor())
    exporter = MlflowSpanExporter(uri, experiment_name=experiment, versions=versions, timeout=30)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("qa")
    with (
        trace_context(session_id=who[0], user_id=who[1]),
        tracer.start_as_current_span("answer") as root,
    ):
        root.set_attribute("mlflow.spanInputs", json.dumps({"question": question}))
        root.set_attribute("mlflow.spanOutputs", json.dumps("A piece of work."))
        with tracer.start_as_current_span("retrieve"):
            time.sleep(0.05)
    provider.shutdown()


def open_page(browser: Chrome, uri: str, experiment: str, page: str) -> None:
    found = mlflow.MlflowClient(uri).get_experiment_by_name(experiment)
    browser.get(f"{uri}/#/experiments/{found.experiment_id}/{page}")


def open_traces(browser: Chrome, uri: str, experiment: str, shown: tuple[str, ...] = SHOWN) -> None:
    """The list of an experiment's traces, with the columns that say where they come from."""
    open_page(browser, uri, experiment, "traces")
    close_advice(browser)
    browser.find_element(By.CSS_SELECTOR, "[aria-label='Display']").click()
    browser.find_element(By.XPATH, "//*[@role='menuitem'][.='Columns']").click()
    for name in (*HIDDEN, *SHOWN):
        browser.find_element(By.XPATH, f"//*[@role='menuitemcheckbox'][.='{name}']").click()
    for _ in range(3):
        ActionChains(browser).send_keys(Keys.ESCAPE).perform()


def close_advice(browser: Chrome) -> None:
    """Close what lies above the page at the first visit."""
    for name in ("assistant.chat_panel.close", "detect_issues.guidance.got_it"):
        button = browser.find_element(By.CSS_SELECTOR, f"[data-component-id='mlflow.{name}']")
        browser.execute_script("arguments[0].click()", button)  # another may still lie above it


def table_of(browser: Chrome) -> list[str]:
    return [row.text for row in browser.find_elements(By.XPATH, "//*[@role='row']")]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    if not CHROMIUM or not DRIVER:
        pytest.skip("Chromium (Debian's packages chromium and chromium-driver) is not installed")
    made = open_browser(tmp_path / "profile")
    yield made
    made.quit()


NEWEST_PAGES = pytest.mark.skipif(
    Version(mlflow.__version__) < Version("3.17"),
    reason="the pages of MLflow before 3.17 are others",
)


@NEWEST_PAGES
def test_the_page_of_traces_says_commit_version_session_and_user(
    server: Any, experiment: str, browser: Chrome
) -> None:
    send_trace(server.uri, experiment, who=("s-2041", "ada"))
    open_traces(browser, server.uri, experiment)
    source = browser.find_element(By.XPATH, "//a[.='service.py']")
    expected = f"https://github.com/acme/qa/tree/{COMMIT}/qa/service.py"
    assert source.get_attribute("href") == expected
    text = "\n".join(table_of(browser))
    assert [it for it in ("ada", "s-2041", "1.4.2", "production") if it not in text] == []


@NEWEST_PAGES
def test_the_page_of_a_trace_says_commit_version_session_and_user(
    server: Any, experiment: str, browser: Chrome
) -> None:
    send_trace(server.uri, experiment, who=("s-2041", "ada"))
    client = mlflow.MlflowClient(server.uri)
    experiment_id = client.get_experiment_by_name(experiment).experiment_id
    [stored] = client.search_traces([experiment_id])
    browser.get(
        f"{server.uri}/#/experiments/{experiment_id}/traces"
        f"?selectedEvaluationId={stored.info.trace_id}"
    )
    tab = browser.find_element(By.XPATH, "//*[@role='tab'][.='Attributes']")
    ActionChains(browser).move_to_element(tab).click().perform()
    for name, value in (("app_version", "1.4.2"), ("session.id", "s-2041"), ("user.id", "ada")):
        browser.find_element(By.XPATH, f"//*[.='{name}']/following::*[.='{value}']")
    # Of attributes that begin with "mlflow." the page shows none; the commit is among the tags.
    ActionChains(browser).move_to_element(
        browser.find_element(By.XPATH, "//*[contains(text(), ' tags')]")
    ).click().perform()
    assert browser.find_element(By.XPATH, f"//*[contains(., '{COMMIT}')]")


def send_versions(uri: str, experiment: str) -> None:
    """Traces of two versions, with the numbers of each at its LoggedModel."""
    for code in (("1.4.1", "3" * 40), ("1.4.2", COMMIT)):
        for _ in range(3):
            send_trace(uri, experiment, who=("s-2041", "ada"), code=code, versions=True)
    compare_versions(baseline="1.4.1", experiment=experiment, tracking_uri=uri, log=True)


@NEWEST_PAGES
def test_the_page_of_versions_shows_the_numbers_and_traces_of_each(
    server: Any, experiment: str, browser: Chrome
) -> None:
    send_versions(server.uri, experiment)
    browser.set_window_size(2_600, 600)  # columns that are out of sight are not on the page
    open_page(browser, server.uri, experiment, "models")
    for heading in ("error_rate", "latency_ms/p50"):
        browser.find_element(By.XPATH, f"//*[@role='columnheader'][contains(., '{heading}')]")
    assert browser.find_element(By.XPATH, "//a[.='qa-1_4_1']")
    model_id = browser.find_element(By.XPATH, "//a[.='qa-1_4_2']").get_attribute("href")[-34:]
    open_page(browser, server.uri, experiment, f"models/{model_id}/traces")
    assert browser.find_element(By.XPATH, "//*[contains(., '3 of 3')]")
    close_advice(browser)
    columns = (By.CSS_SELECTOR, "[data-testid='column-selector-button']")
    WebDriverWait(browser, 30, ignored_exceptions=[ElementClickInterceptedException]).until(
        lambda it: it.find_element(*columns).click() is None  # once the advice is gone
    )
    browser.find_element(By.XPATH, "//*[@role='option'][.='Version']").click()
    assert browser.find_element(By.XPATH, "//*[@role='columnheader'][.='Version']")
    # The cells come later than the heading, and rows may be replaced while they are read.
    WebDriverWait(browser, 30, ignored_exceptions=[StaleElementReferenceException]).until(
        lambda it: [("qa-1_4_2" in row) for row in table_of(it) if "tr-" in row] == [True] * 3
    )


def take_picture(uri: str, file: str) -> None:
    send_trace(uri, "qa", who=("s-2040", "grace"), code=("1.4.1", "3" * 40))
    send_trace(uri, "qa", who=("s-2041", "ada"))
    send_trace(uri, "qa", who=("s-2041", "ada"), question="And what is a trace?")
    with tempfile.TemporaryDirectory() as folder:
        chrome = open_browser(Path(folder))
        open_traces(chrome, uri, "qa")
        time.sleep(2)
        chrome.save_screenshot(file)
        chrome.quit()


if __name__ == "__main__":
    take_picture(*sys.argv[1:])
