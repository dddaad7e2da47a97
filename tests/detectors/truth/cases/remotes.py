"""The address of the repository: as git has it after all of its configuration, as a web page."""

from __future__ import annotations

import shutil
import subprocess

from detectors.truth.case import Confirmed, any_of, case
from detectors.truth.world import URL, write

KIND = "remotes"


def at(world, folder, **more):
    return world.start("python", "app.py", cwd=folder, **more)


# --- Which remote --------------------------------------------------------------------------------


@case(KIND, "no remote")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "remove", "origin")
    return at(world, shop, url=None)


@case(KIND, "the remote that the branch follows")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "add", "fork", "https://github.com/ada/shop")
    world.git(shop, "config", "branch.main.remote", "fork")
    return at(world, shop, url="https://github.com/ada/shop")


@case(KIND, "a detached HEAD with two remotes")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "add", "fork", "https://github.com/ada/shop")
    world.git(shop, "checkout", "-q", "--detach")
    return at(world, shop, url=URL)


@case(KIND, "a branch without a remote, and two remotes")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "add", "fork", "https://github.com/ada/shop")
    world.git(shop, "checkout", "-q", "-b", "new")
    return at(world, shop, url=URL)


@case(KIND, "the only remote, by another name")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "rename", "origin", "upstream")
    world.git(shop, "checkout", "-q", "--detach")
    return at(world, shop, url=URL)


@case(KIND, "two remotes, and none is origin")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "rename", "origin", "upstream")
    world.git(shop, "remote", "add", "fork", "https://github.com/ada/shop")
    world.git(shop, "checkout", "-q", "--detach")
    return at(world, shop, url=None)


@case(KIND, "a branch that follows one of its own repository")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "branch.main.remote", ".")
    return at(world, shop, url=URL)


@case(KIND, "a branch that follows an address")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "branch.main.remote", "https://github.com/ada/shop")
    return at(world, shop, url="https://github.com/ada/shop")


@case(KIND, "a remote of two addresses")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "set-url", "--add", "origin", "https://gitlab.com/acme/shop")
    return at(world, shop, url=URL)


@case(KIND, "another address to push to")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "set-url", "--push", "origin", "https://gitlab.com/acme/shop")
    return at(world, shop, url=URL)


@case(KIND, "a branch in upper and lower case")
def _(world):
    shop = world.repository()
    world.git(shop, "remote", "add", "fork", "https://github.com/ada/shop")
    world.git(shop, "config", "branch.Main.remote", "fork")
    return at(world, shop, url=URL)


# --- Forms of addresses --------------------------------------------------------------------------


def _address(name, remote, url):
    @case(KIND, f"an address: {name}")
    def _(world):
        shop = world.repository()
        world.git(shop, "config", "remote.origin.url", remote)
        return at(world, shop, url=url)


_address("SSH without a scheme", "git@github.com:acme/shop.git", URL)
_address("SSH without a scheme and user", "github.com:acme/shop", URL)
_address("SSH", "ssh://git@github.com:22/acme/shop.git", URL)
_address("SSH over port 443", "ssh://git@ssh.github.com:443/acme/shop.git", URL)
_address("credentials", "https://ada:secret@github.com/acme/shop.git", URL)
_address("a token", "https://x-access-token:ghs_abc@github.com/acme/shop", URL)
_address(
    "a port", "https://git.example.com:8443/acme/shop", "https://git.example.com:8443/acme/shop"
)
_address("the default port", "https://github.com:443/acme/shop", URL)
_address("HTTP", "http://git.example.com/acme/shop.git/", "http://git.example.com/acme/shop")
_address("git's own protocol", "git://github.com/acme/shop", URL)
_address("groups", "git@gitlab.com:acme/web/shop.git", "https://gitlab.com/acme/web/shop")
_address("a host in capitals", "https://GitHub.com/acme/shop", URL)
_address(
    "Azure over SSH",
    "git@ssh.dev.azure.com:v3/acme/web/shop",
    "https://dev.azure.com/acme/web/_git/shop",
)
_address("a folder", "/srv/git/shop.git", None)
_address("a relative folder", "../shop.git", None)
_address("a file URL", "file:///srv/git/shop.git", None)
_address("another transport", "codecommit::eu-west-1://shop", None)

# --- Rewriting -----------------------------------------------------------------------------------

_HUB = '[url "https://github.com/"]\n\tinsteadOf = gh:\n'
_FORGE = '[url "https://forge.example.com/"]\n\tinsteadOf = gh:\n'
FORGE = "https://forge.example.com/acme/shop"
UNKNOWN = any_of(None, "gh:acme/shop", "gh:acme/shop.git")
"""Of an address that nothing rewrites: `gh` might be a host that SSH knows."""


def confirmed(url):
    return Confirmed(url) if isinstance(url, str) else url


def shortened(world):
    """A repository whose address is one that only the configuration explains."""
    shop = world.repository()
    world.git(shop, "config", "remote.origin.url", "gh:acme/shop.git")
    return shop


def _rewritten(name, files, url=URL, environ=None):
    """With files in the home folder."""

    @case(KIND, f"insteadOf {name}")
    def _(world):
        write(world.home, files)
        return at(world, shortened(world), url=confirmed(url), environ=environ)


_rewritten("in the user's configuration", {".gitconfig": _HUB})
_rewritten("in the user's other configuration", {".config/git/config": _HUB})
_rewritten(
    "in both, of which ~/.gitconfig comes last",
    {".gitconfig": _FORGE, ".config/git/config": '[url "https://a/"]\n\tinsteadOf = g\n'},
    FORGE,
)
_rewritten(
    "of two lengths",
    {".gitconfig": _HUB + '[url "https://forge.example.com/"]\n\tinsteadOf = gh:acme/\n'},
    "https://forge.example.com/shop",
)
_rewritten(
    "of two lengths, the longer first",
    {".gitconfig": '[url "https://forge.example.com/"]\n\tinsteadOf = gh:acme/\n' + _HUB},
    "https://forge.example.com/shop",
)
_rewritten("twice for the same", {".gitconfig": _HUB + _FORGE})
_rewritten(
    "twice for the same, in two files", {".config/git/config": _FORGE, ".gitconfig": _HUB}, FORGE
)
_rewritten(
    "for pushes only",
    {".gitconfig": _HUB + '[url "https://forge.example.com/"]\n\tpushInsteadOf = gh:\n'},
)
_rewritten(
    "with credentials",
    {".gitconfig": '[url "https://ada:secret@github.com/"]\n\tinsteadOf = gh:\n'},
)
_rewritten(
    "in a file that is included", {".gitconfig": "[include]\n\tpath = more/hub\n", "more/hub": _HUB}
)
_rewritten(
    "in a file that is included from the home folder",
    {".gitconfig": "[include]\n\tpath = ~/more/hub\n", "more/hub": _HUB},
)
_rewritten(
    "in a file that an included one includes",
    {".gitconfig": "[include]\n\tpath = a\n", "a": "[include]\n\tpath = b\n", "b": _HUB},
)
_rewritten("after an include that is missing", {".gitconfig": "[include]\n\tpath = gone\n" + _HUB})
_rewritten(
    "in quotes", {".gitconfig": '[url "https://github.com/"]\n\tinsteadOf = "gh:" ; short\n'}
)
_rewritten(
    "in the old form of sections",
    {".gitconfig": "[url.hub]\n\tinsteadof = gh:\n"},
    UNKNOWN,
)


@case(KIND, "insteadOf in the repository's configuration")
def _(world):
    shop = shortened(world)
    world.git(shop, "config", "url.https://github.com/.insteadOf", "gh:")
    return at(world, shop, url=Confirmed(URL))


@case(KIND, "insteadOf in a file that a variable names")
def _(world):
    write(world.root, {"global": _HUB})
    write(world.home, {".gitconfig": _FORGE})
    environ = {"GIT_CONFIG_GLOBAL": str(world.root / "global")}
    return at(world, shortened(world), url=Confirmed(URL), environ=environ)


@case(KIND, "insteadOf in the user's configuration, and a variable that names none")
def _(world):
    write(world.home, {".gitconfig": _HUB})
    environ = {"GIT_CONFIG_GLOBAL": "/dev/null"}
    return at(world, shortened(world), url=UNKNOWN, environ=environ)


@case(KIND, "insteadOf in the system's configuration")
def _(world):
    write(world.root, {"system": _HUB})
    environ = {"GIT_CONFIG_SYSTEM": str(world.root / "system"), "GIT_CONFIG_NOSYSTEM": None}
    return at(world, shortened(world), url=Confirmed(URL), environ=environ)


@case(KIND, "insteadOf in the system's configuration, which does not count")
def _(world):
    write(world.root, {"system": _HUB})
    environ = {"GIT_CONFIG_SYSTEM": str(world.root / "system")}
    return at(world, shortened(world), url=UNKNOWN, environ=environ)


@case(KIND, "insteadOf in a worktree's configuration")
def _(world):
    shop = shortened(world)
    world.git(shop, "config", "extensions.worktreeConfig", "true")
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    topic = world.root / "topic"
    world.git(topic, "config", "--worktree", "url.https://github.com/.insteadOf", "gh:")
    return at(world, topic, url=Confirmed(URL))


def _in_variables(name, *pairs, url=URL, **more):
    @case(KIND, f"insteadOf {name}")
    def _(world):
        environ = {"GIT_CONFIG_COUNT": str(len(pairs)), **more}
        for number, (key, value) in enumerate(pairs):
            environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        write(world.home, {".gitconfig": _FORGE if len(pairs) > 1 else ""})
        return at(world, shortened(world), url=confirmed(url), environ=environ)


_in_variables("in variables", ("url.https://github.com/.insteadOf", "gh:"))
_in_variables("in variables, in lower case", ("url.https://github.com/.insteadof", "gh:"))
_in_variables(
    "in variables beside one in a file",
    ("user.name", "Ada"),
    ("url.https://hub.example.com/.insteadOf", "gh:"),
    url=FORGE,
)
_in_variables(
    "in variables, longer than one in a file",
    ("user.name", "Ada"),
    ("url.https://github.com/acme/.insteadOf", "gh:acme/"),
)


@case(KIND, "insteadOf in a file that a variable includes")
def _(world):
    write(world.root, {"hub": _HUB})
    environ = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "include.path",
        "GIT_CONFIG_VALUE_0": str(world.root / "hub"),
    }
    return at(world, shortened(world), url=Confirmed(URL), environ=environ)


@case(KIND, "a remote's address in variables")
def _(world):
    environ = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.origin.url",
        "GIT_CONFIG_VALUE_0": "https://github.com/ada/shop",
    }
    return at(world, world.repository(), url=Confirmed(URL), environ=environ)


@case(KIND, "insteadOf in the variable of git -c")
def _(world):
    environ = {"GIT_CONFIG_PARAMETERS": "'url.https://github.com/.insteadof'='gh:'"}
    return at(world, shortened(world), url=any_of(URL, *UNKNOWN), environ=environ)


@case(KIND, "insteadOf of a local mirror")
def _(world):
    write(world.home, {".gitconfig": '[url "/srv/mirror/"]\n\tinsteadOf = https://github.com/\n'})
    return at(world, world.repository(), url=any_of(None, URL))


@case(KIND, "insteadOf from one to another host")
def _(world):
    text = '[url "https://forge.example.com/"]\n\tinsteadOf = https://github.com/\n'
    write(world.home, {".gitconfig": text})
    return at(world, world.repository(), url=Confirmed(FORGE))


@case(KIND, "insteadOf from HTTPS to SSH")
def _(world):
    text = '[url "git@github.com:"]\n\tinsteadOf = https://github.com/\n'
    write(world.home, {".gitconfig": text})
    return at(world, world.repository(), url=Confirmed(URL))


# --- Without a home, and with conditions ---------------------------------------------------------


@case(KIND, "insteadOf without HOME")
def _(world):
    write(world.home, {".gitconfig": _HUB})
    return at(world, shortened(world), url=UNKNOWN, environ={"HOME": None})


@case(KIND, "insteadOf without HOME, in XDG_CONFIG_HOME")
def _(world):
    write(world.root, {"xdg/git/config": _HUB})
    environ = {"HOME": None, "XDG_CONFIG_HOME": str(world.root / "xdg")}
    return at(world, shortened(world), url=Confirmed(URL), environ=environ)


@case(KIND, "insteadOf in XDG_CONFIG_HOME, and not in ~/.config")
def _(world):
    write(world.root, {"xdg/git/config": _HUB, "home/.config/git/config": _FORGE})
    environ = {"XDG_CONFIG_HOME": str(world.root / "xdg")}
    return at(world, shortened(world), url=Confirmed(URL), environ=environ)


def _conditional(name, condition, url=URL, *, prepare=None, folder="shop", in_file=".gitconfig"):
    """A file that is included on a condition, in which `{root}` stands for the case's folder."""

    @case(KIND, f"includeIf {name}")
    def _(world):
        shop = world.repository(folder)
        world.git(shop, "config", "remote.origin.url", "gh:acme/shop.git")
        place = shop if prepare is None else prepare(world, shop)
        text = condition.replace("{root}", str(world.root))
        write(
            world.home, {in_file: f'[includeIf "{text}"]\n\tpath = {world.home}/hub\n', "hub": _HUB}
        )
        return at(world, place, url=confirmed(url))


def _worktree(world, shop):
    world.git(shop, "worktree", "add", "-q", "-b", "topic", "../topic")
    return world.root / "topic"


def _linked(world, shop):
    (world.root / "link").symlink_to(shop)
    return world.root / "link"


def _branch(world, shop):
    world.git(shop, "checkout", "-q", "-b", "feature/a")
    return shop


_conditional("gitdir: of a folder", "gitdir:{root}/")
_conditional("gitdir: of another folder", "gitdir:{root}/other/", UNKNOWN)
_conditional("gitdir: of the git folder itself", "gitdir:{root}/shop/.git")
_conditional("gitdir: of the work tree without a slash", "gitdir:{root}/shop", UNKNOWN)
_conditional("gitdir: from the home folder", "gitdir:~/work/", folder="home/work/shop")
_conditional("gitdir: from the folder of the file", "gitdir:./work/", folder="home/work/shop")
_conditional("gitdir: anywhere", "gitdir:work/", folder="some/work/shop")
_conditional("gitdir: with stars", "gitdir:{root}/*/shop/.git", folder="any/shop")
_conditional("gitdir: with two stars", "gitdir:**/shop/**", folder="a/b/shop")
_conditional("gitdir: with brackets", "gitdir:{root}/[pqr]roj/", folder="proj/shop")
_conditional("gitdir: with a range in brackets", "gitdir:{root}/[a-z]roj/", folder="proj/shop")
_conditional(
    "gitdir: with brackets that exclude", "gitdir:{root}/[!p]roj/", UNKNOWN, folder="proj/shop"
)
_conditional(
    "gitdir: with a class of characters", "gitdir:{root}/[[:alpha:]]roj/", folder="proj/shop"
)
_conditional("gitdir: with a question mark", "gitdir:{root}/?roj/", folder="proj/shop")
_conditional("gitdir: with an escaped bracket", "gitdir:{root}/\\\\[x]/", folder="[x]/shop")
_conditional("gitdir: in other letters", "gitdir:{root}/PROJ/", UNKNOWN, folder="proj/shop")
_conditional("gitdir/i: in other letters", "gitdir/i:{root}/PROJ/", folder="proj/shop")
_conditional(
    "gitdir: of a worktree's repository", "gitdir:{root}/shop/.git/worktrees/", prepare=_worktree
)
_conditional("gitdir: of a worktree's folder", "gitdir:{root}/topic/", UNKNOWN, prepare=_worktree)
_conditional("gitdir: through a symbolic link", "gitdir:{root}/shop/", prepare=_linked)
_conditional("onbranch:", "onbranch:main")
_conditional("onbranch: of another", "onbranch:other", UNKNOWN)
_conditional("onbranch: with a slash at its end", "onbranch:feature/", prepare=_branch)
_conditional("hasconfig:", "hasconfig:remote.*.url:gh:acme/**")
_conditional("hasconfig: of another address", "hasconfig:remote.*.url:gh:other/**", UNKNOWN)
_conditional("hasconfig: with brackets", "hasconfig:remote.*.url:gh:[a-c]cme/*")
_conditional("a condition that git does not know", "weather:sunny", UNKNOWN)

# --- Hosts that only SSH knows -------------------------------------------------------------------

WORK = "git@github-work:acme/shop.git"
_SCP_FORMS = {"git@github-work:acme/shop.git", "git@github-work:acme/shop", "github-work:acme/shop"}


def _ssh(name, remote, config, host, url=URL):
    """An address of which SSH's configuration names the host."""

    @case(KIND, f"a host of SSH's configuration: {name}")
    def _(world):
        if config is not None:
            write(
                world.home,
                {".ssh/config": config, ".ssh/more": "Host github-work\n  HostName github.com\n"},
            )
        alias = remote.partition("@")[2].partition(":")[0].partition("/")[0]
        if config and shutil.which("ssh"):
            # The oracle of the expectation.
            command = ["ssh", "-G", "-F", str(world.home / ".ssh" / "config"), alias]
            environ = {"HOME": str(world.home)}
            output = subprocess.run(
                command, env=environ, capture_output=True, text=True, check=True
            )
            assert f"hostname {host}\n" in output.stdout
        shop = world.repository()
        world.git(shop, "config", "remote.origin.url", remote)
        return at(world, shop, url=url)


_NOT_WEB = any_of(None, *_SCP_FORMS)
_ssh("an alias", WORK, "Host github-work\n  HostName github.com\n  User git\n", "github.com")
_ssh("an alias, with =", WORK, "Host=github-work\nHostName = github.com\n", "github.com")
_ssh(
    "an alias, one of several",
    WORK,
    "Host other github-work\n\tHostName github.com\n",
    "github.com",
)
_ssh("an alias, by a pattern", WORK, "Host github-*\n  HostName github.com\n", "github.com")
_ssh("an alias, in other letters", WORK, "HOST github-work\n  hostname GitHub.com\n", "github.com")
_ssh(
    "an alias, the first of two",
    WORK,
    "Host github-work\n  HostName github.com\nHost github-*\n  HostName other.example.com\n",
    "github.com",
)
_ssh(
    "an alias, excluded from the first pattern",
    WORK,
    "Host github-* !github-work\n  HostName a.example.com\nHost *\n  HostName github.com\n",
    "github.com",
)
_ssh(
    "an alias in quotes, with a comment",
    WORK,
    '# work\nHost "github-work"\n  HostName "github.com"\n',
    "github.com",
)
_ssh(
    "an alias, made of its own name",
    "git@forge:acme/shop.git",
    "Host forge\n  HostName %h.example.com\n",
    "forge.example.com",
    FORGE,
)
_ssh(
    "an alias over SSH's scheme",
    "ssh://git@github-work/acme/shop.git",
    "Host github-work\n  HostName github.com\n",
    "github.com",
)
_ssh(
    "an alias that looks like a host",
    "git@git.work:acme/shop.git",
    "Host git.work\n  HostName github.com\n",
    "github.com",
)
_ssh("an alias that is not there", WORK, None, None, _NOT_WEB)
_ssh(
    "an alias for others",
    WORK,
    "Host github-home\n  HostName github.com\n",
    "github-work",
    _NOT_WEB,
)
_ssh(
    "an alias without a name of its own",
    WORK,
    "Host github-work\n  User git\n",
    "github-work",
    _NOT_WEB,
)
_ssh(
    "a well-known host that is reached by another",
    "git@github.com:acme/shop.git",
    "Host github.com\n  HostName ssh.github.com\n  Port 443\n",
    "ssh.github.com",
)
_ssh(
    "a well-known host beside an alias",
    "git@github.com:acme/shop.git",
    "Host github-work\n  HostName a.example.com\n",
    "github.com",
)


@case(KIND, "a host of SSH's configuration: an alias in an included file")
def _(world):
    hub = "Host github-work\n  HostName github.com\n"
    write(world.home, {".ssh/config": f"Include {world.home}/.ssh/more\n", ".ssh/more": hub})
    shop = world.repository()
    world.git(shop, "config", "remote.origin.url", WORK)
    return at(world, shop, url=any_of(URL, *_NOT_WEB))


@case(KIND, "a host of SSH's configuration: an alias that insteadOf brings in")
def _(world):
    hub = "Host github-work\n  HostName github.com\n"
    text = '[url "git@github-work:"]\n\tinsteadOf = https://github.com/\n'
    write(world.home, {".ssh/config": hub, ".gitconfig": text})
    return at(world, world.repository(), url=URL)


@case(KIND, "a host of SSH's configuration: an alias, without HOME")
def _(world):
    shop = world.repository()
    world.git(shop, "config", "remote.origin.url", WORK)
    return at(world, shop, url=_NOT_WEB, environ={"HOME": None})
