"""Repositories of every shape: which commit and branch a script has in each."""

from __future__ import annotations

import os
import shutil

from detectors.truth.case import any_of, case
from detectors.truth.cases.git import at, with_submodule
from detectors.truth.world import URL, program, write
from dulwich.reftable import ReftableRefsContainer

KIND = "repositories"


# --- HEAD and branches ----------------------------------------------------------------------------


@case(KIND, "a branch")
def _(world):
    return at(world, world.repository(), commit=world.head(world.root / "shop"), branch="main")


@case(KIND, "a detached HEAD")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "--detach")
    return at(world, shop)


@case(KIND, "a detached HEAD at an older commit")
def _(world):
    shop = world.repository()
    world.commit(shop)
    world.git(shop, "checkout", "-q", "HEAD~1")
    return at(world, shop)


@case(KIND, "a branch with slashes and letters of any language")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "-b", "feature/größe/日本")
    return at(world, shop, branch="feature/größe/日本")


@case(KIND, "an unborn branch with the program staged")
def _(world):
    shop = world.folder("shop", {"app.py": program()})
    world.git(shop, "init", "-q", "-b", "trunk")
    world.git(shop, "add", ".")
    return at(world, shop, branch="trunk")


@case(KIND, "an orphan branch")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "--orphan", "fresh")
    return at(world, shop)


@case(KIND, "packed refs")
def _(world):
    shop = world.repository()
    world.git(shop, "pack-refs", "--all")
    return at(world, shop)


@case(KIND, "a loose ref beside an older packed one")
def _(world):
    shop = world.repository()
    world.git(shop, "pack-refs", "--all")
    world.commit(shop)
    return at(world, shop)


@case(KIND, "packed refs of names with the same end")
def _(world):
    shop = world.repository()
    world.git(shop, "branch", "a/main", "main")
    world.commit(shop)
    world.git(shop, "branch", "z/refs/heads/main", "main~1")
    world.git(shop, "pack-refs", "--all")
    return at(world, shop)


@case(KIND, "packed refs that are not sorted")
def _(world):
    shop = world.repository()
    world.git(shop, "branch", "other")
    world.git(shop, "pack-refs", "--all")
    packed = shop / ".git" / "packed-refs"
    packed.write_text("".join(reversed(packed.read_text().splitlines(keepends=True)[1:])))
    return at(world, shop)


@case(KIND, "a packed branch under a folder of its name")
def _(world):
    shop = world.repository()
    world.git(shop, "pack-refs", "--all")
    (shop / ".git" / "refs" / "heads" / "main").mkdir(parents=True)
    return at(world, shop)


@case(KIND, "HEAD as a symbolic link")
def _(world):
    shop = world.repository()
    head = shop / ".git" / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/main")
    return at(world, shop, branch="main")


@case(KIND, "HEAD as a symbolic link to a branch that is packed")
def _(world):
    shop = world.repository()
    world.git(shop, "pack-refs", "--all")
    head = shop / ".git" / "HEAD"
    head.unlink()
    head.symlink_to("refs/heads/main")
    return at(world, shop)


@case(KIND, "a branch that is a symbolic ref to another")
def _(world):
    shop = world.repository()
    world.git(shop, "symbolic-ref", "refs/heads/current", "refs/heads/main")
    world.git(shop, "symbolic-ref", "HEAD", "refs/heads/current")
    return at(world, shop)


@case(KIND, "HEAD at a branch of a remote")
def _(world):
    shop = world.repository()
    world.git(shop, "symbolic-ref", "HEAD", "refs/remotes/origin/main")
    return at(world, shop)


@case(KIND, "during a rebase")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "-b", "topic")
    world.commit(shop, {"README": "topic\n"})
    world.git(shop, "checkout", "-q", "main")
    world.commit(shop, {"README": "main\n"})
    world.git(shop, "checkout", "-q", "topic")
    world.git(shop, "-c", "alias.r=!git rebase main || true", "r")
    return at(world, shop, branch=None, dirty=True)


@case(KIND, "during a merge with a conflict")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "-b", "topic")
    world.commit(shop, {"README": "topic\n"})
    world.git(shop, "checkout", "-q", "main")
    world.commit(shop, {"README": "main\n"})
    world.git(shop, "-c", "alias.m=!git merge topic || true", "m")
    return at(world, shop, dirty=True)


@case(KIND, "during a bisection")
def _(world):
    shop = world.repository()
    for _ in range(3):
        world.commit(shop)
    world.git(shop, "bisect", "start", "HEAD", "HEAD~3")
    return at(world, shop)


@case(KIND, "a merge of two branches")
def _(world):
    shop = world.repository()
    world.git(shop, "checkout", "-q", "-b", "topic")
    world.commit(shop, {"topic": ""})
    world.git(shop, "checkout", "-q", "main")
    world.git(shop, "merge", "-q", "--no-ff", "-m", "merge", "topic")
    return at(world, shop)


# --- Worktrees, submodules, and repositories in other places --------------------------------------


@case(KIND, "a worktree")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    world.commit(world.root / "topic")
    return at(world, world.root / "topic", branch="topic")


@case(KIND, "a worktree with a detached HEAD")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "--detach", "../topic")
    world.commit(shop)
    return at(world, world.root / "topic")


@case(KIND, "a worktree whose refs are packed")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    world.git(shop, "tag", "v1")
    world.git(shop, "pack-refs", "--all")
    return at(world, world.root / "topic")


@case(KIND, "a worktree below its own repository's work tree")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", ".worktrees/topic")
    world.commit(shop / ".worktrees" / "topic")
    return at(world, shop / ".worktrees" / "topic", branch="topic")


@case(KIND, "a worktree of a bare repository")
def _(world):
    shop = world.repository()
    world.git(world.root, "clone", "-q", "--bare", "shop", "bare.git")
    world.git(world.root / "bare.git", "worktree", "add", "-q", "../main", "main")
    assert shop.exists()
    return at(world, world.root / "main", url=None)


@case(KIND, "worktrees around a bare repository in .git")
def _(world):
    world.repository()
    around = world.folder("around")
    world.git(around, "clone", "-q", "--bare", "../shop", ".bare")
    (around / ".git").write_text("gitdir: ./.bare\n")
    world.git(around, "worktree", "add", "-q", "main", "main")
    return at(world, around / "main", url=None)


@case(KIND, "beside the worktrees around a bare repository")
def _(world):
    world.repository()
    around = world.folder("around", {"app.py": program()})
    world.git(around, "clone", "-q", "--bare", "../shop", ".bare")
    (around / ".git").write_text("gitdir: ./.bare\n")
    world.git(around, "worktree", "add", "-q", "main", "main")
    return at(world, around, commit=None)


@case(KIND, "a worktree with a configuration of its own")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "extensions.worktreeConfig", "true")
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    topic = world.root / "topic"
    world.git(topic, "config", "--worktree", "branch.topic.remote", "fork")
    world.git(topic, "config", "--worktree", "remote.fork.url", "https://github.com/ada/shop")
    return at(world, topic, url="https://github.com/ada/shop")


@case(KIND, "a worktree with relative paths")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    (world.root / "topic" / ".git").write_text("gitdir: ../shop/.git/worktrees/topic\n")
    return at(world, world.root / "topic")


@case(KIND, "a worktree that was pruned")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    shutil.rmtree(shop / ".git" / "worktrees")
    return at(world, world.root / "topic")


@case(KIND, "the main work tree beside a worktree")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    world.commit(world.root / "topic")
    return at(world, shop, branch="main")


@case(KIND, "a submodule")
def _(world):
    library = with_submodule(world) / "libs" / "library"
    world.git(library, "remote", "set-url", "origin", "https://github.com/acme/library")
    return at(world, library, url="https://github.com/acme/library")


@case(KIND, "a submodule, started from the repository around it")
def _(world):
    shop = with_submodule(world)
    return at(world, shop, "python", "libs/library/app.py")


@case(KIND, "a submodule at a detached commit")
def _(world):
    shop = with_submodule(world)
    library = shop / "libs" / "library"
    world.git(library, "checkout", "-q", "HEAD~1")
    return at(world, library)


@case(KIND, "the repository around a submodule that is at another commit")
def _(world):
    shop = with_submodule(world)
    world.git(shop / "libs" / "library", "checkout", "-q", "HEAD~1")
    return at(world, shop, dirty=True)


@case(KIND, "a submodule with a repository of its own")
def _(world):
    shop = with_submodule(world)
    library = shop / "libs" / "library"
    (library / ".git").unlink()
    shutil.move(shop / ".git" / "modules" / "libs" / "library", library / ".git")
    own = library / ".git" / "config"
    world.git(world.root, "config", "--file", str(own), "--unset", "core.worktree")
    return at(world, library)


@case(KIND, "a worktree of a submodule")
def _(world):
    library = with_submodule(world) / "libs" / "library"
    world.git(library, "worktree", "add", "-q", "-b", "topic", str(world.root / "topic"))
    return at(world, world.root / "topic")


@case(KIND, "a git folder in another place")
def _(world):
    shop = world.repository()
    world.git(shop, "init", "-q", "--separate-git-dir", "../elsewhere.git")
    return at(world, shop)


@case(KIND, "a symbolic link to a git folder")
def _(world):
    shop = world.repository()
    shutil.move(shop / ".git", world.root / "store")
    (shop / ".git").symlink_to("../store")
    return at(world, shop)


@case(KIND, "a workdir whose refs and config are symbolic links")
def _(world):
    shop = world.repository()
    new = world.folder("new")
    (new / ".git").mkdir()
    for name in ("config", "refs", "objects", "packed-refs", "logs"):
        (new / ".git" / name).symlink_to(shop / ".git" / name)
    shutil.copy(shop / ".git" / "HEAD", new / ".git")
    world.git(new, "checkout", "-q", "-f", "-b", "other")
    return at(world, new, branch="other")


@case(KIND, "core.worktree elsewhere, a program beside .git")
def _(world):
    shop = world.repository()
    shutil.copytree(shop, world.root / "elsewhere", ignore=shutil.ignore_patterns(".git"))
    world.git(shop, "config", "core.worktree", str(world.root / "elsewhere"))
    return at(world, shop, commit=None)


@case(KIND, "core.worktree elsewhere, a program there")
def _(world):
    shop = world.repository()
    shutil.copytree(shop, world.root / "elsewhere", ignore=shutil.ignore_patterns(".git"))
    world.git(shop, "config", "core.worktree", str(world.root / "elsewhere"))
    return at(world, world.root / "elsewhere", commit=None)


@case(KIND, "core.worktree of a folder below")
def _(world):
    shop = world.repository()
    shutil.copytree(shop, shop / "tree", ignore=shutil.ignore_patterns(".git"))
    world.git(shop, "config", "core.worktree", "../tree")
    return at(world, shop / "tree")


@case(KIND, "core.worktree of the work tree itself")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "core.worktree", "..")
    return at(world, shop)


@case(KIND, "a bare repository around a program")
def _(world):
    world.repository()
    world.git(world.root, "clone", "-q", "--bare", "shop", "bare.git")
    write(world.root / "bare.git", {"app.py": program()})
    return at(world, world.root / "bare.git", commit=None)


@case(KIND, "a repository that says it is bare")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "core.bare", "true")
    return at(world, shop)


@case(KIND, "a clone that shares its objects")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "v1")
    world.git(world.root, "clone", "-q", "--shared", "shop", "copy")
    return at(world, world.root / "copy", url=None)


@case(KIND, "a clone that borrows from one that borrows")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "v1")
    world.git(world.root, "clone", "-q", "--shared", "shop", "first")
    world.git(world.root, "clone", "-q", "--shared", "first", "second")
    return at(world, world.root / "second", url=None)


@case(KIND, "a shallow clone")
def _(world):
    shop = world.repository()
    world.commit(shop)
    world.git(world.root, "clone", "-q", "--depth", "1", f"file://{shop}", "copy")
    return at(world, world.root / "copy", url=None)


@case(KIND, "a partial clone")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "uploadpack.allowFilter", "true")
    world.git(world.root, "clone", "-q", "--filter=blob:none", f"file://{shop}", "copy")
    return at(world, world.root / "copy", url=None)


@case(KIND, "a clone without a checkout")
def _(world):
    world.repository()
    world.git(world.root, "clone", "-q", "--no-checkout", "shop", "copy")
    write(world.root / "copy", {"app.py": program()})
    return at(world, world.root / "copy")


@case(KIND, "SHA-256 object ids")
def _(world):
    shop = world.folder("shop", {"app.py": program()})
    world.git(shop, "init", "-q", "-b", "main", "--object-format=sha256")
    world.commit(shop)
    world.git(shop, "tag", "-a", "-m", "one", "v1")
    return at(world, shop)


@case(KIND, "SHA-256 object ids, all packed")
def _(world):
    shop = world.folder("shop", {"app.py": program()})
    world.git(shop, "init", "-q", "-b", "main", "--object-format=sha256")
    world.commit(shop)
    world.git(shop, "tag", "v1")
    world.git(shop, "gc", "-q")
    return at(world, shop)


@case(KIND, "everything packed by gc")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "v1")
    world.git(shop, "gc", "-q")
    return at(world, shop)


@case(KIND, "a repository of another user")
def _(world):
    shop = world.repository()
    if os.getuid() == 0:
        for path in (shop, *shop.rglob("*")):
            os.chown(path, 1234, 1234, follow_symlinks=False)
        return at(world, shop, absent={"dirty": "git refuses to run in another user's repository"})
    # Nobody else can give files away; git then has nothing to refuse.
    return at(world, shop)


@case(KIND, "no git on the path")
def _(world):
    shop = world.repository()
    return at(
        *(world, shop),
        environ={"PATH": str(world.environment.bin)},
        absent={"dirty": "only git can say it"},
    )


@case(KIND, "a git file that leads nowhere, in a repository")
def _(world):
    shop = world.repository()
    write(shop, {"broken/app.py": program(), "broken/.git": "gitdir: /nowhere\n"})
    return at(world, shop / "broken", commit=None)


@case(KIND, "an empty .git folder in a repository")
def _(world):
    shop = world.repository()
    world.commit(shop, {"inner/app.py": program()})
    (shop / "inner" / ".git").mkdir()
    return at(world, shop / "inner")


@case(KIND, "no repository")
def _(world):
    return at(world, world.folder("plain", {"app.py": program()}), commit=None)


# --- Refs in tables ------------------------------------------------------------------------------
# Git reads them from version 2.45 on. An older one cannot be the oracle: what it has said of the
# repository before its refs went into tables is what has to be found.

UNSURE = any_of(*[None, False])
"""Only a git that reads them can say whether files have changed."""


def in_tables(shop, branch, refs):
    git_dir = shop / ".git"
    for name in ("refs", "packed-refs", "logs"):
        shutil.rmtree(git_dir / name, ignore_errors=True)
    (git_dir / "HEAD").write_text("ref: refs/heads/.invalid\n")
    tables = ReftableRefsContainer(str(git_dir))
    for name, commit in refs.items():
        tables.set_if_equals(name.encode(), None, commit.encode())
    tables.set_symbolic_ref(b"HEAD", branch.encode())
    (git_dir / "refs").mkdir(exist_ok=True)
    (git_dir / "refs" / "heads").write_text("this repository uses the reftable format\n")


def _with_tables(title, path, *, is_tracked):
    @case(KIND, f"refs in tables, {title}")
    def _(world):
        shop = world.repository()
        write(shop, {"new.py": program()})
        head, old = world.head(shop), "a" * 40
        world.git(shop, "config", "core.repositoryFormatVersion", "1")
        settings = shop / ".git" / "config"
        settings.write_text(f"{settings.read_text()}[extensions]\n\trefStorage = reftable\n")
        refs = {"refs/heads/main": head, "refs/heads/a": old, "refs/tags/v1": head}
        in_tables(shop, "refs/heads/main", refs)
        found = {"commit": head, "branch": "main", "tag": "v1", "url": URL} if is_tracked else {}
        return at(world, shop, "python", path, name=path, dirty=UNSURE, **found)


_with_tables("a tracked program", "app.py", is_tracked=True)
_with_tables("a tracked program in a folder", "pkg/job.py", is_tracked=True)
_with_tables("an untracked program", "new.py", is_tracked=False)
