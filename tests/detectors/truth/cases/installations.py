"""Installed programs: the version is that of their own distribution, as it is now."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

from detectors.truth.case import ITS_METADATA, any_of, case
from detectors.truth.environment import Wheel
from detectors.truth.wheels import SHOP
from detectors.truth.world import URL, program, write

KIND = "installations"
COMMIT = "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d"
STAMP = "otel-mlflow-context-stamp.json"


def its_version(distribution):
    """The version that importlib.metadata gives in the program."""
    return {"environ": {"TRUTH_DISTRIBUTION": distribution}, "version": ITS_METADATA}


def add(title, *command, **expected):
    """A command that is run in a repository that has nothing to do with it."""

    @case(KIND, title)
    def _(world):
        return world.start(*command, cwd=world.repository(), **expected)


# --- Which distribution --------------------------------------------------------------------------

add("a command", "shop-run", name="shop-run", **its_version("shop-cli"))
add("a module", "python", "-m", "shop_cli.main", name="shop_cli.main", **its_version("shop-cli"))
add(
    *("a module of a folder without __init__", "python", "-m", "shop_cli.jobs.run"),
    name="shop_cli.jobs.run",
    **its_version("shop-cli"),
)
add(
    *("an application that uvicorn runs", "uvicorn", "shop_cli.main:app"),
    name="shop_cli.main:app",
    **its_version("shop-cli"),
)
add(
    "a module in a namespace package",
    "python",
    "-m",
    "acme.shop",
    name="acme.shop",
    **its_version("acme-shop"),
)
add(
    "another in the same", "python", "-m", "acme.core", name="acme.core", **its_version("acme-core")
)
add(
    "a package in a namespace package",
    "python",
    "-m",
    "acme.deep.jobs.run",
    name="acme.deep.jobs.run",
    **its_version("acme-deep"),
)
add("a command in a namespace package", "acme-shop", name="acme-shop", **its_version("acme-shop"))
add(
    "an application in a namespace package",
    "uvicorn",
    "acme.core:app",
    name="acme.core:app",
    **its_version("acme-core"),
)
add(
    "a distribution of another name than its package",
    "python",
    "-m",
    "counter.main",
    name="counter.main",
    **its_version("till"),
)
add(
    "a distribution that adds to another's package",
    "python",
    "-m",
    "counter.extra",
    name="counter.extra",
    **its_version("counter-extra"),
)
add("a module that is a file", "python", "-m", "onefile", name="onefile", **its_version("onefile"))
add(
    "a package whose name begins as another's",
    "python",
    "-m",
    "onefile_tools.run",
    name="onefile_tools.run",
    **its_version("onefile-tools"),
)


@case(KIND, "an installed file that is run by its path")
def _(world):
    file = world.environment.site_packages / "shop_cli" / "main.py"
    return world.start(
        *("python", file), cwd=world.repository(), version=any_of(None, "1.2"), name="main.py"
    )


@case(KIND, "a command through a symbolic link")
def _(world):
    (world.home / "bin").mkdir()
    (world.home / "bin" / "shop-run").symlink_to(world.environment.bin / "shop-run")
    path = f"{world.home / 'bin'}:/usr/bin:/bin"
    return world.start(
        "shop-run", cwd=world.repository(), environ={"PATH": path}, name="shop-run", version="1.2"
    )


@case(KIND, "a command of an environment in a checkout")
def _(world):
    shop = world.repository()
    world.commit(shop, {".gitignore": ".venv/\n"})
    world.use(world.environment.copy(shop / ".venv"))
    return world.start(".venv/bin/shop-run", cwd=shop, name="shop-run", version="1.2")


@case(KIND, "a checkout's package before the installed one of its name")
def _(world):
    shop = world.repository()
    world.commit(shop, {"shop_cli/__init__.py": "", "shop_cli/main.py": program()})
    return world.start("python", "-m", "shop_cli.main", cwd=shop, name="shop_cli.main")


@case(KIND, "a checkout's package that its project file gives another version")
def _(world):
    shop = world.repository()
    project = '[project]\nname = "shop-cli"\nversion = "2.0"\n'
    files = {"shop_cli/__init__.py": "", "shop_cli/main.py": program(), "pyproject.toml": project}
    world.commit(shop, files)
    return world.start(
        *("python", "-m", "shop_cli.main"),
        cwd=shop,
        name="shop_cli.main",
        version=any_of(None, "2.0"),
    )


@case(KIND, "two installations, the one that is imported")
def _(world):
    newer = Wheel("shop-cli", "1.3", dict(SHOP.files))
    target = world.folder("target")
    with zipfile.ZipFile(newer.build(world.root)) as archive:
        archive.extractall(target)
    environ = {"PYTHONPATH": str(target), "TRUTH_DISTRIBUTION": "shop-cli"}
    return world.start(
        *("python", "-m", "shop_cli.main"),
        cwd=world.repository(),
        environ=environ,
        name="shop_cli.main",
        version=ITS_METADATA,
    )


@case(KIND, "a wheel that is imported as it is")
def _(world):
    wheel = Wheel("zipped", "1.5", {"zipped/__init__.py": "", "zipped/main.py": program()})
    return world.start(
        *("python", "-m", "zipped.main"),
        cwd=world.repository(),
        environ={"PYTHONPATH": str(wheel.build(world.root))},
        name="zipped.main",
        commit=None,
        version=any_of(None, "1.5"),
    )


@case(KIND, "what an interrupted update has left behind")
def _(world):
    environment = world.own_environment()
    old = environment.site_packages / "~hop_cli-1.1.dist-info"
    info = environment.site_packages / "shop_cli-1.2.dist-info"
    write(
        old, {"METADATA": "Name: shop-cli\nVersion: 1.1\n", "RECORD": (info / "RECORD").read_text()}
    )
    return world.start("shop-run", cwd=world.home, name="shop-run", version="1.2")


@case(KIND, "old metadata beside new")
def _(world):
    environment = world.own_environment()
    info = environment.site_packages / "shop_cli-1.2.dist-info"
    record = (info / "RECORD").read_text().replace("sha256=", "sha256=x").replace("1.2", "1.1")
    metadata = "Name: shop-cli\nVersion: 1.1\n"
    write(
        environment.site_packages / "shop_cli-1.1.dist-info",
        {"METADATA": metadata, "RECORD": record},
    )
    return world.start("shop-run", cwd=world.home, name="shop-run", version=any_of(None, "1.2"))


@case(KIND, "new metadata beside old")
def _(world):
    environment = world.own_environment()
    newer = Wheel("shop-cli", "1.10", SHOP.files, SHOP.commands)
    environment.install(newer)
    info = environment.site_packages / "shop_cli-1.2.dist-info"
    (info / "RECORD").write_text((info / "RECORD").read_text().replace("sha256=", "sha256=x"))
    return world.start("shop-run", cwd=world.home, name="shop-run", version=any_of(None, "1.10"))


@case(KIND, "an installation without a list of its files")
def _(world):
    environment = world.own_environment()
    (environment.site_packages / "shop_cli-1.2.dist-info" / "RECORD").unlink()
    return world.start("shop-run", cwd=world.home, name="shop-run", version=any_of(None, "1.2"))


@case(KIND, "metadata with a version in its description")
def _(world):
    info = world.own_environment().site_packages / "shop_cli-1.2.dist-info"
    text = "Metadata-Version: 2.1\nName: shop-cli\nSummary: x\nVersion: 1.2\n\nVersion: 9\n"
    (info / "METADATA").write_text(text)
    return world.start("shop-run", cwd=world.home, name="shop-run", version="1.2")


# --- Where it came from --------------------------------------------------------------------------


def _from_vcs(title, vcs_info, **expected):
    @case(KIND, f"direct_url.json: {title}")
    def _(world):
        text = json.dumps({"url": f"{URL}.git", "vcs_info": vcs_info})
        world.own_environment().install(SHOP, direct_url__json=text)
        return world.start(
            "shop-run",
            cwd=world.repository(),
            name="shop-run",
            version="1.2",
            **expected,
        )


_GIT = {"vcs": "git", "commit_id": COMMIT}
_SAME = {"commit": COMMIT, "url": URL}
_from_vcs("the default branch", _GIT, **_SAME)
_from_vcs("a commit", _GIT | {"requested_revision": COMMIT}, **_SAME)
_from_vcs("a tag", _GIT | {"requested_revision": "refs/tags/v1.2"}, **_SAME, tag="v1.2")
_from_vcs("a branch", _GIT | {"requested_revision": "refs/heads/next"}, **_SAME, branch="next")
_from_vcs("another version control", {"vcs": "hg", "commit_id": COMMIT})


@case(KIND, "direct_url.json: on a platform that has built another commit")
def _(world):
    text = json.dumps({"url": f"{URL}.git", "vcs_info": _GIT})
    world.own_environment().install(SHOP, direct_url__json=text)
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": "f" * 40,
        "GITHUB_REF": "refs/heads/other",
        "GITHUB_REPOSITORY": "acme/other",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_WORKSPACE": str(world.root / "work"),
    }
    return world.start(
        *("shop-run",), cwd=world.home, environ=environ, name="shop-run", version="1.2", **_SAME
    )


@case(KIND, "direct_url.json: a folder")
def _(world):
    shop = world.repository()
    text = json.dumps({"url": shop.as_uri(), "dir_info": {}})
    world.own_environment().install(SHOP, direct_url__json=text)
    return world.start("shop-run", cwd=shop, name="shop-run", version="1.2")


@case(KIND, "direct_url.json: an archive")
def _(world):
    text = json.dumps({"url": "https://example.com/shop.whl", "archive_info": {}})
    world.own_environment().install(SHOP, direct_url__json=text)
    return world.start("shop-run", cwd=world.home, name="shop-run", version="1.2")


@case(KIND, "direct_url.json: of the launcher")
def _(world):
    text = json.dumps({"url": f"{URL}.git", "vcs_info": _GIT})
    environment = world.own_environment()
    write(environment.site_packages / "whirl-99.9.dist-info", {"direct_url.json": text})
    return world.start(
        "whirl", "app.py", cwd=world.folder("plain", {"app.py": program()}), name="app.py"
    )


@case(KIND, "direct_url.json: of uvicorn")
def _(world):
    text = json.dumps({"url": "https://github.com/encode/uvicorn.git", "vcs_info": _GIT})
    environment = world.own_environment()
    code = "def main():\n    import sys\n    sys.path.insert(0, '')\n    import app\n"
    files = {"uvicorn/__init__.py": "", "uvicorn/main.py": code}
    environment.install(
        Wheel("uvicorn", "0.99", files, {"uvicorn": "uvicorn.main:main"}), direct_url__json=text
    )
    plain = world.folder("plain", {"app.py": program()})
    return world.start("uvicorn", "app:app", cwd=plain, name="app:app")


@case(KIND, "a version file of setuptools-scm")
def _(world):
    files = dict(SHOP.files) | {
        "shop_cli/_version.py": "__commit_id__ = commit_id = 'g83a20ec05'\n"
    }
    world.own_environment().install(Wheel("shop-cli", "1.2", files, SHOP.commands))
    return world.start(
        "shop-run", cwd=world.repository(), name="shop-run", version="1.2", commit="83a20ec05"
    )


@case(KIND, "an archive that git made")
def _(world):
    shop = world.repository()
    world.commit(
        shop,
        {
            ".gitattributes": ".git_archival.txt export-subst\n",
            ".git_archival.txt": "node: $Format:%H$\nref-names: $Format:%D$\n",
        },
    )
    commit = world.head(shop)
    world.git(shop, "archive", "-o", "../shop.zip", "HEAD")
    with zipfile.ZipFile(world.root / "shop.zip") as archive:
        archive.extractall(world.root / "unpacked")
    return world.start(
        "python", "app.py", cwd=world.root / "unpacked", commit=commit, branch="main"
    )


# --- Build stamps --------------------------------------------------------------------------------

_STAMP = {"schema": 1, "commit": COMMIT, "branch": "release", "version": "1.2.3", "dirty": False}
_STAMPED = {"commit": COMMIT, "branch": "release", "version": "1.2.3", "dirty": False}


CLEAN = any_of(*(_STAMP["dirty"], None))


def stamped(**more):
    return {STAMP: json.dumps(_STAMP | more)}


@case(KIND, "a stamp in an image")
def _(world):
    image = world.folder("image", {"app.py": program(), **stamped()})
    return world.start("python", "app.py", cwd=image, dirty_check=True, **_STAMPED)


@case(KIND, "a stamp in an image, without the check for changes")
def _(world):
    image = world.folder("image", {"app.py": program(), **stamped()})
    expected = _STAMPED | {"dirty": CLEAN}
    return world.start("python", "app.py", cwd=image, **expected)


@case(KIND, "a stamp in an image with a platform's variables of the same commit")
def _(world):
    image = world.folder("image", {"app.py": program(), **stamped()})
    environ = {
        "RENDER": "true",
        "RENDER_GIT_COMMIT": COMMIT,
        "RENDER_SERVICE_NAME": "shop",
        "RENDER_SERVICE_ID": "srv-1",
        "RENDER_INSTANCE_ID": "srv-1-a",
    }
    return world.start(
        "python", "app.py", cwd=image, environ=environ, dirty_check=True, service="shop", **_STAMPED
    )


@case(KIND, "a stamp in a package")
def _(world):
    files = dict(SHOP.files) | {f"shop_cli/{name}": text for name, text in stamped().items()}
    world.own_environment().install(Wheel("shop-cli", "1.2", files, SHOP.commands))
    return world.start(
        "shop-run", cwd=world.repository(), name="shop-run", dirty_check=True, **_STAMPED
    )


@case(KIND, "a stamp beside an installed program, in its working directory")
def _(world):
    image = world.folder("image", stamped())
    return world.start("shop-run", cwd=image, name="shop-run", dirty_check=True, **_STAMPED)


@case(KIND, "a stamp in the working directory of a script that lies elsewhere")
def _(world):
    world.folder("tools", {"tool.py": program()})
    image = world.folder("image", stamped())
    return world.start("python", "../tools/tool.py", cwd=image, name="tool.py")


@case(KIND, "a stale stamp in a checkout")
def _(world):
    shop = write(world.repository(), stamped())
    return world.start("python", "app.py", cwd=shop, dirty_check=True)


@case(KIND, "a stamp of the commit in a checkout")
def _(world):
    shop = world.repository()
    write(shop, stamped(commit=world.head(shop), branch="other"))
    return world.start("python", "app.py", cwd=shop, dirty_check=True, version="1.2.3")


@case(KIND, "a stale stamp for an untracked program of a checkout")
def _(world):
    shop = write(world.repository(), {**stamped(), "new.py": program()})
    return world.start(
        *("python", "new.py"),
        cwd=shop,
        commit=any_of(None, COMMIT),
        branch=any_of(None, "release"),
        dirty=CLEAN,
        version=any_of(None, "1.2.3"),
        name="new.py",
    )


@case(KIND, "a stamp that a variable names")
def _(world):
    image = world.folder("image", {"app.py": program()})
    write(world.root, {"elsewhere/stamp.json": json.dumps(_STAMP)})
    environ = {"OTEL_MLFLOW_CONTEXT_STAMP": str(world.root / "elsewhere" / "stamp.json")}
    return world.start("python", "app.py", cwd=image, environ=environ, dirty_check=True, **_STAMPED)


# --- Editable installations ----------------------------------------------------------------------

_STATIC = '[project]\nname = "store"\nversion = "{}"\n'
_COMMAND = {"store-run": "store.main:main"}
STORE = {"src/store/__init__.py": "", "src/store/main.py": program()}


def editable(world, installed, files, *, source="src", name="shop"):
    """A project in a repository, installed for editing when it had another version."""
    shop = world.repository(name)
    world.commit(shop, {**STORE, **files})
    wheel = Wheel("store", installed, {}, _COMMAND)
    world.own_environment().install_editable(wheel, shop, source)
    return shop


def _static(title, now, version, installed="1.0", **files):
    """A version that the project's files name."""
    files = {name.replace("__", ".").replace("_", "/"): text for name, text in files.items()} or {
        "pyproject.toml": _STATIC.format(now)
    }

    @case(KIND, f"editable, {title}")
    def _(world):
        shop = editable(world, installed, files)
        return world.start("store-run", cwd=shop, name="store-run", version=version)


_static("the version unchanged", "1.0", "1.0")
_static("the version changed", "2.0", "2.0")
_static("the version in another form than a build gives it", "v2.0.0-RC.1", "2.0.0rc1")
_static(
    "the version changed in setup.cfg",
    None,
    "2.0",
    setup__cfg="[metadata]\nname = store\nversion = 2.0\n",
    pyproject__toml='[build-system]\nrequires = ["setuptools"]\n',
)
_static(
    "the version changed in setup.py",
    None,
    any_of(None, "2.0"),
    setup__py='from setuptools import setup\nsetup(name="store", version="2.0")\n',
)
_static(
    "the version changed in Poetry's table",
    None,
    any_of(None, "2.0"),
    pyproject__toml='[tool.poetry]\nname = "store"\nversion = "2.0"\n',
)
_static(
    "the version changed in an attribute",
    None,
    any_of(None, "2.0"),
    pyproject__toml='[project]\nname = "store"\ndynamic = ["version"]\n'
    '[tool.setuptools.dynamic]\nversion = {attr = "store.version"}\n',
    src_store_version__py='version = "2.0"\n',
)
_static(
    "the version changed in Hatch's file",
    None,
    any_of(None, "2.0"),
    pyproject__toml='[project]\nname = "store"\ndynamic = ["version"]\n'
    '[tool.hatch.version]\npath = "src/store/about.py"\n',
    src_store_about__py='__version__ = "2.0"\n',
)
_static(
    "a project file that is broken",
    None,
    any_of(None, "1.0"),
    pyproject__toml="[project\n",
)
_static(
    "the version with spaces and a comment",
    None,
    "2.0",
    pyproject__toml="[build-system]\nrequires = []\n\n[project]\nname='store'\n"
    "  version   =  '2.0'   # soon 3.0\n[tool.x]\nversion = '9'\n",
)


def _started(title, *command, files=None, folder="", **expected):
    """A project whose version was changed, and ways to start it."""

    @case(KIND, f"editable, {title}")
    def _(world):
        shop = editable(world, "1.0", {"pyproject.toml": _STATIC.format("2.0"), **(files or {})})
        return world.start(*command, cwd=shop / folder, version="2.0", **expected)


_started("a module", "python", "-m", "store.main", name="store.main")
_started("an application that uvicorn runs", "uvicorn", "store.main:app", name="store.main:app")
_started("a script beside the package", "python", "app.py")
_started("a script in a folder of tools", "python", "pkg/job.py")
_started("from its own folder", "store-run", folder="src/store", name="store-run")


@case(KIND, "editable, from another repository")
def _(world):
    editable(world, "1.0", {"pyproject.toml": _STATIC.format("2.0")})
    other = world.repository("other")
    world.commit(other)
    return world.start("store-run", cwd=other, name="store-run", version="2.0")


@case(KIND, "editable, with uncommitted changes")
def _(world):
    shop = editable(world, "1.0", {"pyproject.toml": _STATIC.format("2.0")})
    write(shop, {"README": "changed\n"})
    return world.start(
        "store-run", cwd=shop, name="store-run", version="2.0", dirty_check=True, dirty=True
    )


@case(KIND, "editable, in a repository of several projects")
def _(world):
    shop = world.repository()
    world.commit(
        shop,
        {
            **{f"store/{name}": text for name, text in STORE.items()},
            "store/pyproject.toml": _STATIC.format("2.0"),
            "bank/src/bank/__init__.py": "",
            "bank/src/bank/main.py": program(),
            "bank/pyproject.toml": '[project]\nname = "bank"\nversion = "7.1"\n',
        },
    )
    environment = world.own_environment()
    environment.install_editable(Wheel("store", "1.0", {}, _COMMAND), shop / "store", "src")
    environment.install_editable(Wheel("bank", "7.0", {}), shop / "bank", "src")
    return world.start("python", "-m", "bank.main", cwd=shop, name="bank.main", version="7.1")


@case(KIND, "editable, a project below one that is installed too")
def _(world):
    shop = editable(world, "1.0", {"pyproject.toml": _STATIC.format("2.0")})
    world.commit(
        shop,
        {
            "plugins/one/one.py": program(),
            "plugins/one/pyproject.toml": '[project]\nname = "one"\nversion = "0.3"\n',
        },
    )
    world.environment.install_editable(Wheel("one", "0.1", {}), shop / "plugins" / "one")
    return world.start("python", "-m", "one", cwd=shop, name="one", version="0.3")


@case(KIND, "editable, a program of a project that is not installed")
def _(world):
    shop = world.repository()
    world.commit(shop, {"pyproject.toml": _STATIC.format("2.0")})
    return world.start("python", "app.py", cwd=shop, version=any_of(None, "2.0"))


def _from_scm(title, installed, version, *, tag=None, ahead=0, **files):
    """A version that setuptools-scm derived from the commit at installation.

    In `installed` and `version`, {head} stands for the commit, shortened.
    """

    @case(KIND, f"editable, setuptools-scm, {title}")
    def _(world):
        project = '[project]\nname = "store"\ndynamic = ["version"]\n[tool.setuptools_scm]\n'
        shop = editable(world, "0", {"pyproject.toml": project})
        if tag:
            world.git(shop, "tag", tag)
        for _ in range(ahead):
            world.commit(shop)
        head = world.head(shop)[:9]
        environment = world.environment
        for old in environment.site_packages.glob("store-*"):
            (old / "METADATA").write_text(f"Name: store\nVersion: {installed.format(head=head)}\n")
        allowed = any_of(*(it and it.format(head=head) for it in version))
        return world.start("store-run", cwd=shop, name="store-run", version=allowed)


_from_scm("of this commit", "1.1.dev2+g{head}", ["1.1.dev2+g{head}"])
_from_scm("of another commit", "1.1.dev2+gabcdef123", [None])
_from_scm(
    "of this commit with changes",
    "1.1.dev2+g{head}.d20260101",
    ["1.1.dev2+g{head}.d20260101", None],
)
_from_scm("of another commit with changes", "1.1.dev2+gabcdef123.d20260101", [None])
_from_scm("of the tag of this commit", "1.1", ["1.1"], tag="v1.1")
_from_scm("while a tag says another", "1.0", [None, "1.1"], tag="v1.1")
_from_scm(
    "of a commit, while a tag says another version", "1.0.dev2+g{head}", [None, "1.1"], tag="v1.1"
)
_from_scm("without a commit or tag", "1.1.dev2", ["1.1.dev2", None])
_from_scm("of a tag that lies behind", "1.1", [None, "1.1"], tag="v1.1", ahead=1)


def _really_installed(title, files, version):
    """By pip and a build backend, as a check of what `install_editable` writes."""

    @case(KIND, f"editable, {title}")
    def _(world):
        shop = world.repository()
        world.commit(shop, {**STORE, **files("1.0")})
        environment = world.own_environment()
        command = (sys.executable, "-m", "pip", "--python", environment.python, "install", "-q")
        options = ("--no-index", "--no-deps", "--no-build-isolation", "--editable", shop)
        environ = {"PATH": world.environ["PATH"], "PIP_CONFIG_FILE": "/dev/null"}
        subprocess.run([*command, *options], env=environ, check=True, capture_output=True)
        world.commit(shop, files("2.0"))
        return world.start("store-run", cwd=shop, name="store-run", version=version)


def _hatchling(version):
    text = f"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "store"
version = "{version}"
scripts = {{ store-run = "store.main:main" }}
"""
    return {"pyproject.toml": text}


_really_installed("by pip and hatchling", _hatchling, "2.0")
