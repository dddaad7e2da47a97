"""Build a release of the last commit into dist/, and check it: `make release`.

1. The sdist, and from it the wheel, are built twice, in different folders, with another umask and
   time zone: both builds must be the same byte for byte. The sdist has every file of the commit.
2. twine checks the metadata.
3. Each is installed in an empty environment, without the sources, and runs the quickstart there.
4. An SBOM (CycloneDX) lists the wheel's environment: the package and all that its extras bring.
5. SHA256SUMS has the hashes of these files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PACKAGE = "otel_mlflow_context"
EXTRAS = "mlflow,otlp,databricks,compare,openfeature"
# Python and git see nothing else of this environment: it must not change what is built or run.
PASSED_ON = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name.startswith(("PIP_", "UV_")) or name in PASSED_ON or name.lower() in PASSED_ON
}


def main() -> None:
    if run("git", "status", "--porcelain", "--untracked-files=no"):
        sys.exit("uncommitted changes: a release is built from a commit")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        step("building twice")
        artifacts = build(folder / "one", umask=0o022, time_zone="UTC")
        again = build(folder / "another" / "place", umask=0o077, time_zone="Asia/Tokyo")
        for first, second in zip(artifacts, again, strict=True):
            if first.name != second.name or first.read_bytes() != second.read_bytes():
                sys.exit(f"not reproducible: {first.name}")
        check_contents(*artifacts)

        step("checking the metadata")
        twine = (sys.executable, "-m", "twine", "--no-color")
        print(run(*twine, "check", "--strict", *artifacts), end="")

        step("installing each in an empty environment, and running the quickstart")
        environments = [folder / "sdist", folder / "wheel"]
        with ThreadPoolExecutor() as pool:
            for result in pool.map(try_out, artifacts, environments):
                print(result)

        step("writing the SBOM and the hashes")
        wheel = artifacts[-1]
        sbom = wheel.with_name(f"{wheel.name.removesuffix('-py3-none-any.whl')}.cdx.json")
        write_sbom(sbom, environments[-1])
        sums = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
            for path in (*artifacts, sbom)
        ]
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir()
        for path in (*artifacts, sbom):
            shutil.copy(path, DIST)
        (DIST / "SHA256SUMS").write_text("".join(sums))
    step("done")
    print("".join(sums), end="")


def build(folder: Path, *, umask: int, time_zone: str) -> list[Path]:
    """Build the sdist from the last commit, and the wheel from the sdist, in a new folder."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    run("git", "archive", "--output", folder / "sources.tar", "HEAD")
    run("tar", "-xf", folder / "sources.tar", "-C", sources, umask=umask)
    run(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", sources),
        environment={"SOURCE_DATE_EPOCH": run("git", "log", "-1", "--format=%ct").strip()}
        | {"TZ": time_zone},
        umask=umask,
    )
    [sdist] = (folder / "dist").glob("*.tar.gz")
    [wheel] = (folder / "dist").glob("*.whl")
    return [sdist, wheel]


def check_contents(sdist: Path, wheel: Path) -> None:
    """Check that the sdist has every file of the commit, and the wheel the package and no more."""
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    if missing := set(run("git", "ls-files").splitlines()) - packed:
        sys.exit(f"not in the sdist: {', '.join(sorted(missing))}")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith(f"{PACKAGE}-")}
    expected = set(run("git", "ls-files", PACKAGE).splitlines())
    if names != expected:
        sys.exit(f"of the wheel and the commit one alone has: {', '.join(names ^ expected)}")


def try_out(artifact: Path, environment: Path) -> str:
    """Install an artifact in a new environment, and run the quickstart in a new repository."""
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = python_of(environment)
    what = ("--quiet", "--constraint", ROOT / "constraints.txt", f"{artifact}[{EXTRAS}]")
    try:  # as in the Makefile: uv takes a fraction of the time
        run(sys.executable, "-m", "uv", "pip", "install", "--python", python, *what)
    except SystemExit:
        pip = (sys.executable, "-m", "pip", "--python", python)
        run(*pip, "install", "--no-compile", *what)
    application = environment.with_name(f"{environment.name}-application")
    application.mkdir()
    shutil.copy(ROOT / "examples" / "quickstart.py", application)
    author = ("-c", "user.name=release", "-c", "user.email=release@localhost")
    run("git", "init", "--quiet", folder=application)
    run("git", "add", ".", folder=application)
    run("git", *author, "commit", "--quiet", "--message", "quickstart", folder=application)
    imported = run(python, "-c", f"import {PACKAGE} as it; print(it.__file__)", folder=application)
    if not Path(imported.strip()).is_relative_to(environment):
        sys.exit(f"not {artifact.name} is imported, but {imported}")
    output = run(python, "quickstart.py", folder=application)
    found = [line.split() for line in output.splitlines() if line.startswith("metadata.")]
    # By commit, two versions, session and user; none without a trace.
    if len(found) != 5 or any(int(traces) == 0 for *_, traces, _ in found):
        sys.exit(f"the quickstart of {artifact.name} prints:\n{output}")
    return f"{artifact.name}: {len(found)} of 5 questions answered"


def write_sbom(path: Path, environment: Path) -> None:
    run(
        *(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"),
        *("--pyproject", ROOT / "pyproject.toml", "--mc-type", "library"),
        *("--output-format", "JSON", "--output-file", path, python_of(environment)),
    )
    if str(environment.parent) in path.read_text():
        sys.exit("the SBOM names a folder of this machine")


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def run(
    *command: str | Path,
    folder: Path = ROOT,
    environment: dict[str, str] | None = None,
    umask: int = -1,
) -> str:
    """Return what a command prints, or end with all that it has printed."""
    result = subprocess.run(
        command,
        cwd=folder,
        env={**ENVIRONMENT, **(environment or {})},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def step(name: str) -> None:
    print(f"--- {name} ({time.monotonic() - START:.0f} s)", flush=True)


START = time.monotonic()

if __name__ == "__main__":
    main()
