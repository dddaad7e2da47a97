"""Changes: the commit is the head that somebody wrote, not a merge that the platform made."""

from __future__ import annotations

import json

from detectors.truth.case import any_of, case
from detectors.truth.world import write

KIND = "pull requests"
HUB = "https://github.com/acme/shop"
GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_REF": "refs/pull/5/merge",
    "GITHUB_REF_NAME": "5/merge",
    "GITHUB_HEAD_REF": "feature",
    "GITHUB_BASE_REF": "main",
}


class Change:
    """A repository with a branch `feature` that was begun at main~1."""

    def __init__(self, world):
        self.world = world
        self.shop = world.repository()
        self._git("checkout", "-q", "-b", "feature")
        self.head = world.commit(self.shop, {"feature": ""})
        self._git("checkout", "-q", "main")
        self.base = world.commit(self.shop, {"meanwhile": ""})
        self._git("update-ref", "refs/remotes/origin/main", "main")

    def _git(self, *arguments):
        self.world.git(self.shop, *arguments)

    def merged_into_base(self):
        """As GitHub, Azure, GitLab and Travis make it: the head is the second parent."""
        self._git("checkout", "-q", "--detach", "main")
        self._git("merge", "-q", "--no-ff", "-m", "merge", "feature")
        return self.world.head(self.shop)

    def base_merged_into_head(self):
        """As Bitbucket and Jenkins make it: the head is the first parent."""
        self._git("checkout", "-q", "--detach", "feature")
        self._git("merge", "-q", "--no-ff", "-m", "merge", "main")
        return self.world.head(self.shop)

    def at_head(self):
        self._git("checkout", "-q", "--detach", "feature")
        return self.head

    def packed(self):
        """All objects are in a pack, as after a fetch of many."""
        self._git("repack", "-a", "-d", "-q")
        self._git("prune-packed")

    def start(self, environ, folder=None, **expected):
        right = {"commit": self.head, "branch": "feature", "change": "5", "dirty": False}
        return self.world.start(
            "python",
            "app.py",
            cwd=folder or self.shop,
            environ=environ,
            dirty_check=True,
            **right | expected,
        )


def event(world, head):
    """The file with the event of GitHub Actions."""
    text = json.dumps({"pull_request": {"head": {"sha": head, "ref": "feature"}}})
    write(world.root, {"event.json": text})
    return {"GITHUB_EVENT_PATH": str(world.root / "event.json")}


@case(KIND, "GitHub")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    environ = GITHUB | event(world, change.head)
    environ |= {"GITHUB_SHA": merge, "GITHUB_WORKSPACE": str(change.shop)}
    return change.start(environ)


@case(KIND, "GitHub, without the event")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    return change.start(GITHUB | {"GITHUB_SHA": merge, "GITHUB_WORKSPACE": str(change.shop)})


@case(KIND, "GitHub, without the event, its objects in a pack")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    change.packed()
    return change.start(GITHUB | {"GITHUB_SHA": merge, "GITHUB_WORKSPACE": str(change.shop)})


@case(KIND, "GitHub, a shallow checkout")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    world.git(change.shop, "update-ref", "refs/pull/5/merge", merge)
    copy = world.folder("copy")
    world.git(copy, "init", "-q")
    world.git(copy, "remote", "add", "origin", f"{HUB}.git")
    world.git(copy, "fetch", "-q", "--depth=1", f"file://{change.shop}", "refs/pull/5/merge")
    world.git(copy, "checkout", "-q", "FETCH_HEAD")
    environ = GITHUB | event(world, change.head)
    environ |= {"GITHUB_SHA": merge, "GITHUB_WORKSPACE": str(copy)}
    return change.start(environ, copy)


@case(KIND, "GitHub, its head checked out")
def _(world):
    change = Change(world)
    change.at_head()
    environ = GITHUB | event(world, change.head)
    environ |= {"GITHUB_SHA": "f" * 40, "GITHUB_WORKSPACE": str(change.shop)}
    return change.start(environ)


@case(KIND, "GitHub, another branch checked out")
def _(world):
    change = Change(world)
    environ = GITHUB | event(world, change.head)
    environ |= {"GITHUB_SHA": "f" * 40, "GITHUB_WORKSPACE": str(change.shop)}
    return change.start(environ, commit=change.base, branch="main", change=None)


@case(KIND, "GitHub, pull_request_target")
def _(world):
    change = Change(world)
    world.git(change.shop, "checkout", "-q", "--detach", "main")
    environ = GITHUB | event(world, change.head)
    environ |= {
        "GITHUB_SHA": change.base,
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REF_NAME": "main",
        "GITHUB_WORKSPACE": str(change.shop),
    }
    return change.start(environ, commit=change.base, branch="main", change=None)


@case(KIND, "GitHub, a merge that was pushed")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    environ = GITHUB | {
        "GITHUB_SHA": merge,
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REF_NAME": "main",
        "GITHUB_HEAD_REF": "",
        "GITHUB_BASE_REF": "",
        "GITHUB_WORKSPACE": str(change.shop),
    }
    return change.start(environ, commit=merge, branch="main", change=None)


@case(KIND, "GitHub, with uncommitted changes")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    write(change.shop, {"README": "changed\n"})
    environ = GITHUB | event(world, change.head)
    environ |= {"GITHUB_SHA": merge, "GITHUB_WORKSPACE": str(change.shop)}
    return change.start(environ, dirty=True)


@case(KIND, "GitHub, a tool of another repository")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    tools = world.repository("tools")
    environ = GITHUB | event(world, change.head)
    environ |= {"GITHUB_SHA": merge, "GITHUB_WORKSPACE": str(change.shop)}
    return change.start(environ, tools, commit=world.head(tools), branch="main", change=None)


@case(KIND, "GitLab, merged results")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    return change.start(
        {
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": merge,
            "CI_MERGE_REQUEST_IID": "5",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": change.head,
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_PROJECT_URL": HUB,
            "CI_PROJECT_DIR": str(change.shop),
        }
    )


@case(KIND, "GitLab, a detached pipeline")
def _(world):
    change = Change(world)
    change.at_head()
    return change.start(
        {
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": change.head,
            "CI_MERGE_REQUEST_IID": "5",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature",
            "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "",
            "CI_PROJECT_URL": HUB,
            "CI_PROJECT_DIR": str(change.shop),
        }
    )


@case(KIND, "Azure")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    return change.start(
        {
            "TF_BUILD": "True",
            "BUILD_SOURCEVERSION": merge,
            "BUILD_SOURCEBRANCH": "refs/pull/5/merge",
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "5",
            "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/feature",
            "SYSTEM_PULLREQUEST_SOURCECOMMITID": change.head,
            "BUILD_SOURCESDIRECTORY": str(change.shop),
        }
    )


@case(KIND, "Travis")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    return change.start(
        {
            "TRAVIS": "true",
            "TRAVIS_COMMIT": merge,
            "TRAVIS_BRANCH": "main",
            "TRAVIS_PULL_REQUEST": "5",
            "TRAVIS_PULL_REQUEST_BRANCH": "feature",
            "TRAVIS_PULL_REQUEST_SHA": change.head,
            "TRAVIS_BUILD_DIR": str(change.shop),
        }
    )


@case(KIND, "AppVeyor")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    return change.start(
        {
            "APPVEYOR": "True",
            "APPVEYOR_PULL_REQUEST_NUMBER": "5",
            "APPVEYOR_PULL_REQUEST_HEAD_COMMIT": change.head,
            "APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH": "feature",
            "APPVEYOR_REPO_BRANCH": "main",
            "APPVEYOR_REPO_COMMIT": merge,
            "APPVEYOR_BUILD_FOLDER": str(change.shop),
        }
    )


BITBUCKET = {
    "BITBUCKET_BUILD_NUMBER": "42",
    "BITBUCKET_BRANCH": "feature",
    "BITBUCKET_PR_ID": "5",
    "BITBUCKET_PR_DESTINATION_BRANCH": "main",
    "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/acme/shop",
}


@case(KIND, "Bitbucket")
def _(world):
    change = Change(world)
    change.base_merged_into_head()
    environ = {"BITBUCKET_COMMIT": change.head, "BITBUCKET_CLONE_DIR": str(change.shop)}
    return change.start(BITBUCKET | environ)


@case(KIND, "Bitbucket, with the destination's commit")
def _(world):
    change = Change(world)
    change.base_merged_into_head()
    return change.start(
        BITBUCKET
        | {
            "BITBUCKET_COMMIT": change.head[:12],
            "BITBUCKET_PR_DESTINATION_COMMIT": change.base[:12],
            "BITBUCKET_CLONE_DIR": str(change.shop),
        },
        commit=any_of(change.head, change.head[:12]),
    )


@case(KIND, "Bitbucket, nothing to merge")
def _(world):
    change = Change(world)
    world.git(change.shop, "checkout", "-q", "feature")
    environ = {"BITBUCKET_COMMIT": change.head, "BITBUCKET_CLONE_DIR": str(change.shop)}
    return change.start(BITBUCKET | environ)


DRONE = {
    "DRONE": "true",
    "DRONE_BRANCH": "main",
    "DRONE_TARGET_BRANCH": "main",
    "DRONE_SOURCE_BRANCH": "feature",
    "DRONE_PULL_REQUEST": "5",
    "DRONE_REPO_LINK": HUB,
    "DRONE_COMMIT_REF": "refs/pull/5/head",
}


@case(KIND, "Drone")
def _(world):
    # Its clone step merges the head into the branch that the change goes into.
    change = Change(world)
    world.git(change.shop, "merge", "-q", "--no-ff", "-m", "merge", "feature")
    environ = {"DRONE_COMMIT_SHA": change.head, "DRONE_WORKSPACE": str(change.shop)}
    return change.start(DRONE | environ)


@case(KIND, "Drone, the commit of the change after its commit")
def _(world):
    change = Change(world)
    change.at_head()
    environ = {"DRONE_COMMIT_SHA": change.head, "DRONE_WORKSPACE": str(change.shop)}
    return change.start(DRONE | environ)


JENKINS = {
    "JENKINS_URL": "https://jenkins.example.com/",
    "BRANCH_NAME": "PR-5",
    "GIT_BRANCH": "PR-5",
    "CHANGE_ID": "5",
    "CHANGE_BRANCH": "feature",
    "CHANGE_TARGET": "main",
    "CHANGE_URL": "https://github.com/acme/shop/pull/5",
}


@case(KIND, "Jenkins, merged by itself, the variable names the head")
def _(world):
    change = Change(world)
    change.base_merged_into_head()
    environ = {"GIT_COMMIT": change.head, "WORKSPACE": str(change.shop)}
    return change.start(JENKINS | environ)


@case(KIND, "Jenkins, merged by GitHub, the variable names the merge")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    return change.start(JENKINS | {"GIT_COMMIT": merge, "WORKSPACE": str(change.shop)})


@case(KIND, "Jenkins, merged by GitHub, its objects in a pack")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    change.packed()
    return change.start(JENKINS | {"GIT_COMMIT": merge, "WORKSPACE": str(change.shop)})


@case(KIND, "Jenkins, its head checked out, its objects in a pack")
def _(world):
    change = Change(world)
    change.at_head()
    change.packed()
    return change.start(JENKINS | {"GIT_COMMIT": change.head, "WORKSPACE": str(change.shop)})


@case(KIND, "Jenkins, merged by itself, the variable names the merge")
def _(world):
    change = Change(world)
    merge = change.base_merged_into_head()
    return change.start(
        JENKINS | {"GIT_COMMIT": merge, "WORKSPACE": str(change.shop)},
        commit=any_of(change.head, None),
        branch=any_of("feature", None),
        dirty=any_of(change.shop.is_file(), None),
    )


@case(KIND, "Jenkins, its head checked out")
def _(world):
    change = Change(world)
    change.at_head()
    return change.start(JENKINS | {"GIT_COMMIT": change.head, "WORKSPACE": str(change.shop)})


@case(KIND, "CircleCI")
def _(world):
    change = Change(world)
    change.at_head()
    return change.start(
        {
            "CIRCLECI": "true",
            "CIRCLE_SHA1": change.head,
            "CIRCLE_BRANCH": "feature",
            "CIRCLE_PULL_REQUEST": f"{HUB}/pull/5",
            "CIRCLE_WORKING_DIRECTORY": str(change.shop),
        }
    )


@case(KIND, "Buildkite")
def _(world):
    change = Change(world)
    change.at_head()
    return change.start(
        {
            "BUILDKITE": "true",
            "BUILDKITE_COMMIT": change.head,
            "BUILDKITE_BRANCH": "feature",
            "BUILDKITE_PULL_REQUEST": "5",
            "BUILDKITE_PULL_REQUEST_BASE_BRANCH": "main",
            "BUILDKITE_BUILD_CHECKOUT_PATH": str(change.shop),
        }
    )


@case(KIND, "Netlify")
def _(world):
    change = Change(world)
    change.at_head()
    return change.start(
        {
            "NETLIFY": "true",
            "CONTEXT": "deploy-preview",
            "PULL_REQUEST": "true",
            "REVIEW_ID": "5",
            "COMMIT_REF": change.head,
            "BRANCH": "pull/5/head",
            "HEAD": "feature",
        },
        environment="deploy-preview",
    )


@case(KIND, "no platform, a merge of somebody's")
def _(world):
    change = Change(world)
    merge = change.merged_into_base()
    return change.start({}, commit=merge, branch=None, change=None)
