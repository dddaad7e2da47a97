"""The subcommand `stamp`: writes the build stamp of a checkout."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_mlflow_context.cli.console import log_to_stderr, print_error

if TYPE_CHECKING:
    from otel_mlflow_context.cli.console import Commands

_DESCRIPTION: Final = """\
Write the build stamp, otel-mlflow-context-stamp.json: a small file with the
commit, branch, tag, repository and version of the working directory, whether it
has uncommitted changes, and the time. The detectors read it where the program
runs without .git: in a container, a zip file, an installed wheel.

Run it where the checkout is: in the build stage of a Dockerfile, in a CI step.
The file must travel with the program: beside its entry script or in a folder
around it, at most up to the top of its project; or, with --package, in its
package. Elsewhere, OTEL_MLFLOW_CONTEXT_STAMP names it. Keep it out of git.
No credentials get into it.
"""
_EPILOG: Final = """\
examples:
  $ otel-mlflow-context stamp
  $ otel-mlflow-context stamp --version "$(git describe --tags --always)"
  $ otel-mlflow-context stamp --package shop && python -m build --wheel

What was written goes to stdout.

exit status: 0 when the stamp was written, 1 when neither a commit nor a version
is known or the file cannot be written (why is on stderr; nothing is left
behind), 2 for wrong usage.
"""
_PACKAGE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def add_to(commands: Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "stamp",
        help="write which commit and version this is into a file that travels with the program",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="FILE",
        help="the file, or the folder to write it to (default: the working directory); a file of "
        "another name is found by the variable only",
    )
    where.add_argument(
        "--package",
        type=_package,
        metavar="NAME",
        help="write it into this import package's folder: src/NAME or NAME in the working "
        "directory, or where this interpreter finds NAME",
    )
    parser.add_argument(
        "--version",
        metavar="TEXT",
        help="the program's version (default: APP_VERSION, or what is installed from here)",
    )
    return parser


def run(options: argparse.Namespace) -> int:
    # After the parser, which needs none of it.
    from otel_mlflow_context.cli.stamp.build_stamp import (
        FILE_NAME,
        as_json,
        current_findings,
        stamp_of,
        write,
    )
    from otel_mlflow_context.detectors.program.command_line import Program

    log_to_stderr()
    here = Path.cwd()
    if options.package:
        folder = _folder_of(options.package, here)
        if folder is None:
            print_error(
                f"there is no package {options.package} with an __init__.py in src or in the "
                "working directory, and none is installed"
            )
            return 1
        file = folder / FILE_NAME
        program = Program(options.package, folder, package=options.package.partition(".")[0])
    else:
        file = options.output / FILE_NAME if options.output.is_dir() else options.output
        program = Program(directory=here, script=here)
    stamp = stamp_of(current_findings(here, program), options.version)
    if not {"commit", "version"} & stamp.keys():
        print_error(
            "neither a commit nor a version is known here, so no stamp is written; run it in a "
            "git checkout that has a commit, or give --version"
        )
        return 1
    try:
        write(stamp, file)
    except OSError as error:
        print_error(f"{file} cannot be written: {error.strerror}")
        return 1
    print_error(f"wrote {file}")
    sys.stdout.write(as_json(stamp))
    return 0


def _package(text: str) -> str:
    if not _PACKAGE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"must be a name as in `import NAME`, got {text!r}")
    return text


def _folder_of(package: str, here: Path) -> Path | None:
    """Its folder; of the working directory's rather than of a namesake that is installed."""
    from importlib.util import find_spec

    top_level, *below = package.split(".")
    places = [here / "src" / top_level, here / top_level]
    try:
        # Of a name without dots, nothing is imported.
        spec = find_spec(top_level)
    except (ImportError, ValueError):
        spec = None
    places += map(Path, (spec and spec.submodule_search_locations) or ())
    folders = (place.joinpath(*below) for place in places)
    # A folder without it may be shared by several distributions: not one's place for a stamp.
    return next((folder for folder in folders if (folder / "__init__.py").is_file()), None)
