"""The build hook of Hatch: wheels and source distributions carry their build stamp.

In the project's ``pyproject.toml``::

    [build-system]
    requires = ["hatchling", "otel-mlflow-context"]
    build-backend = "hatchling.build"

    [tool.hatch.build.hooks.otel-mlflow-context]

Imported by hatchling only (entry point group ``hatch``), which brings itself:
https://hatch.pypa.io/latest/plugins/build-hook/reference/
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.plugin import hookimpl

from otel_mlflow_context.cli.stamp.build_stamp import FILE_NAME, checkout_findings, stamp_of, write
from otel_mlflow_context.detectors._finding import Finding
from otel_mlflow_context.detectors._stamp import StampError, read_stamp

_EDITABLE: Final = "editable"
_WHEEL: Final = "wheel"
_TARGETS: Final = (_WHEEL, "sdist")


class StampBuildHook(BuildHookInterface[BuilderConfig]):
    """Puts the stamp into each package of a wheel, and at the top of a source distribution.

    The commit is the checkout's; where there is none, that of the stamp which came with the
    source distribution. Environment variables are not read: in CI, `pip install` builds other
    people's projects too. The version is the one that is built.

    An editable installation gets none: its commit is the checkout's at every start.
    """

    PLUGIN_NAME = "otel-mlflow-context"
    _folder: tempfile.TemporaryDirectory[str] | None = None
    """Where the stamps lie until they are packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == _EDITABLE or self.target_name not in _TARGETS:
            return
        findings = self._findings()
        if not findings:
            self.app.display_warning(f"{FILE_NAME}: no commit is known here, only the version")
        self._folder = tempfile.TemporaryDirectory(prefix="otel-mlflow-context-")
        stamp = stamp_of(findings, self.metadata.version)
        folders = self._packages() if self.target_name == _WHEEL else [""]
        # Hatch takes a file to one place only, so there is one for each.
        for number, folder in enumerate(folders):
            file = Path(self._folder.name, str(number))
            write(stamp, file)
            build_data["force_include"][str(file)] = f"{folder}{FILE_NAME}"

    def finalize(self, *_: object, **__: object) -> None:
        if self._folder:
            self._folder.cleanup()

    def _findings(self) -> list[Finding]:
        if findings := checkout_findings(Path(self.root)):
            return findings
        try:
            return read_stamp(Path(self.root, FILE_NAME))
        except StampError:
            return []

    def _packages(self) -> list[str]:
        folders = _regular_packages(
            Path(self.root, folder) for folder in self.build_config.packages
        )
        packages = [
            self.build_config.get_distribution_path(f"{folder.relative_to(self.root)}{os.sep}")
            for folder in folders
        ]
        if not packages:
            self.app.abort(
                f"{self.PLUGIN_NAME}: there is no package to put {FILE_NAME} into; name folders "
                'that hold an __init__.py: [tool.hatch.build.targets.wheel] packages = ["src/..."]'
            )
        return packages


def _regular_packages(folders: Iterable[Path]) -> Iterator[Path]:
    """The topmost folders with an ``__init__.py``: what is above them may be shared by several."""
    for folder in sorted(folders):
        if (folder / "__init__.py").is_file():
            yield folder
        elif folder.is_dir():
            yield from _regular_packages(folder.iterdir())


@hookimpl
def hatch_register_build_hook() -> type[StampBuildHook]:
    return StampBuildHook
