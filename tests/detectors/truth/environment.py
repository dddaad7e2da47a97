"""The Python environment of the cases: this one's packages, and some made for the tests."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

_SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"

_SCRIPT = """\
#!{python}
import sys
from {module} import {name}
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit({function}())
"""


@dataclass(frozen=True)
class Wheel:
    """A distribution to build and install."""

    name: str
    version: str
    files: Mapping[str, str]
    commands: Mapping[str, str] = field(default_factory=dict)
    """Console scripts: ``{"shop-run": "shop.cli:main"}``."""

    def build(self, folder: Path) -> Path:
        name = self.name.replace("-", "_")
        info = f"{name}-{self.version}.dist-info"
        scripts = "\n".join(f"{command} = {target}" for command, target in self.commands.items())
        files = {
            **self.files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {self.name}\n"
            f"Version: {self.version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: truth\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{scripts}\n",
        }
        record = [
            f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()
        ]
        files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
        wheel = folder / f"{name}-{self.version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        return self.bin / "python"

    @property
    def site_packages(self) -> Path:
        return self.folder / _SITE

    def copy(self, folder: Path) -> Environment:
        """The same elsewhere, for a case that changes it."""
        shutil.copytree(self.folder, folder, symlinks=True)
        new = Environment(folder)
        for script in new.bin.iterdir():
            if not script.is_symlink() and (text := script.read_bytes()).startswith(b"#!"):
                script.write_bytes(text.replace(bytes(self.bin), bytes(new.bin), 1))
        return new

    def install(self, wheel: Wheel, **more: str) -> Path:
        """As pip installs it, with other files in its ``dist-info``; returns that folder."""
        name = f"{wheel.name.replace('-', '_')}-{wheel.version}"
        with zipfile.ZipFile(wheel.build(self.folder)) as archive:
            archive.extractall(self.site_packages)
        info = self.site_packages / f"{name}.dist-info"
        for file, text in {"INSTALLER": "pip\n", **more}.items():
            (info / file.replace("__", ".")).write_text(text)
        for command, target in wheel.commands.items():
            self.command(command, target)
        return info

    def install_editable(self, wheel: Wheel, project: Path, source: str = "") -> Path:
        """As `pip install --editable` leaves it: no files but those of the metadata, and a path."""
        direct_url = {"dir_info": {"editable": True}, "url": project.as_uri()}
        bare = Wheel(wheel.name, wheel.version, {}, wheel.commands)
        (self.site_packages / f"_{wheel.name}.pth").write_text(f"{project / source}\n")
        return self.install(bare, direct_url__json=json.dumps(direct_url))

    def command(self, name: str, target: str) -> Path:
        """A console script, as pip writes it."""
        module, _, function = target.partition(":")
        script = self.bin / name
        script.write_text(
            _SCRIPT.format(
                python=self.python,
                module=module,
                name=function.partition(".")[0],
                function=function,
            )
        )
        script.chmod(0o755)
        return script


def make_environment(folder: Path, wheels: list[Wheel], launchers: list[str]) -> Environment:
    """An environment with the packages of this one, launchers' commands, and wheels."""
    venv.create(folder, symlinks=True, with_pip=False)
    environment = Environment(folder)
    path = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.path[1:], sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    standard = str(Path(sys.base_prefix))
    others = [it for it in path if it and not (it.startswith(standard) and "site-pack" not in it)]
    (environment.site_packages / "packages_of_the_tests.pth").write_text("\n".join(others) + "\n")
    scripts = {it.name: it.value for it in entry_points(group="console_scripts")}
    for name in launchers:
        environment.command(name, scripts[name])
    dist = folder.parent / "dist"
    dist.mkdir()
    files = [wheel.build(dist) for wheel in wheels]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", environment.python, "install", "--quiet"),
            *("--no-index", "--no-deps", "--no-compile", "--ignore-installed", *files),
        ],
        # Nothing of how pip is configured here.
        env={"PATH": os.defpath, "PIP_CONFIG_FILE": os.devnull},
        check=True,
        capture_output=True,
    )
    return environment
