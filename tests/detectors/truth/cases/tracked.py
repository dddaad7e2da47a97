"""Which programs git tracks, in every form of its index, and which merely lie in a repository."""

from __future__ import annotations

import zipapp

from detectors.truth.case import any_of, case
from detectors.truth.cases.git import ELSEWHERE, at
from detectors.truth.world import program, write

KIND = "tracked files"


# --- What is tracked ------------------------------------------------------------------------------


@case(KIND, "an untracked program beside tracked ones")
def _(world):
    shop = write(world.repository(), {"new.py": program()})
    return at(world, shop, "python", "new.py", commit=None)


@case(KIND, "an untracked program in a tracked folder")
def _(world):
    shop = write(world.repository(), {"pkg/new.py": program()})
    return at(world, shop, "python", "pkg/new.py", commit=None)


@case(KIND, "an untracked program in an untracked folder")
def _(world):
    shop = write(world.repository(), {"new/s.py": program()})
    return at(world, shop, "python", "new/s.py", commit=None)


@case(KIND, "an untracked module")
def _(world):
    shop = write(world.repository(), {"pkg/new.py": program()})
    return at(world, shop, "python", "-m", "pkg.new", name="pkg.new", commit=None)


@case(KIND, "an untracked program whose path ends a tracked one's")
def _(world):
    shop = write(world.repository(), {"job.py": program()})
    return at(world, shop, "python", "job.py", commit=None)


@case(KIND, "an untracked program whose path begins a tracked one's")
def _(world):
    shop = world.repository()
    world.commit(shop, {"app.py.txt": "", "run.pyw": ""})
    write(shop, {"run.py": program()})
    return at(world, shop, "python", "run.py", commit=None)


@case(KIND, "an untracked program whose name stands in a tracked file's extension")
def _(world):
    shop = world.repository()
    world.commit(shop, {"a/0pp.py": "", "b/x/s.py": "", "x/t.py": ""})
    write(shop, {"x/s.py": program()})
    return at(world, shop, "python", "x/s.py", commit=None)


@case(KIND, "an ignored program")
def _(world):
    shop = world.repository()
    world.commit(shop, {".gitignore": "local_*.py\n"})
    write(shop, {"local_app.py": program()})
    return at(world, shop, "python", "local_app.py", commit=None)


@case(KIND, "an ignored program in a tracked folder")
def _(world):
    shop = world.repository()
    world.commit(shop, {".gitignore": "generated.py\n"})
    write(shop, {"pkg/generated.py": program()})
    return at(world, shop, "python", "pkg/generated.py", commit=None)


@case(KIND, "a program in an ignored folder")
def _(world):
    shop = world.repository()
    world.commit(shop, {".gitignore": "build/\n"})
    write(shop, {"build/app.py": program()})
    return at(world, shop, "python", "build/app.py", commit=None)


@case(KIND, "a program that is ignored and tracked")
def _(world):
    shop = world.repository()
    world.commit(shop, {".gitignore": "app.py\n"})
    return at(world, shop)


@case(KIND, "a program that is excluded in .git/info/exclude")
def _(world):
    shop = write(world.repository(), {".git/info/exclude": "mine.py\n", "mine.py": program()})
    return at(world, shop, "python", "mine.py", commit=None)


@case(KIND, "a staged program")
def _(world):
    shop = write(world.repository(), {"new.py": program()})
    world.git(shop, "add", "new.py")
    return at(world, shop, "python", "new.py", dirty=True)


@case(KIND, "a program that is to be added")
def _(world):
    shop = write(world.repository(), {"new.py": program()})
    world.git(shop, "add", "--intent-to-add", "new.py")
    return at(world, shop, "python", "new.py", dirty=True)


@case(KIND, "a program that was removed from the index")
def _(world):
    shop = world.repository()
    world.git(shop, "rm", "-q", "--cached", "app.py")
    return at(world, shop, commit=None)


@case(KIND, "a program that was renamed without git")
def _(world):
    shop = world.repository()
    (shop / "app.py").rename(shop / "renamed.py")
    return at(world, shop, "python", "renamed.py", commit=None)


@case(KIND, "a program that git has moved")
def _(world):
    shop = world.repository()
    world.git(shop, "mv", "app.py", "moved.py")
    return at(world, shop, "python", "moved.py", dirty=True)


def _with_index(name, *, prepare):
    """An index of some form, with a tracked and an untracked program, deep and at the top."""

    @case(KIND, f"{name}, a tracked program")
    def _(world):
        shop = world.repository()
        prepare(world, shop)
        return at(world, shop, "python", "pkg/job.py")

    @case(KIND, f"{name}, a tracked program at the top")
    def _(world):
        shop = world.repository()
        prepare(world, shop)
        return at(world, shop)

    @case(KIND, f"{name}, an untracked program")
    def _(world):
        shop = write(world.repository(), {"pkg/jo.py": program()})
        prepare(world, shop)
        return at(world, shop, "python", "pkg/jo.py", commit=None)

    @case(KIND, f"{name}, an untracked folder")
    def _(world):
        shop = write(world.repository(), {"pk/job.py": program()})
        prepare(world, shop)
        return at(world, shop, "python", "pk/job.py", commit=None)


def _version_3(world, shop):
    write(shop, {"zero.py": ""})
    world.git(shop, "update-index", "--index-version", "3")
    world.git(shop, "add", "--intent-to-add", "zero.py")


_with_index(
    "an index of version 2",
    prepare=lambda world, shop: world.git(shop, "update-index", "--index-version", "2"),
)
_with_index("an index of version 3", prepare=_version_3)
_with_index(
    "an index of version 4",
    prepare=lambda world, shop: world.git(shop, "update-index", "--index-version", "4"),
)
_with_index(
    "a split index", prepare=lambda world, shop: world.git(shop, "update-index", "--split-index")
)


def _changed_split_index(world, shop):
    world.git(shop, "update-index", "--split-index")
    write(shop, {"more/a.py": "", "more/b.py": ""})
    world.git(shop, "add", "more")
    world.git(shop, "rm", "-q", "--cached", "README")


_with_index("a split index that was changed", prepare=_changed_split_index)


def _sparse(world, shop):
    world.commit(shop, {"other/a.py": "", "other/deep/b.py": ""})
    world.git(shop, "sparse-checkout", "set", "--cone", "--sparse-index", "pkg")


@case(KIND, "a sparse index, a program in the cone")
def _(world):
    shop = world.repository()
    _sparse(world, shop)
    return at(world, shop, "python", "pkg/job.py")


@case(KIND, "a sparse index, an untracked program outside of the cone")
def _(world):
    shop = world.repository()
    _sparse(world, shop)
    write(shop, {"different/a.py": program()})
    return at(world, shop, "python", "different/a.py", commit=None)


@case(KIND, "a split index whose program was taken out again")
def _(world):
    shop = world.repository()
    world.git(shop, "update-index", "--split-index")
    world.git(shop, "rm", "-q", "--cached", "pkg/job.py")
    return at(world, shop, "python", "pkg/job.py", commit=None)


@case(KIND, "an index without an end-of-index entry, of thousands of files")
def _(world):
    shop = world.repository()
    world.git(shop, "-c", "index.threads=1", "update-index", "--index-version", "4")
    lines = "".join(
        f"100644 {world.git(shop, 'hash-object', 'README')}\tdata/{n % 50}/file-{n}\n"
        for n in range(1)
    )
    listing = "".join(
        lines.replace("data/0/file-0", f"data/{n % 50}/file-{n}") for n in range(2_000)
    )
    write(world.root, {"listing": listing})
    world.git(shop, "-c", "alias.fill=!git update-index --index-info < ../listing", "fill")
    world.git(shop, "commit", "-q", "-m", "many")
    write(shop, {"data/7/program.py": program()})
    return at(world, shop, "python", "data/7/program.py", commit=None)


@case(KIND, "an index with an untracked cache")
def _(world):
    shop = write(world.repository(), {"pkg/new.py": program()})
    world.git(shop, "update-index", "--force-untracked-cache")
    world.git(shop, "status")
    return at(world, shop, "python", "pkg/new.py", commit=None)


@case(KIND, "an index with a tree cache, a program deleted from HEAD's tree")
def _(world):
    shop = world.repository()
    world.git(shop, "rm", "-q", "-r", "--cached", "pkg")
    return at(world, shop, "python", "pkg/job.py", commit=None)


@case(KIND, "an index with conflicts at the program")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "-b", "topic")
    world.commit(shop, {"pkg/job.py": f"# topic\n{program()}"})
    world.git(shop, "checkout", "-q", "main")
    world.commit(shop, {"pkg/job.py": f"# main\n{program()}"})
    world.git(shop, "-c", "alias.m=!git merge topic || true", "m")
    world.git(shop, "checkout", "-q", "--ours", "pkg/job.py")
    return at(world, shop, "python", "pkg/job.py", dirty=True)


for _name, _path in (
    ("spaces", "a folder/my app.py"),
    ("letters of any language", "größe/日本.py"),
    ("a quote and a newline", 'a"b/line\nbreak.py'),
    ("brackets and stars", "[a]/*.py"),
    ("a length of 200 characters", "/".join(["d" * 45] * 4) + "/" + "f" * 13 + ".py"),
):

    @case(KIND, f"a path with {_name}")
    def _(world, path=_path):
        shop = world.repository()
        world.commit(shop, {path: program()})
        return at(world, shop, "python", path, name=path.replace("\n", " "))

    @case(KIND, f"an untracked program, its path with {_name}")
    def _(world, path=_path):
        shop = world.repository()
        world.commit(shop, {f"{path}.txt": ""})
        write(shop, {path: program()})
        return at(world, shop, "python", path, name=path.replace("\n", " "), commit=None)


@case(KIND, "a symbolic link to a tracked program")
def _(world):
    world.repository()
    tools = world.folder("tools")
    (tools / "run.py").symlink_to("../shop/app.py")
    return at(world, tools, "python", "run.py", name="app.py")


@case(KIND, "a symbolic link to a tracked program, in another repository")
def _(world):
    world.repository()
    other = world.repository("other")
    (other / "run.py").symlink_to("../shop/app.py")
    world.commit(other)
    return at(world, other, "python", "run.py", name="app.py")


@case(KIND, "a tracked symbolic link to a program in no repository")
def _(world):
    world.folder("tools", {"tool.py": program()})
    shop = world.repository()
    (shop / "run.py").symlink_to("../tools/tool.py")
    world.commit(shop)
    return at(world, shop, "python", "run.py", commit=None, name="run.py")


@case(KIND, "a symbolic link to the repository's folder")
def _(world):
    world.repository()
    (world.root / "link").symlink_to("shop")
    return at(world, world.root / "link")


@case(KIND, "a repository in an ignored folder of another")
def _(world):
    outer = world.repository("outer")
    world.commit(outer, {".gitignore": "inner/\n"})
    world.repository("outer/inner")
    world.git(outer / "inner", "checkout", "-q", "-b", "inner")
    return at(world, outer / "inner", branch="inner")


@case(KIND, "an unborn repository in a repository")
def _(world):
    outer = world.repository()
    inner = write(outer / "inner", {"app.py": program()})
    world.git(inner, "init", "-q", "-b", "inner")
    return at(world, inner, commit=None)


@case(KIND, "a tracked virtual environment's site-packages")
def _(world):
    shop = world.repository()
    world.commit(shop, {"vendor/site-packages/tool.py": program()})
    reason = "what lies where installers put packages is not taken for the checkout's"
    absent = dict.fromkeys(("commit", "branch", "url", "dirty"), reason)
    return at(world, shop, "python", "vendor/site-packages/tool.py", absent=absent)


@case(KIND, "a script in a virtual environment in the checkout")
def _(world):
    shop = world.repository()
    write(shop, {".gitignore": "env/\n"})
    world.commit(shop)
    write(shop, {"env/pyvenv.cfg": "", "env/bin/tool.py": program()})
    return at(world, shop, "python", "env/bin/tool.py", commit=None)


@case(KIND, "a Mercurial repository in a repository")
def _(world):
    shop = world.repository()
    write(shop, {"hg/.hg/requires": "", "hg/app.py": program()})
    return at(world, shop / "hg", commit=None)


def _zipapp(world, shop):
    source = world.folder("source", {"__main__.py": program()})
    zipapp.create_archive(source, shop / "app.pyz")


@case(KIND, "a zipapp that was built in the checkout")
def _(world):
    shop = world.repository()
    _zipapp(world, shop)
    return at(world, shop, "python", "app.pyz", question=shop / "app.pyz", commit=None)


@case(KIND, "a zipapp that is tracked")
def _(world):
    shop = world.repository()
    _zipapp(world, shop)
    world.commit(shop)
    return at(world, shop, "python", "app.pyz", question=shop / "app.pyz")


@case(KIND, "an executable archive that was built in the checkout")
def _(world):
    # As pex and shiv make them.
    shop = world.repository()
    source = world.folder("source", {"__main__.py": program()})
    (shop / "dist").mkdir()
    zipapp.create_archive(source, shop / "dist" / "app", interpreter="/usr/bin/env python")
    return at(world, shop, "dist/app", question=shop / "dist" / "app", commit=None)


_FROZEN = """\
import os, sys
binary = os.path.abspath("dist/app")
sys.frozen = True
sys.executable = sys.argv[0] = binary
sys.orig_argv = [binary]
__file__ = "app.py"
"""


@case(KIND, "a frozen binary that was built in the checkout")
def _(world):
    # What PyInstaller's bootloader leaves: the program is in no file of its own.
    shop = world.repository()
    write(shop, {"dist/app": ""})
    boot = world.folder("bundle", {"boot.py": program(_FROZEN)})
    return at(
        *(world, shop, "python", boot / "boot.py"),
        question=shop / "dist" / "app",
        show="only the running binary knows that it is one",
        name=any_of(None, "app", "dist/app"),
    )


@case(KIND, "a folder that Python runs")
def _(world):
    shop = world.repository()
    return at(world, shop, "python", "pkg", name="pkg")


@case(KIND, "an untracked folder that Python runs")
def _(world):
    shop = write(world.repository(), {"new/__main__.py": program()})
    return at(world, shop, "python", "new", name="new", commit=None)


@case(KIND, "a script by its absolute path, from another repository")
def _(world):
    shop = world.repository()
    other = world.repository("other")
    world.commit(other)
    return at(world, other, "python", shop / "app.py")


@case(KIND, "a script by a relative path, from another repository")
def _(world):
    world.repository()
    other = world.repository("other")
    world.commit(other)
    return at(world, other, "python", "../shop/app.py")


@case(KIND, "a script in no repository, from a repository")
def _(world):
    world.folder("tools", {"tool.py": program()})
    return at(world, world.repository(), "python", "../tools/tool.py", commit=None)


@case(KIND, "a script that changes its working directory first")
def _(world):
    shop = world.repository()
    world.commit(shop, {"app.py": f"import os\nos.chdir('/')\n{program()}"})
    return at(world, shop)


@case(KIND, "a script that changes into another repository first")
def _(world):
    other = world.repository("other")
    world.commit(other)
    shop = world.repository()
    world.commit(shop, {"app.py": f"import os\nos.chdir({str(other)!r})\n{program()}"})
    return at(world, shop)


@case(KIND, "a module, run by name")
def _(world):
    return at(world, world.repository(), "python", "-m", "pkg.job", name="pkg.job")


@case(KIND, "a package, run by name")
def _(world):
    return at(world, world.repository(), "python", "-m", "pkg", name="pkg")


@case(KIND, "code on the command line that runs a module of the project")
def _(world):
    shop = world.repository()
    return at(world, shop, "python", "-c", "import app", name=None, question=shop / "app.py")


@case(KIND, "code on the command line, in a folder of no repository")
def _(world):
    return at(world, world.folder("plain"), "python", "-c", program(), name=None, commit=None)


# --- A home folder that is a repository -----------------------------------------------------------


def _dotfiles(world, version="2"):
    home = world.home
    write(home, {".bashrc": "", "bin/tool.py": program()})
    world.git(home, "init", "-q", "-b", "dotfiles")
    world.commit(home)
    world.git(home, "update-index", "--index-version", version)
    return home


for _version in ("2", "4"):

    @case(KIND, f"a script in a home folder with dotfiles, index version {_version}")
    def _(world, version=_version):
        home = write(_dotfiles(world, version), {"s.py": program()})
        return at(world, home, "python", "s.py", commit=None)

    @case(KIND, f"a project in a home folder with dotfiles, index version {_version}")
    def _(world, version=_version):
        home = write(_dotfiles(world, version), {"proj/s.py": program()})
        return at(world, home / "proj", "python", "s.py", commit=None)


@case(KIND, "a tracked script in a home folder with dotfiles")
def _(world):
    return at(world, _dotfiles(world), "python", "bin/tool.py", branch="dotfiles")


@case(KIND, "code on the command line in a home folder with dotfiles")
def _(world):
    return at(world, _dotfiles(world), "python", "-c", program(), name=None, commit=None)


@case(KIND, "code on the command line in a project below dotfiles")
def _(world):
    home = _dotfiles(world)
    write(home, {"proj/helper.py": ""})
    return at(world, home / "proj", "python", "-c", program(), name=None, commit=None)


@case(KIND, "a module in a project below dotfiles")
def _(world):
    home = write(_dotfiles(world), {"proj/shop/__init__.py": "", "proj/shop/job.py": program()})
    return at(world, home / "proj", "python", "-m", "shop.job", name="shop.job", commit=None)


@case(KIND, "dotfiles in a bare repository that variables name")
def _(world):
    home = world.home
    write(home, {".bashrc": "", "s.py": program()})
    variables = {"GIT_DIR": str(home / ".dotfiles"), "GIT_WORK_TREE": str(home)}
    world.git(home, "init", "-q", "--bare", "-b", "dotfiles", ".dotfiles")
    world.git(home, "add", ".bashrc", **variables)
    world.git(home, "commit", "-q", "-m", "dotfiles", **variables)
    return at(world, home, "python", "s.py", environ=variables, commit=None)


@case(KIND, "a tracked script of dotfiles in a bare repository that variables name")
def _(world):
    home = world.home
    write(home, {"bin/s.py": program()})
    variables = {"GIT_DIR": str(home / ".dotfiles"), "GIT_WORK_TREE": str(home)}
    world.git(home, "init", "-q", "--bare", "-b", "dotfiles", ".dotfiles")
    world.git(home, "add", "bin", **variables)
    world.git(home, "commit", "-q", "-m", "dotfiles", **variables)
    return at(
        *(world, home, "python", "bin/s.py"),
        environ=variables,
        branch="dotfiles",
        absent=ELSEWHERE,
    )


@case(KIND, "a repository in a home folder with dotfiles")
def _(world):
    _dotfiles(world)
    return at(world, world.repository("home/shop"), branch="main")
