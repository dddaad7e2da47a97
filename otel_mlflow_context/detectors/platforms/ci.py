"""CI systems, which build the program, in the format that `lookup` describes."""

from __future__ import annotations

from typing import Final

CI: Final = """\
GitHub Actions  https://docs.github.com/en/actions/reference/workflows-and-actions/variables
    # A merge of the pull request is checked out; only the event knows its head. For
    # `pull_request_target` the head is named too, but the base is what runs.
    known by          GITHUB_ACTIONS=true
    workspace         GITHUB_WORKSPACE
    head of merge     second
    commit            GITHUB_SHA
    commit of change  {GITHUB_EVENT_PATH|head_in_event}
    branch            GITHUB_REF:refs/heads/
    branch of change  GITHUB_HEAD_REF
    tag               GITHUB_REF:refs/tags/
    repository        {GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}
    change            GITHUB_REF
GitLab CI/CD  https://docs.gitlab.com/ci/variables/predefined_variables/
    # CI_MERGE_REQUEST_SOURCE_BRANCH_SHA is set in merged results pipelines only.
    # CI_REPOSITORY_URL holds a token.
    known by          GITLAB_CI=true
    workspace         CI_PROJECT_DIR
    commit            CI_COMMIT_SHA
    commit of change  CI_MERGE_REQUEST_SOURCE_BRANCH_SHA
    branch            CI_MERGE_REQUEST_SOURCE_BRANCH_NAME
    branch            CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME CI_COMMIT_BRANCH
    tag               CI_COMMIT_TAG
    repository        CI_PROJECT_URL
    change            CI_MERGE_REQUEST_IID CI_EXTERNAL_PULL_REQUEST_IID
    environment       CI_ENVIRONMENT_NAME
Azure Pipelines  https://learn.microsoft.com/azure/devops/pipelines/build/variables
    # A pull request at GitHub has a number of its own beside the id.
    known by          TF_BUILD=true
    workspace         BUILD_SOURCESDIRECTORY
    commit            BUILD_SOURCEVERSION
    commit of change  SYSTEM_PULLREQUEST_SOURCECOMMITID
    branch            BUILD_SOURCEBRANCH:refs/heads/
    branch of change  SYSTEM_PULLREQUEST_SOURCEBRANCH
    tag               BUILD_SOURCEBRANCH:refs/tags/
    repository        BUILD_REPOSITORY_URI
    change            SYSTEM_PULLREQUEST_PULLREQUESTNUMBER SYSTEM_PULLREQUEST_PULLREQUESTID
    environment       ENVIRONMENT_NAME
Bitbucket Pipelines  https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/
    known by          BITBUCKET_BUILD_NUMBER
    workspace         BITBUCKET_CLONE_DIR
    commit            BITBUCKET_COMMIT
    branch            BITBUCKET_BRANCH
    tag               BITBUCKET_TAG
    repository        BITBUCKET_GIT_HTTP_ORIGIN
    change            BITBUCKET_PR_ID
    environment       BITBUCKET_DEPLOYMENT_ENVIRONMENT
Buildkite  https://buildkite.com/docs/pipelines/configure/environment-variables
    # The commit may be HEAD, and the branch of a tag's build is the tag.
    known by          BUILDKITE=true
    workspace         BUILDKITE_BUILD_CHECKOUT_PATH
    commit            BUILDKITE_COMMIT
    branch            BUILDKITE_BRANCH
    tag               BUILDKITE_TAG
    repository        BUILDKITE_REPO
    change            BUILDKITE_PULL_REQUEST
CircleCI  https://circleci.com/docs/reference/variables/
    # The number is there for pull requests from forks only, the URL for all.
    known by          CIRCLECI=true
    workspace         CIRCLE_WORKING_DIRECTORY
    commit            CIRCLE_SHA1
    branch            CIRCLE_BRANCH
    tag               CIRCLE_TAG
    repository        CIRCLE_REPOSITORY_URL
    change            CIRCLE_PR_NUMBER CIRCLE_PULL_REQUEST
Jenkins  https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
    # GIT_* are the git plugin's (https://plugins.jenkins.io/git/), the others those of a
    # multibranch project, where the branch is PR-5 in a change. It merges the target into
    # the head, GitHub the head into the target; both are checked out by the same variables.
    known by          JENKINS_URL
    workspace         WORKSPACE
    head of merge     beside CHANGE_TARGET
    commit            GIT_COMMIT
    branch            BRANCH_NAME GIT_LOCAL_BRANCH GIT_BRANCH:origin/ GIT_BRANCH
    branch of change  CHANGE_BRANCH
    tag               TAG_NAME
    repository        GIT_URL
    change            CHANGE_ID
Travis CI  https://docs.travis-ci.com/user/environment-variables/
    # TRAVIS_REPO_SLUG leaves open at which host the repository is.
    known by          TRAVIS=true
    workspace         TRAVIS_BUILD_DIR
    commit            TRAVIS_COMMIT
    commit of change  TRAVIS_PULL_REQUEST_SHA
    branch            TRAVIS_BRANCH
    branch of change  TRAVIS_PULL_REQUEST_BRANCH
    tag               TRAVIS_TAG
    change            TRAVIS_PULL_REQUEST
AppVeyor  https://www.appveyor.com/docs/environment-variables/
    known by          APPVEYOR=true
    workspace         APPVEYOR_BUILD_FOLDER
    commit            APPVEYOR_REPO_COMMIT
    commit of change  APPVEYOR_PULL_REQUEST_HEAD_COMMIT
    branch            APPVEYOR_REPO_BRANCH
    branch of change  APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH
    tag               APPVEYOR_REPO_TAG_NAME
    repository        https://{APPVEYOR_REPO_PROVIDER|host}/{APPVEYOR_REPO_NAME}
    change            APPVEYOR_PULL_REQUEST_NUMBER
Bitrise  https://docs.bitrise.io/en/bitrise-ci/references/available-environment-variables.html
    # The commit is there where a webhook told it, else after the step that clones.
    known by          BITRISE_IO=true
    workspace         BITRISE_SOURCE_DIR
    commit            BITRISE_GIT_COMMIT GIT_CLONE_COMMIT_HASH
    branch            BITRISE_GIT_BRANCH
    tag               BITRISE_GIT_TAG
    repository        GIT_REPOSITORY_URL
    change            BITRISE_PULL_REQUEST
Buddy  https://buddy.works/docs/pipelines/variables/default-variables
    # BUDDY_EXECUTION_* are the older names of BUDDY_RUN_*.
    known by          BUDDY=true
    commit            BUDDY_RUN_COMMIT BUDDY_EXECUTION_REVISION
    branch            BUDDY_RUN_PR_HEAD_BRANCH BUDDY_EXECUTION_PULL_REQUEST_HEAD_BRANCH
    branch            BUDDY_RUN_BRANCH BUDDY_EXECUTION_BRANCH
    tag               BUDDY_EXECUTION_TAG
    repository        BUDDY_SCM_URL
    change            BUDDY_RUN_PR_NO BUDDY_EXECUTION_PULL_REQUEST_NO
Drone  https://docs.drone.io/pipeline/environment/reference/
    # DRONE_BRANCH is the target of a pull request.
    known by          DRONE=true
    workspace         DRONE_WORKSPACE
    commit            DRONE_COMMIT_SHA
    branch            DRONE_SOURCE_BRANCH DRONE_BRANCH
    branch of change  DRONE_SOURCE_BRANCH
    tag               DRONE_TAG
    repository        DRONE_REPO_LINK DRONE_GIT_HTTP_URL
    change            DRONE_PULL_REQUEST
    environment       DRONE_DEPLOY_TO
AWS CodeBuild  https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
    # From CodePipeline, the source may be in S3: then there is no commit and no repository.
    known by          CODEBUILD_BUILD_ID
    workspace         CODEBUILD_SRC_DIR
    commit            CODEBUILD_RESOLVED_SOURCE_VERSION
    branch            CODEBUILD_WEBHOOK_HEAD_REF:refs/heads/
    tag               CODEBUILD_WEBHOOK_HEAD_REF:refs/tags/
    repository        CODEBUILD_SOURCE_REPO_URL
    change            CODEBUILD_WEBHOOK_TRIGGER
    region            AWS_REGION
    cloud             aws
TeamCity  https://www.jetbrains.com/help/teamcity/predefined-build-parameters.html
    # The branch is known only to the server, unless a build parameter passes it on.
    known by          TEAMCITY_VERSION
    commit            BUILD_VCS_NUMBER
Codefresh  https://codefresh.io/docs/docs/pipelines/variables/
    known by          CF_BUILD_ID
    commit            CF_REVISION
    branch or tag     CF_BRANCH
    tag               CF_RELEASE_TAG
    change            CF_PULL_REQUEST_NUMBER
Netlify  https://docs.netlify.com/build/configure-builds/environment-variables/
    # Here because Python runs there in builds only. In a preview BRANCH is pull/5/head. The
    # URL of the repository may hold a token, which does not get past `browsable_url`.
    known by          NETLIFY=true
    commit            COMMIT_REF
    branch            HEAD BRANCH
    repository        REPOSITORY_URL
    change            REVIEW_ID
    environment       CONTEXT
    deployment        DEPLOY_ID
    service           SITE_NAME
"""
