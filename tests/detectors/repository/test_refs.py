"""Tags, and refs that are not in files of their own."""

import contextlib
import random
import struct
import zlib

import pytest
from dulwich.reftable import ReftableRefsContainer
from hypothesis import given
from hypothesis import strategies as st

from otel_mlflow_context.detectors.repository.discovery import find_repository
from otel_mlflow_context.detectors.repository.files import Repository, RepositoryError
from otel_mlflow_context.detectors.repository.refs import read_head, read_parents, read_tag
from otel_mlflow_context.detectors.repository.storage.objects import read_object
from otel_mlflow_context.detectors.repository.storage.reftable import read_ref, refs_below

ID = "0123456789abcdef0123456789abcdef01234567"
OTHER = "9" * 40


def tag_of(directory):
    repository = find_repository(directory)
    return read_tag(repository, read_head(repository).commit)


# --- Tags ------------------------------------------------------------------------------------


def test_no_tag(git, shop):
    git(shop, "tag", "v1")
    git(shop, "commit", "-q", "--allow-empty", "-m", "second")
    assert tag_of(shop) is None


def test_a_tag(git, shop):
    git(shop, "tag", "release/v1")
    assert tag_of(shop) == "release/v1"


@pytest.mark.parametrize("packed", [False, True])
def test_an_annotated_tag_before_another_as_git_describe_has_it(git, shop, packed):
    git(shop, "tag", "-a", "-m", "it", "v1")
    git(shop, "tag", "v2")
    if packed:
        git(shop, "pack-refs", "--all")
    assert tag_of(shop) == git(shop, "describe", "--tags", "--exact-match") == "v1"


@pytest.mark.parametrize("packed", [False, True])
def test_the_highest_of_several(git, shop, packed):
    for tag in ("v1.9", "v1.10", "v1.2"):
        git(shop, "tag", tag)
    if packed:
        git(shop, "pack-refs", "--all")
    assert tag_of(shop) == "v1.10"


def test_a_tag_that_was_moved_since_refs_were_packed(git, shop):
    git(shop, "tag", "v1")
    git(shop, "pack-refs", "--all")
    first = git(shop, "rev-parse", "HEAD")
    git(shop, "commit", "-q", "--allow-empty", "-m", "second")
    git(shop, "tag", "-f", "v1")
    assert tag_of(shop) == "v1"
    assert read_tag(find_repository(shop), first) is None


def test_packed_tags_of_a_sha256_repository(git, tmp_path):
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    git(tmp_path, "tag", "-a", "-m", "it", "v1")
    git(tmp_path, "pack-refs", "--all")
    assert tag_of(tmp_path) == "v1"


def test_a_branch_on_the_commit_is_no_tag(git, shop):
    git(shop, "branch", "v1")
    git(shop, "pack-refs", "--all")
    assert tag_of(shop) is None


def test_the_tag_object_lies_in_the_repository_that_objects_are_borrowed_from(git, shop, tmp_path):
    git(shop, "tag", "-a", "-m", "it", "v1")
    git(tmp_path, "clone", "-q", "--shared", str(shop), "borrower")
    borrower = tmp_path / "borrower"
    assert (borrower / ".git" / "objects" / "info" / "alternates").exists()
    tag = git(shop, "rev-parse", "v1")
    (borrower / ".git" / "packed-refs").unlink()
    (borrower / ".git" / "refs" / "tags").mkdir(exist_ok=True)
    (borrower / ".git" / "refs" / "tags" / "v1").write_text(f"{tag}\n")
    git(borrower, "cat-file", "-e", tag)  # git finds it there
    assert tag_of(borrower) == "v1"


def test_folders_that_borrow_from_each_other(git, shop):
    git(shop, "tag", "-a", "-m", "it", "v1")
    objects = shop / ".git" / "objects"
    (objects / "info" / "alternates").write_text(f"{objects}\n")
    tag = git(shop, "rev-parse", "v1")
    (objects / tag[:2] / tag[2:]).unlink()
    assert tag_of(shop) is None


def test_a_tag_in_a_file_of_its_own_and_its_object_in_a_pack(git, shop):
    git(shop, "tag", "-a", "-m", "it", "v1")
    tag = git(shop, "rev-parse", "v1")
    git(shop, "gc", "-q")
    (shop / ".git" / "packed-refs").unlink()
    (shop / ".git" / "refs" / "heads" / "main").write_text(f"{git(shop, 'rev-list', '-1', tag)}\n")
    (shop / ".git" / "refs" / "tags" / "v1").write_text(f"{tag}\n")
    assert tag_of(shop) == "v1"


@pytest.mark.parametrize("content", [b"", b"\0", zlib.compress(b"tag 5\0objec"), b"x" * 99])
def test_a_damaged_tag_object(git, shop, content):
    folder = shop / ".git" / "objects" / ID[:2]
    folder.mkdir(exist_ok=True)
    (folder / ID[2:]).write_bytes(content)
    (shop / ".git" / "refs" / "tags" / "v1").write_text(ID)
    assert tag_of(shop) is None


def test_hundreds_of_tags_in_files_are_not_looked_at(git, shop):
    git(shop, "tag", "v1")
    for number in range(200):
        (shop / ".git" / "refs" / "tags" / f"n{number}").write_text(ID)
    assert tag_of(shop) is None


# --- Refs in tables --------------------------------------------------------------------------


@pytest.fixture
def tables(tmp_path):
    """A repository whose refs another implementation keeps in tables."""
    git_dir = tmp_path / ".git"
    git_dir.mkdir()
    (git_dir / "HEAD").write_text("ref: refs/heads/.invalid\n")
    refs = ReftableRefsContainer(str(git_dir))
    refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
    return tmp_path, refs


def test_refs_that_are_kept_in_tables(tables):
    root, refs = tables
    refs.set_if_equals(b"refs/heads/main", None, OTHER.encode())
    refs.set_if_equals(b"refs/heads/main", OTHER.encode(), ID.encode())
    refs.set_if_equals(b"refs/tags/v1", None, ID.encode())
    refs.set_if_equals(b"refs/tags/v2", None, OTHER.encode())
    assert read_head(find_repository(root)) == ("main", ID)
    assert tag_of(root) == "v1"


def test_an_unborn_branch_in_tables(tables):
    assert read_head(find_repository(tables[0])) == ("main", None)


def test_a_ref_that_was_deleted_from_tables(tables):
    root, refs = tables
    refs.set_if_equals(b"refs/heads/main", None, ID.encode())
    refs.remove_if_equals(b"refs/heads/main", ID.encode())
    assert read_head(find_repository(root)) == ("main", None)


def number(value):
    """As in the format: seven bits a byte, of which each but the last counts one more."""
    result = bytes([value & 0x7F])
    while value := value >> 7:
        value -= 1
        result = bytes([0x80 | (value & 0x7F)]) + result
    return result


def table(refs, *, block=200, version=1):
    """A table of refs, by the specification: a few to a block, names shortened by their start."""
    header = b"REFT" + bytes([version]) + block.to_bytes(3, "big") + struct.pack(">QQ", 1, 1)
    header += b"s256" if version > 1 else b""
    blocks, records, last = [], b"", b""
    start = len(header)

    def close():
        nonlocal records, last, start
        length = start + 4 + len(records) + 3 + 2
        restart = (start + 4).to_bytes(3, "big") + (1).to_bytes(2, "big")
        blocks.append(b"r" + length.to_bytes(3, "big") + records + restart)
        records, last, start = b"", b"", 0

    for name, *ids in sorted(refs):
        encoded = name.encode()
        shared = 0
        while last[shared : shared + 1] == encoded[shared : shared + 1] != b"":
            shared += 1
        ends = number((len(encoded) - shared) << 3 | len(ids)) + encoded[shared:]
        record = number(shared) + ends + number(0) + b"".join(map(bytes.fromhex, ids))
        if start + 4 + len(records) + len(record) + 5 > block:
            close()
            record = number(0) + number(len(encoded) << 3 | len(ids)) + encoded + number(0)
            record += b"".join(map(bytes.fromhex, ids))
        records, last = records + record, encoded
    close()
    content = header
    for part in blocks:
        content += part
        content += b"\0" * (-len(content) % block)
    return content + b"REFT" + b"\0" * 64


@pytest.mark.parametrize("version", [1, 2])
@given(
    names=st.sets(st.text("abc/", min_size=1, max_size=60), min_size=1, max_size=60),
    data=st.data(),
)
def test_every_ref_of_a_table_of_many_blocks_is_found(tmp_path_factory, version, names, data):
    length = 40 if version == 1 else 64
    ids = st.text("0123456789abcdef", min_size=length, max_size=length)
    values = [
        (f"refs/tags/{name}", *data.draw(st.lists(ids, min_size=1, max_size=2))) for name in names
    ]
    folder = tmp_path_factory.mktemp("reftable")
    (folder / "one.ref").write_bytes(table(values, version=version, block=400))
    (folder / "tables.list").write_text("one.ref\n")
    assert dict(refs_below(folder, "refs/tags/")) == {
        name.removeprefix("refs/tags/"): ids for name, *ids in values
    }
    for name, commit, *_ in values:
        assert read_ref(folder, name) == commit
    assert read_ref(folder, "refs/tags/z") is None


def test_an_annotated_tag_in_a_table(tmp_path):
    reftable = tmp_path / "reftable"
    reftable.mkdir()
    (reftable / "one.ref").write_bytes(table([("refs/tags/v1", OTHER, ID), ("refs/tags/v2", ID)]))
    (reftable / "tables.list").write_text("one.ref\n")
    assert read_tag(Repository(tmp_path, tmp_path, tmp_path), ID) == "v1"


@given(st.binary(max_size=300))
def test_a_damaged_table_is_no_crash(tmp_path_factory, damage):
    folder = tmp_path_factory.mktemp("reftable")
    (folder / "one.ref").write_bytes(b"REFT\1\0\0\0" + b"\0" * 16 + b"r" + damage)
    (folder / "tables.list").write_text("one.ref\n")
    with contextlib.suppress(RepositoryError):
        read_ref(folder, "HEAD")


@pytest.mark.parametrize("listed", [None, "gone.ref", "../HEAD"])
def test_tables_that_are_not_there(tables, listed):
    root, _ = tables
    file = root / ".git" / "reftable" / "tables.list"
    file.unlink() if listed is None else file.write_text(listed)
    with pytest.raises(RepositoryError, match="reftable"):
        read_head(find_repository(root))


# --- Objects in packs ----------------------------------------------------------------------------


@pytest.fixture
def packed(git, shop):
    """A repository with a merge and an annotated tag of which all objects are in a pack."""
    git(shop, "checkout", "-q", "-b", "side")
    git(shop, "commit", "-q", "--allow-empty", "-m", "side")
    git(shop, "checkout", "-q", "main")
    git(shop, "commit", "-q", "--allow-empty", "-m", "main")
    git(shop, "merge", "-q", "--no-ff", "-m", "merge", "side")
    git(shop, "tag", "-a", "-m", "one", "v1.0")
    git(shop, "repack", "-a", "-d", "-q")
    git(shop, "prune-packed")
    return shop


def test_the_parents_of_a_commit_in_a_pack(git, packed):
    commit, *parents = git(packed, "rev-parse", "HEAD", "HEAD^1", "HEAD^2").split()
    repository = find_repository(packed)
    assert read_parents(repository, commit) == tuple(parents)
    assert read_parents(repository, "0" * 40) == ()
    assert read_parents(repository, "f" * 40) == ()


def test_the_commit_of_a_tag_in_a_pack(git, packed):
    commit = git(packed, "rev-parse", "HEAD")
    assert not (packed / ".git" / "packed-refs").exists()
    assert read_tag(find_repository(packed), commit) == "v1.0"


def test_a_pack_of_another_repository_that_it_borrows_from(git, packed, tmp_path):
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", "--shared", str(packed), str(copy))
    commit, *parents = git(copy, "rev-parse", "HEAD", "HEAD^1", "HEAD^2").split()
    assert read_parents(find_repository(copy), commit) == tuple(parents)


def test_every_object_of_a_pack_is_as_git_has_it(git, packed):
    objects = packed / ".git" / "objects"
    for number in range(300):
        git(packed, "commit", "-q", "--allow-empty", "-m", f"{number}")
    git(packed, "repack", "-a", "-d", "-q")
    known = 0
    for commit in git(packed, "rev-list", "--all").split():
        found = read_object(objects, commit, 1 << 16)
        content = git(packed, "cat-file", "commit", commit)
        known += bool(found)
        if found:
            assert found.partition(b"\0")[2].decode().rstrip() == content.rstrip()
    assert known == 304


@pytest.mark.parametrize("suffix", [".idx", ".pack"])
def test_a_damaged_pack_costs_what_is_in_it(git, packed, suffix):
    commit = git(packed, "rev-parse", "HEAD")
    repository = find_repository(packed)
    [file] = (packed / ".git" / "objects" / "pack").glob(f"*{suffix}")
    content = file.read_bytes()
    file.chmod(0o644)
    lengths = (0, 8, 12) if suffix == ".pack" else (0, 8, 1030, 1100)
    for damaged in (*(content[:it] for it in lengths), b"\xff" * len(content)):
        file.write_bytes(damaged)
        assert read_parents(repository, commit) == ()
    file.unlink()
    assert read_parents(repository, commit) == ()


def test_a_pack_with_any_byte_changed_raises_nothing(git, packed):
    for number in range(30):
        git(packed, "commit", "-q", "--allow-empty", "-m", f"{number}")
    git(packed, "repack", "-a", "-d", "-q")
    commits = git(packed, "rev-list", "--all").split()
    repository = find_repository(packed)
    files = list((packed / ".git" / "objects" / "pack").glob("pack-*.[ip]*"))
    dice = random.Random(0)
    for file in files:
        content = file.read_bytes()
        file.chmod(0o644)
        for _ in range(200):
            damaged = bytearray(content)
            for _ in range(3):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            file.write_bytes(damaged)
            read_parents(repository, dice.choice(commits))
        file.write_bytes(content)
