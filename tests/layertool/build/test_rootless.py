"""The behaviour tables again as an ordinary user: with one id, and with subordinate ranges."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from buildtest import Bench
from buildtest.tables import COPIES, RUNS, furnish
from sandboxtest import Account, account

pytestmark = pytest.mark.needs("userns", "bwrap")

# With one id everything belongs to it, as the kernel shows it: what asks for other owners inside
# the build, or becomes another user, needs ranges.
NEEDS_IDS = {
    "chown by name", "chown by number", "chown from an argument", "add with owner",
    "from a stage by name, owner kept", "user", "user and group", "workdir of a user",
    "cache attributes", "user does not own copies",
}  # fmt: skip


def _bench_of(who: Account) -> Iterator[Bench]:
    """A store and a context of `who`'s own, in a place that an ordinary user can reach."""
    home = Path(tempfile.mkdtemp(prefix="layertool-rootless-", dir="/var/tmp"))
    (home / "context").mkdir()
    if os.geteuid() == 0:
        for path in (home, home / "context"):
            os.chown(path, who.uid, who.gid)
    bench = Bench(home / "store", home / "context", who.prefix, {"HOME": str(home)})
    try:
        bench.make_base()
        yield bench
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def single() -> Iterator[Bench]:
    yield from _bench_of(account("single"))


@pytest.fixture(scope="module")
def ranges() -> Iterator[Bench]:
    yield from _bench_of(account("ranges"))


def build_row(bench: Bench, steps: str) -> None:
    for path in bench.context.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    furnish(bench)
    owner = bench.context.stat()
    for path in bench.context.rglob("*"):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    done = bench.build("FROM base\n" + steps)
    assert done.status == 0, done.err
    assert bench.leftovers() == []


@pytest.mark.parametrize("name", [name for name in COPIES if name not in NEEDS_IDS])
def test_copy_with_one_id(single: Bench, name: str) -> None:
    build_row(single, COPIES[name])


@pytest.mark.parametrize("name", [name for name in RUNS if name not in NEEDS_IDS])
def test_run_with_one_id(single: Bench, name: str) -> None:
    build_row(single, RUNS[name])


@pytest.mark.parametrize("name", COPIES)
def test_copy_with_ranges(ranges: Bench, name: str) -> None:
    build_row(ranges, COPIES[name])


@pytest.mark.parametrize("name", RUNS)
def test_run_with_ranges(ranges: Bench, name: str) -> None:
    build_row(ranges, RUNS[name])


@pytest.mark.needs("fuse")
def test_our_union_with_one_id(single: Bench) -> None:
    done = single.build(
        "FROM base\nRUN rm /etc/group && mkdir /n && echo x > /n/y\n"
        "RUN [ ! -e /etc/group ] && [ -f /n/y ]\n",
        "--driver",
        "fuse",
        "--no-cache",
    )
    assert done.status == 0, done.err
    assert single.leftovers() == []


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("USER app\nRUN true\n", "user 1000:1000 has no number in this user namespace"),
        ("RUN touch /f && chown app /f\n", "exit status 1 (this build has one id"),
    ],
)
def test_what_one_id_cannot_do_is_said(single: Bench, steps: str, message: str) -> None:
    done = single.build("FROM base\n" + steps)
    last = done.err.splitlines()[-1]
    assert done.status == 1
    assert message in last
    assert "/etc/subuid" in last
    other = single.build("FROM base\nRUN echo failed; false\n")
    assert "one id" not in other.err


def test_owners_reach_the_image_with_one_id(single: Bench) -> None:
    """chown is not possible there, but the layer says whose the file is."""
    single.write("a", "a")
    done = single.build("FROM base\nCOPY --chown=app:extra a /owned\n", "-t", "owned")
    assert done.status == 0, done.err
    assert ("owned", 1000, 2000) in owners(single.root / "blobs/sha256")


def owners(blobs: Path) -> set[tuple[str, int, int]]:
    """(path, uid, gid) of every file in every layer."""
    found: set[tuple[str, int, int]] = set()
    for blob in blobs.iterdir():
        if not blob.read_bytes().startswith(b"\x1f\x8b"):
            continue  # a manifest or config
        with tarfile.open(blob, "r:gz") as layer:
            found |= {(item.name, item.uid, item.gid) for item in layer}
    return found
