"""Facts of one commit go together, and facts of the process are those of when it was loaded."""

from __future__ import annotations

import json

from detectors.truth.case import any_of, case
from detectors.truth.world import OF_A_SPAN, URL, program, write

TOGETHER = "facts together"
TIME = "time"
COMMIT = "83a20ec058e2fb00e7fa4558c4c6e81e2dcf253d"
STAMP = "otel-mlflow-context-stamp.json"


def at(world, folder, **more):
    return world.start("python", "app.py", cwd=folder, dirty_check=True, **more)


def tagged(world):
    shop = world.repository()
    world.git(shop, "tag", "v1.0")
    return shop


def attributes(**values):
    return {
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(
            f"{name.replace('_', '.')}={value}" for name, value in values.items()
        )
    }


# --- Who says the commit -------------------------------------------------------------------------

_OTHERS = {"commit": COMMIT, "branch": None, "tag": None, "dirty": None, "url": any_of(None, URL)}


@case(TOGETHER, "another commit in OTEL_RESOURCE_ATTRIBUTES")
def _(world):
    environ = attributes(vcs_ref_head_revision=COMMIT)
    return at(world, tagged(world), environ=environ, **_OTHERS)


@case(TOGETHER, "another commit and branch in OTEL_RESOURCE_ATTRIBUTES")
def _(world):
    environ = attributes(vcs_ref_head_revision=COMMIT, vcs_ref_head_name="other")
    return at(world, tagged(world), environ=environ, **_OTHERS | {"branch": "other"})


@case(TOGETHER, "the same commit in OTEL_RESOURCE_ATTRIBUTES")
def _(world):
    shop = tagged(world)
    environ = attributes(vcs_ref_head_revision=world.head(shop))
    return at(world, shop, environ=environ, tag="v1.0", branch="main", dirty=False)


@case(TOGETHER, "the same commit, shortened, in OTEL_RESOURCE_ATTRIBUTES")
def _(world):
    shop = tagged(world)
    head = world.head(shop)
    environ = attributes(vcs_ref_head_revision=head[:9])
    commit = any_of(head, head[:9])
    return at(world, shop, environ=environ, commit=commit, tag="v1.0", branch="main")


@case(TOGETHER, "another branch in OTEL_RESOURCE_ATTRIBUTES")
def _(world):
    environ = attributes(vcs_ref_head_name="other")
    return at(world, tagged(world), environ=environ, branch="other", tag="v1.0")


@case(TOGETHER, "a version in OTEL_RESOURCE_ATTRIBUTES")
def _(world):
    return at(world, tagged(world), environ=attributes(service_version="3.1"), version="3.1")


@case(TOGETHER, "another commit in OTEL_RESOURCE_ATTRIBUTES, in a pull request")
def _(world):
    shop = world.repository()
    environ = attributes(vcs_ref_head_revision=COMMIT) | {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": world.head(shop),
        "GITHUB_REF": "refs/pull/5/merge",
        "GITHUB_HEAD_REF": "feature",
        "GITHUB_WORKSPACE": str(shop),
    }
    return at(world, shop, environ=environ, **_OTHERS)


@case(TOGETHER, "another commit in OTEL_RESOURCE_ATTRIBUTES, and a stamp")
def _(world):
    stamp = {"schema": 1, "commit": "a" * 40, "branch": "release", "version": "1.2.3"}
    image = world.folder("srv", {"app.py": program(), STAMP: json.dumps(stamp)})
    environ = attributes(vcs_ref_head_revision=COMMIT)
    expected = {"commit": COMMIT, "branch": None, "version": any_of(None, "1.2.3")}
    return at(world, image, environ=environ, **expected)


@case(TOGETHER, "another commit in OTEL_RESOURCE_ATTRIBUTES, on a platform")
def _(world):
    environ = attributes(vcs_ref_head_revision=COMMIT) | {
        "RENDER": "true",
        "RENDER_SERVICE_ID": "srv-1",
        "RENDER_INSTANCE_ID": "srv-1-a",
        "RENDER_GIT_COMMIT": "a" * 40,
        "RENDER_GIT_BRANCH": "other",
        "RENDER_SERVICE_NAME": "shop",
    }
    image = world.folder("srv", {"app.py": program()})
    return at(world, image, environ=environ, commit=COMMIT, branch=None, service="shop")


@case(TOGETHER, "another commit in the provider's resource")
def _(world):
    shop = tagged(world)
    resource = f"Resource({{'vcs.ref.head.revision': {COMMIT!r}}})"
    before = OF_A_SPAN.replace("TracerProvider()", f"TracerProvider(resource={resource})", 1)
    before = f"from opentelemetry.sdk.resources import Resource\n{before}"
    world.commit(shop, {"app.py": program(before, "{'metadata': dict(span.attributes)}")})
    return at(world, shop, show="only the program knows its provider", **_OTHERS)


@case(TOGETHER, "another commit in OTEL_RESOURCE_ATTRIBUTES, as a root span has it")
def _(world):
    shop = tagged(world)
    world.commit(shop, {"app.py": program(OF_A_SPAN, "{'metadata': dict(span.attributes)}")})
    environ = attributes(vcs_ref_head_revision=COMMIT)
    return at(world, shop, environ=environ, **_OTHERS)


@case(TOGETHER, "the facts of a root span")
def _(world):
    shop = world.repository()
    world.commit(shop, {"app.py": program(OF_A_SPAN, "{'metadata': dict(span.attributes)}")})
    return at(
        world,
        shop,
        environ={"APP_VERSION": "3.1", "OTEL_SERVICE_NAME": "qa"},
        version="3.1",
        service="qa",
    )


@case(TOGETHER, "a branch without a commit, on a platform that has built one")
def _(world):
    shop = world.folder("shop")
    world.git(shop, "init", "-q", "-b", "local")
    write(shop, {"app.py": program()})
    world.git(shop, "add", ".")
    environ = {"RENDER": "true", "RENDER_GIT_COMMIT": COMMIT, "RENDER_GIT_BRANCH": "main"}
    return at(world, shop, environ=environ, commit=any_of(None, COMMIT), branch="main")


@case(TOGETHER, "a stamp without a commit, on a platform that has built one")
def _(world):
    stamp = {"schema": 1, "branch": "release", "dirty": True, "version": "1.2.3"}
    image = world.folder("srv", {"app.py": program(), STAMP: json.dumps(stamp)})
    environ = {"RENDER": "true", "RENDER_GIT_COMMIT": COMMIT, "RENDER_GIT_BRANCH": "main"}
    return at(
        *(world, image), environ=environ, commit=COMMIT, branch="main", dirty=None, version="1.2.3"
    )


@case(TOGETHER, "a stamp and a platform of two commits")
def _(world):
    stamp = {"schema": 1, "commit": COMMIT, "branch": "release", "version": "1.2.3"}
    image = world.folder("srv", {"app.py": program(), STAMP: json.dumps(stamp)})
    environ = {
        "KOYEB_APP_NAME": "acme",
        "KOYEB_SERVICE_NAME": "shop",
        "KOYEB_REGION": "fra",
        "KOYEB_INSTANCE_ID": "3a1bb3d0",
        "KOYEB_REGIONAL_DEPLOYMENT_ID": "3a1bb3d0",
        "KOYEB_GIT_SHA": "a" * 40,
        "KOYEB_GIT_BRANCH": "other",
        "KOYEB_GIT_REPOSITORY": "github.com/acme/other",
    }
    return at(
        *(world, image),
        environ=environ,
        commit=COMMIT,
        branch="release",
        version="1.2.3",
        service="shop",
        region="fra",
        deployment="3a1bb3d0",
    )


@case(TOGETHER, "the variables of the guide before everything")
def _(world):
    environ = {
        "APP_VERSION": "9",
        "APP_ENVIRONMENT": "qa",
        "DEPLOYMENT_ID": "7",
        "REGION": "eu",
        "RENDER": "true",
        "RENDER_SERVICE_NAME": "shop",
        "RENDER_INSTANCE_ID": "a",
    }
    expected = {"version": "9", "environment": "qa", "deployment": "7", "region": "eu"}
    return at(world, world.repository(), environ=environ, service="shop", **expected)


@case(TOGETHER, "a platform that knows a branch, of a commit that git has tagged")
def _(world):
    shop = tagged(world)
    world.git(shop, "checkout", "-q", "--detach")
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": world.head(shop),
        "GITHUB_REF": "refs/heads/release",
        "GITHUB_WORKSPACE": str(shop),
    }
    return at(world, shop, environ=environ, branch="release", tag="v1.0")


@case(TOGETHER, "a platform that knows another branch of the commit than git")
def _(world):
    shop = world.repository()
    environ = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": world.head(shop),
        "GITHUB_REF": "refs/heads/release",
        "GITHUB_WORKSPACE": str(shop),
    }
    return at(world, shop, environ=environ, branch="main")


# --- When ----------------------------------------------------------------------------------------

_GIT = """
import subprocess
def git(*arguments):
    names = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    subprocess.run(["git", *names, *arguments], check=True, capture_output=True)
"""
AFTER = "the program changes its repository while it runs"
IN_TIME = any_of(None, *[False])


def _later(title, change, first="import otel_mlflow_context.detectors", facts=None, **expected):
    """A program that loads something, and then its repository is changed."""

    @case(TIME, title)
    def _(world):
        # The last lines of the program find out about it.
        code = program(f"{first}\n{_GIT}\n{change}", **({"facts": facts} if facts else {}))
        shop = world.repository()
        imported = "from otel_mlflow_context.detectors import detect_resource\n"
        world.commit(
            shop,
            {"app.py": code.replace(imported, "", 1).replace("report(d", f"{imported}report(d")},
        )
        right = {
            "commit": world.head(shop),
            "branch": "main",
            "tag": None,
            "dirty": IN_TIME,
            "url": URL,
        }
        return at(world, shop, show=AFTER, name="app.py", **right | expected)


_COMMITS = "git('commit', '--allow-empty', '-m', 'later')"
_later("a commit after the detectors were imported", _COMMITS)
_later(
    "a commit after a detector was imported",
    _COMMITS,
    "from otel_mlflow_context import GitResourceDetector",
)
_later(
    "a commit after the processor was imported",
    _COMMITS,
    "from otel_mlflow_context import MlflowContextSpanProcessor",
)
_later(
    "a commit after the instrumentor was imported",
    _COMMITS,
    "from otel_mlflow_context import MlflowContextInstrumentor",
)
_later(
    "a commit after the facts were found",
    _COMMITS,
    "from otel_mlflow_context.detectors import detect_resource\ndetect_resource()",
)
_later(
    "a commit of a change after the facts were found",
    "open('README', 'w').write('x'); git('commit', '-am', 'x')",
    "from otel_mlflow_context.detectors import detect_resource\ndetect_resource()",
)
_later("another branch after the detectors were imported", "git('checkout', '-b', 'other')")
_later("a detached HEAD after the detectors were imported", "git('checkout', '--detach')")
_later("an older commit after the detectors were imported", "git('checkout', 'HEAD~1')")
_later(
    "an amended commit after the detectors were imported",
    "git('commit', '--amend', '-m', 'amended')",
)
_later("a tag after the detectors were imported", "git('tag', 'v9')")
_later(
    "a new remote after the detectors were imported",
    "git('remote', 'set-url', 'origin', 'https://github.com/ada/other')",
)
_later("a change after the detectors were imported", "open('README', 'w').write('changed')")
_later("a deletion after the detectors were imported", "os.remove('pkg/job.py')")
_later("a staged change after the detectors were imported", "git('rm', '--cached', 'README')")
_later("refs packed after the detectors were imported", "git('pack-refs', '--all'); git('gc')")
_later(
    "a new remote after the facts were found",
    "git('remote', 'set-url', 'origin', 'https://github.com/ada/other')",
    "from otel_mlflow_context.detectors import detect_resource\ndetect_resource()",
)
_later(
    "a repository that is gone after the facts were found",
    "import shutil; shutil.rmtree('.git')",
    "from otel_mlflow_context.detectors import detect_resource\ndetect_resource()",
)
_later("another working directory after the detectors were imported", "os.chdir('/')")
_later("a forked process, after a commit", f"{_COMMITS}\nif os.fork(): os.wait(); os._exit(0)")
_later(
    "a span processor, after a commit",
    f"{_COMMITS}\n{OF_A_SPAN}",
    "import otel_mlflow_context.detectors",
    "{'metadata': dict(span.attributes)}",
)


@case(TIME, "a commit before anything was imported")
def _(world):
    shop = world.repository()
    world.commit(shop, {"app.py": f"import os\n{_GIT}\n{_COMMITS}\n{program()}"})
    return at(world, shop, show=AFTER)


@case(TIME, "a tag after the facts were found")
def _(world):
    before = "first = dict(detect_resource().attributes)\n" + _GIT + "git('tag', 'v9')"
    shop = world.repository()
    world.commit(shop, {"app.py": program(before)})
    return at(world, shop, show=AFTER, tag=None)


@case(TIME, "a change after the facts were found")
def _(world):
    before = "first = dict(detect_resource().attributes)\nopen('README', 'w').write('changed')"
    shop = world.repository()
    world.commit(shop, {"app.py": program(before)})
    return at(world, shop, show=AFTER, dirty=IN_TIME)


@case(TIME, "a change before anything was imported")
def _(world):
    shop = world.repository()
    world.commit(shop, {"app.py": f"open('README', 'w').write('changed')\n{program()}"})
    return at(world, shop, show=AFTER, dirty=True)


_SLOW = """#!/bin/sh
case "$1" in version) echo git version 2.39.5; exit 0;; esac
sleep 20
"""
_TIMED = """\
(lambda start: dict(detect_resource().attributes)
 | ({"service.name": "late"} if __import__("time").monotonic() - start > 2.5 else {}))(
    __import__("time").monotonic())"""
HANGS = {"dirty": "git does not answer"}


@case(TIME, "a git that hangs, but for its version")
def _(world):
    write(world.root, {"bin/git": _SLOW})
    (world.root / "bin" / "git").chmod(0o755)
    shop = world.repository()
    world.commit(shop, {"app.py": program(facts=_TIMED)})
    environ = {"PATH": f"{world.root / 'bin'}:{world.environ['PATH']}"}
    return at(world, shop, environ=environ, absent=HANGS, show="it would hang too")


@case(TIME, "a git that hangs")
def _(world):
    write(world.root, {"bin/git": "#!/bin/sh\nsleep 20\n"})
    (world.root / "bin" / "git").chmod(0o755)
    shop = world.repository()
    world.commit(shop, {"app.py": program(facts=_TIMED)})
    environ = {"PATH": f"{world.root / 'bin'}:{world.environ['PATH']}"}
    return at(world, shop, environ=environ, absent=HANGS, show="it would hang too")


@case(TIME, "a git whose later calls hang")
def _(world):
    # It answers once, and then only if it is asked for its version.
    calls = world.root / "calls"
    lines = (
        f"echo >> {calls}",
        f"test $(wc -l < {calls}) -gt 1 && sleep 20",
        'test "$1" = version || sleep 20',
        "echo git version 2.39.5",
    )
    script = "\n".join(["#!/bin/sh", *lines, ""])
    write(world.root, {"bin/git": script})
    (world.root / "bin" / "git").chmod(0o755)
    shop = world.repository()
    world.commit(shop, {"app.py": program(facts=_TIMED)})
    environ = {"PATH": f"{world.root / 'bin'}:{world.environ['PATH']}"}
    return at(world, shop, environ=environ, absent=HANGS, show="it would hang too")
