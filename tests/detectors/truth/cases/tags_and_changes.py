"""Tags of the commit, and uncommitted changes."""

from __future__ import annotations

import os

from detectors.truth.case import case
from detectors.truth.cases.git import at, with_submodule
from detectors.truth.world import program, write

KIND = "tags and changes"


# --- Tags -----------------------------------------------------------------------------------------


@case(KIND, "a lightweight tag")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "v1.0")
    return at(world, shop, tag="v1.0")


@case(KIND, "an annotated tag")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "v1.0")
    return at(world, shop, tag="v1.0")


@case(KIND, "packed tags, lightweight and annotated")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "light")
    world.git(shop, "tag", "-a", "-m", "one", "v1.0")
    world.git(shop, "pack-refs", "--all")
    return at(world, shop)


@case(KIND, "a tag of a tag")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "inner")
    world.git(shop, "tag", "-a", "-m", "two", "outer", "inner")
    world.git(shop, "tag", "-d", "inner")
    return at(world, shop, tag="outer")


@case(KIND, "a tag of a tag of a tag")
def _(world):
    shop = world.repository()
    for name, target in (("a", "HEAD"), ("b", "a"), ("c", "b")):
        world.git(shop, "tag", "-a", "-m", name, name, target)
    world.git(shop, "tag", "-d", "a", "b")
    return at(world, shop, tag="c")


@case(KIND, "a packed tag of a tag")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "inner")
    world.git(shop, "tag", "-a", "-m", "two", "outer", "inner")
    world.git(shop, "tag", "-d", "inner")
    world.git(shop, "pack-refs", "--all")
    return at(world, shop, tag="outer")


@case(KIND, "a tag with slashes")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "release/2026/v1")
    return at(world, shop, tag="release/2026/v1")


@case(KIND, "a tag of another commit")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "v1.0")
    world.commit(shop)
    return at(world, shop, tag=None)


@case(KIND, "a packed tag that names the commit, of another one")
def _(world):
    shop = world.repository()
    old = world.head(shop)
    head = world.commit(shop)
    world.git(shop, "tag", f"before-{head}", old)
    world.git(shop, "pack-refs", "--all")
    return at(world, shop, tag=None)


@case(KIND, "a packed annotated tag that names the commit, of another one")
def _(world):
    shop = world.repository()
    old = world.head(shop)
    head = world.commit(shop)
    world.git(shop, "tag", "-a", "-m", "x", head, old)
    world.git(shop, "pack-refs", "--all")
    return at(world, shop, tag=None)


@case(KIND, "a lock file in the folder of tags")
def _(world):
    shop = world.repository()
    head = world.head(shop)
    write(shop, {".git/refs/tags/v4.lock": f"{head}\n"})
    return at(world, shop, tag=None)


@case(KIND, "files in the folder of tags that are no tags")
def _(world):
    shop = world.repository()
    head = world.head(shop)
    names = (".hidden", "a b", "x~1", "y..z")
    write(shop, {f".git/refs/tags/{name}": f"{head}\n" for name in names})
    return at(world, shop, tag=None)


@case(KIND, "a tag that was moved after it was packed")
def _(world):
    shop = world.repository()
    world.commit(shop)
    world.git(shop, "tag", "v1")
    world.git(shop, "pack-refs", "--all")
    world.git(shop, "tag", "-f", "v1", "HEAD~1")
    return at(world, shop, tag=None)


@case(KIND, "a tag that was moved here after it was packed")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "v1")
    world.git(shop, "pack-refs", "--all")
    world.commit(shop)
    world.git(shop, "tag", "-f", "v1")
    return at(world, shop, tag="v1")


@case(KIND, "a tag that was deleted after it was packed")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "v1")
    world.git(shop, "pack-refs", "--all")
    world.git(shop, "tag", "-d", "v1")
    return at(world, shop, tag=None)


@case(KIND, "a tag of a tree and one of a file")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "tree", "HEAD^{tree}")
    world.git(shop, "tag", "-a", "-m", "x", "file", "HEAD:README")
    return at(world, shop, tag=None)


@case(KIND, "a tag and a branch of the same name")
def _(world):
    shop = world.repository()
    world.commit(shop)
    world.git(shop, "tag", "main", "HEAD~1")
    return at(world, shop, branch="main", tag=None)


@case(KIND, "a detached checkout of a tag")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "v1.0")
    world.commit(shop)
    world.git(shop, "checkout", "-q", "v1.0")
    return at(world, shop, branch=None, tag="v1.0")


@case(KIND, "a clone of a tag")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "v1.0")
    arguments = ("--depth", "1", "--branch", "v1.0", f"file://{shop}", "copy")
    world.git(world.root, "clone", "-q", *arguments)
    return at(world, world.root / "copy", url=None)


@case(KIND, "an annotated tag that was fetched")
def _(world):
    shop = world.repository()
    world.git(world.root, "clone", "-q", f"file://{shop}", "copy")
    world.git(shop, "tag", "-a", "-m", "one", "v1.0")
    copy = world.root / "copy"
    world.git(copy, "-c", "fetch.unpackLimit=1", "fetch", "-q", "--tags")
    return at(world, copy, url=None, tag="v1.0")


@case(KIND, "a tag in a file of its own beside one hundred others")
def _(world):
    shop = world.repository()
    head = world.head(shop)
    world.commit(shop)
    write(shop, {f".git/refs/tags/old-{n}": f"{head}\n" for n in range(99)})
    world.git(shop, "tag", "v1.0")
    return at(world, shop, tag="v1.0")


@case(KIND, "packed refs without the lines of what annotated tags are of")
def _(world):
    shop = world.repository()
    world.git(shop, "tag", "-a", "-m", "one", "v1.0")
    world.git(shop, "pack-refs", "--all")
    packed = shop / ".git" / "packed-refs"
    lines = packed.read_text().splitlines(keepends=True)
    packed.write_text("".join(line for line in lines if line[0] not in "#^"))
    return at(world, shop, absent={"tag": "only its object says of which commit it is"})


# --- Uncommitted changes --------------------------------------------------------------------------


@case(KIND, "a changed file")
def _(world):
    return at(world, write(world.repository(), {"README": "changed\n"}), dirty=True)


@case(KIND, "a changed program")
def _(world):
    return at(world, write(world.repository(), {"app.py": f"\n{program()}"}), dirty=True)


@case(KIND, "a staged change")
def _(world):
    shop = write(world.repository(), {"README": "changed\n"})
    world.git(shop, "add", ".")
    return at(world, shop, dirty=True)


@case(KIND, "a deleted file")
def _(world):
    shop = world.repository()
    (shop / "README").unlink()
    return at(world, shop, dirty=True)


@case(KIND, "an untracked file and nothing else")
def _(world):
    return at(world, write(world.repository(), {"notes": ""}), dirty=False)


@case(KIND, "a file that was only touched")
def _(world):
    shop = world.repository()
    os.utime(shop / "README", (0, 0))
    return at(world, shop, dirty=False)


@case(KIND, "a file that has become executable")
def _(world):
    shop = world.repository()
    (shop / "README").chmod(0o755)
    return at(world, shop, dirty=True)


@case(KIND, "a file that has become executable, where modes do not count")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "core.fileMode", "false")
    (shop / "README").chmod(0o755)
    return at(world, shop, dirty=False)


@case(KIND, "line ends that git converts")
def _(world):
    shop = world.repository()
    world.commit(shop, {".gitattributes": "README text eol=crlf\n"})
    (shop / "README").write_bytes(b"shop\r\n")
    return at(world, shop)


@case(KIND, "a change that git is told not to look at")
def _(world):
    shop = world.repository()
    world.git(shop, "update-index", "--assume-unchanged", "README")
    write(shop, {"README": "changed\n"})
    return at(world, shop, dirty=False)


@case(KIND, "a change in the main work tree, beside a worktree")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    write(shop, {"README": "changed\n"})
    return at(world, world.root / "topic", dirty=False)


@case(KIND, "a change in a folder above the program")
def _(world):
    shop = write(world.repository(), {"README": "changed\n"})
    return at(world, shop / "pkg", "python", "job.py", dirty=True)


@case(KIND, "a submodule whose files have changed")
def _(world):
    library = write(with_submodule(world) / "libs" / "library", {"README": "changed\n"})
    return at(world, library, dirty=True)


@case(KIND, "a change that status is configured not to show")
def _(world):
    shop = write(world.repository(), {"README": "changed\n"})
    world.git(shop, "config", "status.showUntrackedFiles", "no")
    return at(world, shop, dirty=True)


@case(KIND, "a submodule whose files have changed, seen from the repository around it")
def _(world):
    shop = with_submodule(world)
    write(shop / "libs" / "library", {"README": "changed\n"})
    return at(world, shop, dirty=True)
