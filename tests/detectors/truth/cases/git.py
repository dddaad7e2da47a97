"""What the cases about git share."""

from __future__ import annotations

from detectors.truth.world import REMOTE

APP = ("python", "app.py")
ELSEWHERE = {"dirty": "git is not asked where variables lead it elsewhere"}


def at(world, folder, *command, **more):
    """A script of a repository, with the check for uncommitted changes."""
    return world.start(*(command or APP), cwd=folder, dirty_check=True, **more)


def with_submodule(world):
    world.commit(world.repository("library"), {"extra": ""})
    shop = world.repository()
    world.git(
        *(shop, "-c", "protocol.file.allow=always"),
        *("submodule", "--quiet", "add", str(world.root / "library"), "libs/library"),
        GIT_ALLOW_PROTOCOL="file:https",
    )
    world.git(shop, "config", "submodule.libs/library.url", REMOTE)
    world.commit(shop)
    return shop
