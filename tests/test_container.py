"""A container, simulated: no `.git`, no git, another user, nothing that may be written to."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, git

EXAMPLE = ROOT / "examples" / "wheel_with_stamp"
# An unknown user, who may read everything: the Python of these tests may lie in a home folder.
ANOTHER_USER = (
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
    *("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search", "--"),
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0 or not shutil.which("setpriv"),
    reason="only root on Linux, with setpriv (util-linux), can become another user",
)


@pytest.fixture
def checkout(tmp_path):
    """The example project in a repository of its own."""
    folder = tmp_path / "greeter"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "remote", "add", "origin", "https://github.com/acme/greeter.git")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def with_a_stamp(checkout, image):
    """Its files, with the stamp of a build stage beside them."""
    subprocess.run(
        [sys.executable, "-m", "otel_mlflow_context.cli", "stamp"],
        cwd=checkout,
        env=dict(os.environ),
        check=True,
        capture_output=True,
    )
    shutil.copytree(checkout, image, ignore=shutil.ignore_patterns(".git"))
    return ["src/greeter/main.py"]


def from_a_wheel(checkout, image):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel"],
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    [wheel] = (checkout / "dist").glob("*.whl")
    return installed(wheel, image)


def from_git(checkout, image):
    return installed(f"git+{checkout.as_uri()}", image)


def installed(requirement, image):
    image.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check"),
            *("--target", image / "site-packages", requirement),
        ],
        env={**os.environ, "GIT_ALLOW_PROTOCOL": "file"},
        check=True,
        capture_output=True,
    )
    return ["-m", "greeter.main"]


@pytest.mark.parametrize("build", [with_a_stamp, from_a_wheel, from_git])
def test_an_image_knows_its_commit(checkout, tmp_path, build):
    commit = git(checkout, "rev-parse", "HEAD")
    image = tmp_path / "image"
    command = build(checkout, image)
    shutil.rmtree(checkout)
    subprocess.run(["chmod", "-R", "a-w,a+rX", image], check=True)
    before = {path: path.stat().st_mtime_ns for path in image.rglob("*")}

    ran = subprocess.run(
        [*ANOTHER_USER, sys.executable, *command],
        cwd=image,
        env={
            "PATH": str(tmp_path / "nothing"),
            "HOME": "/nonexistent",
            "PYTHONPATH": os.pathsep.join([str(image / "site-packages"), str(ROOT)]),
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        },
        # The command of this test is looked for on its own PATH.
        executable=shutil.which("setpriv"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""  # no warnings
    printed = dict(line.split(" = ", 1) for line in ran.stdout.splitlines())
    assert printed["vcs.ref.head.revision"] == commit
    if build is not from_git:  # pip keeps the address that it was given: here, a folder's
        assert printed["vcs.repository.url.full"] == "https://github.com/acme/greeter"
    if build is not with_a_stamp:  # the stamp's version is that of a variable or a tag
        assert printed["service.version"] == "1.2.0"
    assert {path: path.stat().st_mtime_ns for path in image.rglob("*")} == before
