"""Git's variables, as its hooks and commands set them."""

from __future__ import annotations

import shutil
from pathlib import Path

from detectors.truth.case import case
from detectors.truth.cases.git import ELSEWHERE, at, with_submodule
from detectors.truth.world import URL, program, write

KIND = "git's variables"


SAVED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
SAVED += (
    "GIT_OBJECT_DIRECTORY",
    "GIT_QUARANTINE_PATH",
    "GIT_CONFIG_PARAMETERS",
    "GIT_REFLOG_ACTION",
)


def hook(folder: Path, name: str, target: Path) -> None:
    """A hook that keeps the variables and the working directory that git gives it."""
    lines = [f'test -z "${{{it}+x}}" || echo "{it}=${it}" >> {target}' for it in SAVED]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(["#!/bin/sh", f"pwd > {target}", *lines, "exit 0", ""]))
    (folder / name).chmod(0o755)


def kept(target: Path) -> tuple[Path, dict[str, str]]:
    cwd, *lines = target.read_text().splitlines()
    return Path(cwd), dict(line.split("=", 1) for line in lines)


@case(KIND, "in a pre-commit hook")
def _(world):
    shop = world.repository()
    hook(shop / ".git" / "hooks", "pre-commit", world.root / "kept")
    write(shop, {"README": "changed\n"})
    world.git(shop, "add", ".")
    world.git(shop, "commit", "-q", "-m", "x")
    world.git(shop, "reset", "-q", "--soft", "HEAD~1")
    cwd, variables = kept(world.root / "kept")
    return at(world, cwd, environ=variables, dirty=True, absent=ELSEWHERE)


@case(KIND, "in a pre-commit hook of a commit of some files")
def _(world):
    shop = world.repository()
    hook(shop / ".git" / "hooks", "pre-commit", world.root / "kept")
    write(shop, {"README": "changed\n"})
    world.git(shop, "commit", "-q", "-m", "x", "README")
    world.git(shop, "reset", "-q", "--soft", "HEAD~1")
    cwd, variables = kept(world.root / "kept")
    assert "GIT_INDEX_FILE" in variables
    return at(world, cwd, environ=variables, dirty=True, absent=ELSEWHERE)


@case(KIND, "in a pre-commit hook of a worktree")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    topic = world.root / "topic"
    world.commit(topic)
    hook(shop / ".git" / "hooks", "pre-commit", world.root / "kept")
    world.commit(topic)
    cwd, variables = kept(world.root / "kept")
    assert "GIT_DIR" in variables
    return at(world, cwd, environ=variables, branch="topic", absent=ELSEWHERE)


@case(KIND, "in a post-commit hook of a submodule")
def _(world):
    shop = with_submodule(world)
    library = shop / "libs" / "library"
    hook(shop / ".git/modules/libs/library/hooks", "post-commit", world.root / "kept")
    world.commit(library)
    cwd, variables = kept(world.root / "kept")
    return at(world, cwd, environ=variables, absent=ELSEWHERE)


def _pushed(world, name):
    """A bare repository with a hook that has run, and what it was given."""
    shop = world.repository()
    world.git(world.root, "clone", "-q", "--bare", "shop", "bare.git")
    hook(world.root / "bare.git" / "hooks", name, world.root / "kept")
    world.commit(shop)
    world.git(shop, "push", "-q", "../bare.git", "main")
    return kept(world.root / "kept")


@case(KIND, "in a post-receive hook, a tool that lies elsewhere")
def _(world):
    cwd, variables = _pushed(world, "post-receive")
    tools = world.folder("tools", {"deploy.py": program()})
    command = ("python", tools / "deploy.py")
    return at(world, cwd, *command, environ=variables, commit=None)


@case(KIND, "in a post-receive hook, a tool of another repository")
def _(world):
    cwd, variables = _pushed(world, "post-receive")
    tools = world.repository("tools")
    world.commit(tools)
    return at(world, cwd, "python", tools / "app.py", environ=variables, absent=ELSEWHERE)


@case(KIND, "in a post-receive hook, a program in the bare repository")
def _(world):
    cwd, variables = _pushed(world, "post-receive")
    write(cwd, {"hooks/tool.py": program()})
    return at(world, cwd, "python", "hooks/tool.py", environ=variables, commit=None)


@case(KIND, "in a post-receive hook, the code that it has checked out")
def _(world):
    cwd, variables = _pushed(world, "post-receive")
    variables = variables | {"GIT_WORK_TREE": str(world.folder("www"))}
    world.git(cwd, "checkout", "-q", "-f", "main", **variables)
    variables = variables | {"GIT_DIR": str(cwd)}
    return at(world, world.root / "www", environ=variables, url=None, absent=ELSEWHERE)


@case(KIND, "in a pre-receive hook, a tool of another repository")
def _(world):
    cwd, variables = _pushed(world, "pre-receive")
    tools = world.repository("tools")
    world.commit(tools)
    return at(world, cwd, "python", tools / "app.py", environ=variables, absent=ELSEWHERE)


@case(KIND, "a git folder of another repository in a variable, and no repository")
def _(world):
    other = world.repository("other")
    plain = world.folder("plain", {"tool.py": program()})
    environ = {"GIT_DIR": str(other / ".git")}
    return at(world, plain, "python", "tool.py", environ=environ, commit=None)


@case(KIND, "a git folder of another repository in a variable")
def _(world):
    other = world.repository("other")
    world.commit(other)
    return at(world, world.repository(), environ={"GIT_DIR": str(other / ".git")}, absent=ELSEWHERE)


@case(KIND, "a git folder and a work tree of another repository in variables")
def _(world):
    other = world.repository("other")
    world.commit(other)
    environ = {"GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)}
    return at(world, world.repository(), environ=environ, absent=ELSEWHERE)


@case(KIND, "a bare repository in a variable, and no repository")
def _(world):
    world.repository("other")
    world.git(world.root, "clone", "-q", "--bare", "other", "bare.git")
    plain = world.folder("plain", {"app.py": program()})
    environ = {"GIT_DIR": str(world.root / "bare.git")}
    return at(world, plain, environ=environ, commit=None)


@case(KIND, "an index of another repository in a variable")
def _(world):
    other = world.repository("other")
    world.git(other, "rm", "-q", "--cached", "app.py")
    environ = {"GIT_INDEX_FILE": str(other / ".git" / "index")}
    return at(world, world.repository(), environ=environ, absent=ELSEWHERE)


@case(KIND, "an untracked program with an index of another repository in a variable")
def _(world):
    other = write(world.repository("other"), {"new.py": ""})
    world.commit(other)
    shop = write(world.repository(), {"new.py": program()})
    environ = {"GIT_INDEX_FILE": str(other / ".git" / "index")}
    return at(world, shop, "python", "new.py", environ=environ, commit=None)


@case(KIND, "a relative index in a variable")
def _(world):
    return at(world, world.repository(), environ={"GIT_INDEX_FILE": ".git/index"}, absent=ELSEWHERE)


@case(KIND, "a git folder that variables name, of its own work tree")
def _(world):
    shop = world.repository()
    shutil.move(shop / ".git", world.root / "store.git")
    environ = {"GIT_DIR": str(world.root / "store.git"), "GIT_WORK_TREE": str(shop)}
    return at(world, shop, environ=environ, absent=ELSEWHERE)


@case(KIND, "a git folder that variables name, an untracked program")
def _(world):
    shop = write(world.repository(), {"new.py": program()})
    shutil.move(shop / ".git", world.root / "store.git")
    environ = {"GIT_DIR": str(world.root / "store.git"), "GIT_WORK_TREE": str(shop)}
    return at(world, shop, "python", "new.py", environ=environ, commit=None)


@case(KIND, "a variable that names no repository")
def _(world):
    return at(
        world,
        world.repository(),
        environ={"GIT_DIR": str(world.root / "nowhere")},
        absent=ELSEWHERE,
    )


@case(KIND, "a work tree in a variable, and nothing else")
def _(world):
    other = world.repository("other")
    return at(world, world.repository(), environ={"GIT_WORK_TREE": str(other)}, absent=ELSEWHERE)


@case(KIND, "a command that git rebase runs")
def _(world):
    shop = world.repository()
    world.commit(shop)
    command = ("git", "rebase", "-q", "--exec", "python app.py; true", "HEAD~1")
    world.git(shop, "config", "user.name", "A")
    world.git(shop, "config", "user.email", "a@example.com")
    return at(
        *(world, shop, *command),
        branch=None,
        dirty=False,
        show="git starts it",
        commit=world.head(shop),
        url=URL,
        tag=None,
        name="app.py",
    )


@case(KIND, "an alias of git, in a worktree")
def _(world):
    shop = world.repository()
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    command = ("git", "-c", "alias.r=!python app.py", "r")
    return at(
        world, world.root / "topic", *command, show="git starts it", name="app.py", absent=ELSEWHERE
    )


@case(KIND, "git submodule foreach")
def _(world):
    shop = with_submodule(world)
    command = ("git", "submodule", "foreach", "--quiet", "python app.py")
    return at(world, shop, *command, show="git starts it", name="app.py", absent=ELSEWHERE)
