import os
import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_mlflow_context.detectors.repository.config import parse_config, remote_urls
from otel_mlflow_context.detectors.repository.discovery import find_repository
from otel_mlflow_context.detectors.repository.files import RepositoryError
from otel_mlflow_context.detectors.repository.refs import Head, read_head

ID = "0123456789abcdef0123456789abcdef01234567"


def head_of(directory):
    return read_head(find_repository(directory))


# --- What is checked out ---------------------------------------------------------------------


def test_a_branch(git, shop):
    assert head_of(shop) == ("main", git(shop, "rev-parse", "HEAD"))


def test_a_branch_with_slashes_and_letters_of_any_language(git, shop):
    git(shop, "checkout", "-q", "-b", "feature/größe")
    assert head_of(shop) == ("feature/größe", git(shop, "rev-parse", "HEAD"))


def test_a_detached_head_has_a_commit_and_no_branch(git, shop):
    git(shop, "checkout", "-q", "--detach")
    assert head_of(shop) == (None, git(shop, "rev-parse", "HEAD"))


def test_an_unborn_branch_has_no_commit(git, tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    assert head_of(tmp_path) == ("main", None)


def test_packed_refs(git, shop):
    git(shop, "branch", "another")
    git(shop, "tag", "-a", "-m", "annotated", "v1")
    git(shop, "pack-refs", "--all")
    assert not (shop / ".git" / "refs" / "heads" / "main").exists()
    assert head_of(shop) == ("main", git(shop, "rev-parse", "HEAD"))


def test_a_loose_ref_wins_over_a_packed_one(git, shop):
    git(shop, "pack-refs", "--all")
    packed = git(shop, "rev-parse", "HEAD")
    git(shop, "commit", "-q", "--allow-empty", "-m", "second")
    assert head_of(shop).commit == git(shop, "rev-parse", "HEAD") != packed


def test_a_packed_ref_under_a_folder_of_its_name(git, shop):
    git(shop, "pack-refs", "--all")
    (shop / ".git" / "refs" / "heads" / "main").mkdir()
    assert head_of(shop).commit == git(shop, "rev-parse", "HEAD")


def test_a_packed_ref_is_not_taken_for_one_of_the_same_end(git, shop):
    git(shop, "branch", "x/main")
    git(shop, "commit", "-q", "--allow-empty", "-m", "second")
    git(shop, "pack-refs", "--all")
    assert head_of(shop).commit == git(shop, "rev-parse", "HEAD")


def test_chained_symbolic_refs_end_at_the_branch_that_git_names(git, shop):
    git(shop, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(shop, "symbolic-ref", "HEAD", "refs/heads/alias")
    assert head_of(shop) == (
        git(shop, "branch", "--show-current"),
        git(shop, "rev-parse", "HEAD"),
    )


def test_a_worktree_has_its_own_branch(git, shop, tmp_path):
    worktree = tmp_path / "worktree"
    git(shop, "worktree", "add", "-q", "-b", "other", str(worktree))
    git(worktree, "commit", "-q", "--allow-empty", "-m", "second")
    assert head_of(worktree / "app") == ("other", git(worktree, "rev-parse", "HEAD"))
    assert head_of(shop).commit != git(worktree, "rev-parse", "HEAD")


def test_a_worktree_whose_refs_are_packed(git, shop, tmp_path):
    worktree = tmp_path / "worktree"
    git(shop, "worktree", "add", "-q", "-b", "other", str(worktree))
    git(shop, "pack-refs", "--all")
    assert head_of(worktree) == ("other", git(worktree, "rev-parse", "HEAD"))


def test_a_submodule_speaks_for_itself(git, shop, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    add = ("submodule", "--quiet", "add", str(shop), "lib")
    git(outer, "-c", "protocol.file.allow=always", *add)
    assert head_of(outer / "lib" / "app") == ("main", git(shop, "rev-parse", "HEAD"))


def test_a_shallow_clone(git, shop, tmp_path):
    git(shop, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth", "1", shop.as_uri(), "shallow")
    assert head_of(tmp_path / "shallow") == ("main", git(shop, "rev-parse", "HEAD"))


def test_a_sha256_repository(git, tmp_path):
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    assert len(head_of(tmp_path).commit) == 64
    git(tmp_path, "pack-refs", "--all")
    assert head_of(tmp_path) == ("main", git(tmp_path, "rev-parse", "HEAD"))


def test_a_repository_of_somebody_else(git, shop):
    commit = git(shop, "rev-parse", "HEAD")
    if os.getuid() != 0:
        pytest.skip("only root can give a repository away")
    for path in (shop, *shop.rglob("*")):
        os.chown(path, 4_242, 4_242)
    assert head_of(shop / "app") == ("main", commit)


def test_no_git_on_the_path(git, shop, monkeypatch):
    commit = git(shop, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "")
    assert head_of(shop) == ("main", commit)


# --- Which repository ------------------------------------------------------------------------


def test_a_folder_deep_in_the_repository(shop):
    deep = shop / "app" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert find_repository(deep).root == shop


def test_the_nearest_repository_counts(git, shop):
    inner = shop / "app" / "inner"
    inner.mkdir()
    git(inner, "init", "-q", "-b", "inner")
    assert find_repository(inner).root == inner


def test_a_symlink_leads_to_the_repository_that_holds_the_code(shop, tmp_path):
    (tmp_path / "current").symlink_to(shop / "app")
    assert find_repository(tmp_path / "current").root == shop


def test_a_repository_that_a_variable_names(git, shop, tmp_path, monkeypatch):
    commit = git(shop, "rev-parse", "HEAD")
    (shop / ".git").rename(tmp_path / "store")
    assert find_repository(shop) is None
    monkeypatch.setenv("GIT_DIR", "../store")
    monkeypatch.chdir(shop)
    repository = find_repository(shop / "app")
    assert (repository.root, repository.git_dir) == (shop, tmp_path / "store")
    assert read_head(repository).commit == commit


def test_code_that_a_bare_repository_s_hook_has_checked_out(git, shop, tmp_path, monkeypatch):
    git(tmp_path, "clone", "-q", "--bare", str(shop), "shop.git")
    live = tmp_path / "live"
    live.mkdir()
    commit = git(shop, "rev-parse", "HEAD")
    git(tmp_path, "--git-dir=shop.git", f"--work-tree={live}", "checkout", "-q", "-f", "main")
    monkeypatch.chdir(tmp_path / "shop.git")
    monkeypatch.setenv("GIT_DIR", ".")
    assert find_repository(live / "app") is None  # nobody says that it belongs there
    monkeypatch.setenv("GIT_WORK_TREE", str(live))
    assert head_of(live / "app") == ("main", commit)


def test_another_program_s_repository_in_a_variable(git, shop, tmp_path, monkeypatch):
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert find_repository(shop / "app").git_dir == shop / ".git"


@pytest.mark.parametrize("value", ["gone", "app", "nul\\0"])
def test_a_variable_that_names_no_repository(shop, monkeypatch, value):
    monkeypatch.chdir(shop)
    monkeypatch.setenv("GIT_DIR", value)
    assert find_repository(shop).git_dir == shop / ".git"


def test_a_bare_repository_has_no_code(git, shop, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(shop), "shop.git")
    assert find_repository(tmp_path / "shop.git") is None
    assert find_repository(tmp_path / "shop.git" / "hooks") is None


def test_worktrees_around_a_bare_repository(git, shop, tmp_path):
    project = tmp_path / "project"
    git(tmp_path, "clone", "-q", "--bare", str(shop), str(project / ".bare"))
    (project / ".git").write_text("gitdir: ./.bare\n")
    git(project, "worktree", "add", "-q", "main")
    assert head_of(project / "main") == ("main", git(shop, "rev-parse", "HEAD"))
    assert find_repository(project) is None


def test_no_repository(tmp_path):
    assert find_repository(tmp_path) is None


def test_an_empty_git_folder_is_no_repository(shop):
    (shop / "app" / ".git").mkdir()
    assert find_repository(shop / "app").root == shop


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_an_installation_inside_the_checkout_is_not_its_code(git, shop, folder):
    installed = shop / "app" / folder / "tool"
    installed.mkdir(parents=True)
    (installed / "cli.py").touch()
    git(shop, "add", ".")
    assert find_repository(installed) is None


def test_a_virtual_environment_inside_the_checkout_is_not_its_code(shop):
    environment = shop / "app" / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    assert find_repository(environment) is None
    assert find_repository(environment / "bin") is None


def test_a_repository_at_the_top_of_a_virtual_environment_is_its_own(shop):
    (shop / "pyvenv.cfg").touch()
    assert find_repository(shop / "app").root == shop


def test_a_checkout_inside_an_installation_is_its_own(git, tmp_path):
    checkout = tmp_path / "site-packages" / "tool"
    checkout.mkdir(parents=True)
    git(checkout, "init", "-q")
    assert find_repository(checkout).root == checkout


def test_a_home_folder_with_dotfiles_is_not_the_program_s(git, tmp_path):
    (tmp_path / ".profile").touch()
    (tmp_path / "dot" / "project").mkdir(parents=True)
    (tmp_path / "dot" / "project" / "a").touch()
    (tmp_path / "project" / "app").mkdir(parents=True)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".profile", "dot")
    assert find_repository(tmp_path / "project") is None
    assert find_repository(tmp_path / "project" / "app") is None
    assert find_repository(tmp_path).root == tmp_path


def test_an_ignored_folder_is_not_the_repository_s_code(git, shop):
    (shop / ".gitignore").write_text("build/\n")
    (shop / "build").mkdir()
    git(shop, "add", ".gitignore")
    assert find_repository(shop / "build") is None


def test_a_new_folder_in_a_tracked_one_is_the_project_s(shop):
    (shop / "app" / "new").mkdir()
    assert find_repository(shop / "app" / "new").root == shop


def test_code_that_is_staged_but_not_committed_is_the_project_s(git, tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").touch()
    git(tmp_path, "init", "-q")
    assert find_repository(tmp_path / "app").root == tmp_path  # no index yet
    git(tmp_path, "add", ".")
    assert find_repository(tmp_path / "app").root == tmp_path


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_version_of_the_index_knows_what_is_tracked(git, shop, version):
    git(shop, "update-index", "--index-version", version)
    if version == "3":  # which git only writes when it needs one of its extra bits
        git(shop, "update-index", "--skip-worktree", "app/main.py")
    index = (shop / ".git" / "index").read_bytes()
    assert index[7] == int(version)
    assert find_repository(shop / "app").root == shop


def test_a_path_longer_than_the_index_counts_is_tracked(git, shop):
    long = shop.joinpath("long", *["d" * 200] * 17)
    long.mkdir(parents=True)
    (long / ("f" * 200)).touch()
    if len(str(long)) > 4_000:
        pytest.skip("the temporary folder leaves no room for a path this long")
    git(shop, "add", ".")
    assert find_repository(shop / "long").root == shop


def test_a_split_index_cannot_say_what_is_tracked(git, shop):
    git(shop, "update-index", "--split-index")
    assert find_repository(shop / "app").root == shop


@pytest.mark.parametrize("content", [b"", b"DIRC", b"\xff" * 1_000])
def test_a_broken_index_cannot_say_what_is_tracked(shop, content):
    (shop / ".git" / "index").write_bytes(content)
    assert find_repository(shop / "app").root == shop


def test_an_index_that_is_too_large_cannot_say_what_is_tracked(shop):
    os.truncate(shop / ".git" / "index", 65 << 20)
    (shop / "elsewhere").mkdir()
    assert find_repository(shop / "elsewhere").root == shop


def test_a_large_index_is_searched_in_no_time(git, shop):
    index = (shop / ".git" / "index").read_bytes()
    (shop / ".git" / "index").write_bytes(index + b"elsewhere/" * 6_000_000)
    (shop / "elsewhere").mkdir()
    start = time.process_time()
    find_repository(shop / "elsewhere")
    assert time.process_time() - start < 2


# --- The remote ------------------------------------------------------------------------------


def urls_of(directory):
    repository = find_repository(directory)
    return remote_urls(repository, read_head(repository).branch)


def test_no_remote(shop):
    assert urls_of(shop) == ["origin"]


def test_origin(git, shop):
    git(shop, "remote", "add", "upstream", "https://host/upstream/shop")
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    assert urls_of(shop)[0] == "https://host/acme/shop"


def test_the_only_remote_whatever_its_name(git, shop):
    git(shop, "remote", "add", 'up"stream', "https://host/upstream/shop")
    assert urls_of(shop)[-1] == "https://host/upstream/shop"


def test_none_of_several_remotes_is_as_good_as_another(git, shop):
    git(shop, "remote", "add", "a", "https://host/a/shop")
    git(shop, "remote", "add", "b", "https://host/b/shop")
    assert urls_of(shop) == ["origin"]


def test_the_remote_that_the_branch_follows_comes_first(git, shop):
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    git(shop, "remote", "add", "fork", "https://host/me/shop")
    git(shop, "config", "branch.main.remote", "fork")
    assert urls_of(shop) == ["https://host/me/shop", "https://host/acme/shop"]


def test_a_branch_that_follows_an_address_without_a_name(git, shop):
    git(shop, "config", "branch.main.remote", "https://host/me/shop")
    assert urls_of(shop)[0] == "https://host/me/shop"


def test_a_worktree_has_the_remote_of_its_repository(git, shop, tmp_path):
    git(shop, "remote", "add", "origin", "https://host/acme/shop")
    git(shop, "worktree", "add", "-q", str(tmp_path / "worktree"))
    assert urls_of(tmp_path / "worktree") == ["https://host/acme/shop"]


def test_the_first_of_several_addresses_is_the_one_to_fetch_from(git, shop):
    git(shop, "remote", "add", "origin", "https://host/first")
    git(shop, "remote", "set-url", "--add", "origin", "https://host/second")
    assert urls_of(shop)[0] == git(shop, "remote", "get-url", "origin")


# --- The config's syntax ---------------------------------------------------------------------

CONFIG = r"""
# a comment that ends in a backslash \
; another
[core]
	bare
	bare = false ; why
[Remote "Ori\"gin\\"] URL=one
	url	= "two # no comment"  # a comment
	pushUrl = a\
b "  c  " d \
e	; f \
	escaped = \"x\\y\tz\"
	empty =
[remote.OLD]
	url = old
[remote "last"] ; comment
	url = no end of line"""


def test_the_config_is_read_as_git_reads_it(git, tmp_path):
    for number, text in enumerate((CONFIG, CONFIG.replace("\n", "\r\n"), "\ufeff" + CONFIG)):
        file = tmp_path / f"config-{number}"
        file.write_bytes(text.encode())
        listed = git(tmp_path, "config", "--file", str(file), "--null", "--list")
        # git lists a key without a value, which is of no use here, without a line end.
        expected = [entry for entry in listed.split("\0") if "\n" in entry]
        ours = [
            f"{section}{'.' if subsection else ''}{subsection}.{key}\n{value}"
            for section, subsection, key, value in parse_config(text.removeprefix("\ufeff"))
        ]
        assert ours == expected


@pytest.mark.parametrize(
    "text", ["[", "[remote", '[remote "', "=", "a =", '[a]b="', "[a]b=\\", "\0", "]" * 9, "[a]\nb"]
)
def test_what_is_no_config_is_conflicts(text):
    assert all(value in {"", "\\"} for *_, value in parse_config(text))


@given(st.text('[]"\\=#; \t\r\nab.', max_size=60) | st.text())
def test_no_text_is_too_odd_for_a_config(text):
    list(parse_config(text))


@pytest.mark.parametrize("piece", ["\n", " ", "[", '[a "', "a", "a =", "[a]\nb = \\\n", '"', "\\"])
def test_a_config_of_one_megabyte_takes_no_time(piece):
    start = time.perf_counter()
    list(parse_config(piece * (1_000_000 // len(piece))))
    assert time.perf_counter() - start < 3


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\x00\xff" * 100,
        b"ref:",
        b"ref: ../../../etc/passwd",
        b"ref: refs/heads/../../../../etc/passwd",
        b"ref: /etc/passwd",
        b"ref: refs/heads//etc/passwd",
        b"ref: refs/heads/a\x00b",
        b"ref: refs/heads/.invalid",
        b"ref: HEAD",
        b"0123",
        ID.encode() + b"0",
        ID.upper().encode(),
        b"a" * 100_000,
    ],
)
def test_a_head_that_says_nothing(shop, content):
    (shop / ".git" / "HEAD").write_bytes(content)
    with pytest.raises(RepositoryError):
        head_of(shop)


def test_a_ref_never_leads_out_of_the_repository(shop, tmp_path):
    (tmp_path / "secret").write_text(ID)
    (shop / ".git" / "HEAD").write_text("ref: refs/../../../secret")
    with pytest.raises(RepositoryError, match="not allow"):
        head_of(shop)


def test_a_branch_name_that_is_not_utf8(git, shop):
    commit = git(shop, "rev-parse", "HEAD")
    (shop / ".git" / "HEAD").write_bytes(b"ref: refs/heads/gr\xf6\xdfe\n")
    (shop / ".git" / "packed-refs").write_bytes(commit.encode() + b" refs/heads/gr\xf6\xdfe\n")
    assert head_of(shop).commit == commit


@pytest.mark.parametrize("name", ["HEAD", "config", "packed-refs", "refs/heads/main"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_what_is_not_a_file_is_not_opened(shop, name, kind):
    path = shop / ".git" / name
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path)
    found = find_repository(shop)
    if name == "config":
        with pytest.raises((RepositoryError, OSError)):
            remote_urls(found, "main")
    elif (name, kind) == ("refs/heads/main", "folder"):
        assert read_head(found) == Head("main", None)
    elif name == "packed-refs":
        assert read_head(found).commit  # which is not in there
        (shop / ".git" / "refs" / "heads" / "main").unlink()
        with pytest.raises((RepositoryError, OSError)):
            read_head(found)
    else:
        with pytest.raises((RepositoryError, OSError)):
            read_head(found)


def test_a_pipe_for_a_git_file_is_no_repository(tmp_path):
    os.mkfifo(tmp_path / ".git")
    assert find_repository(tmp_path) is None


@pytest.mark.parametrize(
    "content", [b"", b"gitdir:", b"gitdir: .git", b"gitdir: nowhere", b"gitdir: a\0b", b"\xff" * 99]
)
def test_a_git_file_that_leads_nowhere(tmp_path, content):
    (tmp_path / ".git").write_bytes(content)
    with pytest.raises(RepositoryError):
        find_repository(tmp_path)


def test_git_files_that_lead_to_each_other(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        (tmp_path / one / ".git").write_text(f"gitdir: ../{other}/.git\n")
    with pytest.raises(RepositoryError):
        find_repository(tmp_path / "a")


def test_a_worktree_whose_repository_is_gone(git, shop, tmp_path):
    git(shop, "worktree", "add", "-q", str(tmp_path / "worktree"))
    shutil.rmtree(shop)
    with pytest.raises(RepositoryError):
        find_repository(tmp_path / "worktree")


def test_a_common_folder_that_is_gone(git, shop, tmp_path):
    git(shop, "worktree", "add", "-q", str(tmp_path / "worktree"))
    (shop / ".git" / "worktrees" / "worktree" / "commondir").write_text("nowhere\n")
    with pytest.raises(RepositoryError):
        find_repository(tmp_path / "worktree")


def test_a_loop_of_symbolic_refs_ends(shop):
    heads = shop / ".git" / "refs" / "heads"
    (heads / "a").write_text("ref: refs/heads/b\n")
    (heads / "b").write_text("ref: refs/heads/a\n")
    (shop / ".git" / "HEAD").write_text("ref: refs/heads/a\n")
    with pytest.raises(RepositoryError, match="too many"):
        head_of(shop)


def test_a_config_that_is_too_large(shop):
    os.truncate(shop / ".git" / "config", 2 << 20)
    with pytest.raises(RepositoryError, match="too large"):
        urls_of(shop)


@pytest.mark.parametrize("header", ["# pack-refs with: peeled fully-peeled sorted \n", ""])
def test_a_branch_at_the_end_of_100_mb_of_packed_refs_is_found(shop, header):
    line = f"{'0' * 40} refs/heads/a/branch-{'x' * 30}\n"
    git_dir = shop / ".git"
    (git_dir / "packed-refs").write_text(
        header + line * (100_000_000 // len(line)) + f"{ID} refs/heads/main\n"
    )
    (git_dir / "refs" / "heads" / "main").unlink()
    start = time.perf_counter()
    assert head_of(shop) == ("main", ID)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("shift", range(0, 64, 9))
def test_a_packed_ref_is_found_across_two_pieces_of_the_file(shop, shift):
    git_dir = shop / ".git"
    (git_dir / "refs" / "heads" / "main").unlink()
    filling = b"#" * ((1 << 20) - shift - 1) + b"\n"
    (git_dir / "packed-refs").write_bytes(filling + f"{ID} refs/heads/main\n".encode())
    assert head_of(shop) == ("main", ID)


def test_packed_refs_without_end_are_given_up(shop):
    git_dir = shop / ".git"
    (git_dir / "refs" / "heads" / "main").unlink()
    (git_dir / "packed-refs").touch()
    os.truncate(git_dir / "packed-refs", 1 << 34)
    with pytest.raises(RepositoryError, match="too large"):
        head_of(shop)
