"""What the deployment detector says: the environment's word, then the installed version."""

import json
import logging
import sys
from importlib.metadata import distributions
from pathlib import Path

import hypothesis
import pytest

from otel_mlflow_context.detectors import _process
from otel_mlflow_context.detectors.deployment import DeploymentResourceDetector
from otel_mlflow_context.detectors.program import process
from otel_mlflow_context.detectors.program.command_line import Program
from otel_mlflow_context.detectors.program.distribution import distribution_of, version_of
from otel_mlflow_context.settings import environment_variables


def distribution_version(program):
    info = distribution_of(program)
    return version_of(info) if info else None


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in vars(environment_variables):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def program(monkeypatch):
    """Makes this process one of the given program."""

    def set_program(**fields):
        _process.forget()
        monkeypatch.setattr(process, "current_program", lambda: Program(**fields))

    set_program()
    return set_program


@pytest.fixture
def detect(program, monkeypatch):
    def detect(**environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        _process.forget()
        return dict(DeploymentResourceDetector().detect().attributes)

    return detect


# --- Variables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "attribute"),
    [
        ("APP_VERSION", "service.version"),
        ("APP_ENVIRONMENT", "deployment.environment.name"),
        ("DEPLOYMENT_ID", "deployment.id"),
        ("REGION", "cloud.region"),
        ("MLFLOW_ACTIVE_MODEL_ID", "mlflow.modelId"),
        ("OTEL_SERVICE_NAME", "service.name"),
    ],
)
def test_each_variable_says_its_attribute(variable, attribute, detect):
    assert detect(**{variable: " v\n1 "}) == {attribute: "v 1"}


@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_a_blank_variable_says_nothing(value, detect):
    assert detect(APP_VERSION=value, OTEL_SERVICE_NAME=value) == {}


def test_without_variables_there_is_nothing_and_no_default(detect):
    assert detect() == {}


def test_otel_resource_attributes_are_all_taken_and_decoded(detect):
    attributes = detect(OTEL_RESOURCE_ATTRIBUTES="team=a%2Cb%20c, k8s.pod.name = p ,note=x%0Ay")

    assert attributes == {"team": "a,b c", "k8s.pod.name": "p", "note": "x y"}


def test_otel_resource_attributes_are_not_cut_because_they_are_for_every_backend(detect):
    assert detect(OTEL_RESOURCE_ATTRIBUTES=f"k8s.pod.name={'p' * 253}") == {
        "k8s.pod.name": "p" * 253
    }


def test_otel_variables_win_over_the_short_ones(detect):
    attributes = detect(
        APP_VERSION="1", REGION="here", OTEL_RESOURCE_ATTRIBUTES="service.version=2,service.name=a"
    )

    assert attributes == {"service.version": "2", "cloud.region": "here", "service.name": "a"}


def test_otel_service_name_wins_over_otel_resource_attributes(detect):
    attributes = detect(OTEL_SERVICE_NAME="b", OTEL_RESOURCE_ATTRIBUTES="service.name=a")

    assert attributes == {"service.name": "b"}


def test_a_blank_in_otel_resource_attributes_does_not_hide_a_short_variable(detect):
    attributes = detect(APP_VERSION="1", OTEL_RESOURCE_ATTRIBUTES="service.version=")

    assert attributes == {"service.version": "1"}


def test_a_malformed_pair_is_logged_and_the_others_count(detect, caplog):
    with caplog.at_level(logging.WARNING):
        assert detect(OTEL_RESOURCE_ATTRIBUTES="nonsense,team=a") == {"team": "a"}

    assert "nonsense" in caplog.text


# --- The installed version ---------------------------------------------------------------------


@pytest.fixture
def site_packages(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


def install(site_packages, name, version, *files, editable=None):
    """What an installer leaves of a distribution."""
    info = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files))
    for file in files:
        (site_packages / file).parent.mkdir(parents=True, exist_ok=True)
        (site_packages / file).touch()
    if editable:
        editable.mkdir(parents=True, exist_ok=True)
        (editable / "pyproject.toml").touch()
        direct_url = {"url": editable.as_uri(), "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(direct_url))
    return info


def module(folder, package):
    return Program(f"{package}.main:app", folder, package=package)


def test_the_version_of_the_programs_own_distribution(site_packages):
    install(site_packages, "shop", "1.2", "shop/main.py")
    install(site_packages, "uvicorn", "0.1", "uvicorn/main.py")

    assert distribution_version(module(site_packages / "shop", "shop")) == "1.2"


def test_a_distribution_may_be_named_unlike_its_package(site_packages):
    install(site_packages, "acme-shop", "1.2", "shop/api/main.py")
    install(site_packages, "shop-client", "9", "shop_client/main.py")

    assert distribution_version(module(site_packages / "shop/api", "shop")) == "1.2"


def test_a_module_without_a_package_has_a_distribution_too(site_packages):
    install(site_packages, "shop", "1.2", "shop.py")

    assert distribution_version(module(site_packages, "shop")) == "1.2"


def test_distributions_that_share_a_namespace_are_told_apart(site_packages):
    install(site_packages, "acme", "1", "acme/base/main.py")
    install(site_packages, "acme-shop", "2", "acme/shop/main.py")

    assert distribution_version(module(site_packages / "acme/shop", "acme")) == "2"


def test_an_application_installed_beside_what_it_needs_has_its_version(tmp_path, site_packages):
    # pip install --target: the working directory is the installation.
    install(site_packages, "shop", "1.2", "shop/main.py")

    assert distribution_version(module(site_packages, "shop")) == "1.2"


def test_a_namesake_of_the_program_is_not_its_distribution(tmp_path, site_packages):
    install(site_packages, "app", "9", "app/main.py")
    (tmp_path / "app").mkdir()

    assert distribution_version(module(tmp_path, "app")) is None
    assert distribution_version(module(tmp_path / "app", "app")) is None


def test_an_editable_installation_owns_its_source_folder(tmp_path, site_packages):
    project = tmp_path / "my shop"
    (project / "src/shop").mkdir(parents=True)
    install(site_packages, "shop", "1.2.dev3", editable=project)

    assert distribution_version(module(project / "src/shop", "shop")) == "1.2.dev3"
    script = Program("jobs/s.py", project / "jobs", script=project / "jobs/s.py")
    assert distribution_version(script) == "1.2.dev3"


def test_the_nearest_editable_installation_owns_a_folder(tmp_path, site_packages):
    install(site_packages, "everything", "1", editable=tmp_path / "mono")
    install(site_packages, "shop", "2", editable=tmp_path / "mono/shop")
    install(site_packages, "till", "3", editable=tmp_path / "mono/till")

    assert distribution_version(module(tmp_path / "mono/shop/src/shop", "shop")) == "2"


def test_what_is_merely_run_in_a_project_is_not_the_project(tmp_path, site_packages):
    install(site_packages, "shop", "1.2", editable=tmp_path)

    assert distribution_version(Program(directory=tmp_path)) is None  # python -c
    assert distribution_version(Program("pytest", tmp_path, launcher="pytest")) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", '{"dir_info": {"editable": true}}', '{"dir_info": 1}']
)
def test_a_direct_url_that_no_installer_wrote_is_ignored(text, tmp_path, site_packages):
    (tmp_path / "pyproject.toml").touch()
    info = install(site_packages, "odd", "1")
    (info / "direct_url.json").write_text(text)

    assert distribution_version(module(tmp_path, "shop")) is None


def test_a_description_says_no_version(site_packages):
    info = install(site_packages, "shop", "1.2", "shop/main.py")
    (info / "METADATA").write_text("Name: shop\n\nVersion: 9 was better.\n")

    assert distribution_version(module(site_packages / "shop", "shop")) is None


def test_the_version_is_what_the_standard_library_reads():
    info = next(iter(distributions(name="hypothesis")))
    folder = Path(hypothesis.__file__).parent

    assert distribution_version(module(folder, "hypothesis")) == info.version


def test_a_half_removed_distribution_has_no_version(site_packages):
    info = install(site_packages, "shop", "1.2", "shop/main.py")
    (info / "METADATA").unlink()

    assert distribution_version(module(site_packages / "shop", "shop")) is None


def test_a_program_without_a_folder_has_no_version():
    assert distribution_version(Program("shop", package="shop")) is None


def test_the_installed_version_counts_when_nothing_else_says_one(site_packages, program, detect):
    install(site_packages, "shop", "1.2", "shop/main.py")
    program(name="shop.main:app", directory=site_packages / "shop", package="shop")

    assert detect() == {"service.version": "1.2"}
    assert detect(APP_VERSION="7") == {"service.version": "7"}
