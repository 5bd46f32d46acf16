"""tar, rm, cp, rsync and find on a mount, with everything that a tree can hold."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers, trees
from fstest.twins import Twins

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root", "overlay", "rsync", "setfacl")]

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep

RICH: dict[str, layers.Entry] = {
    "bin/tool": layers.File("#!/bin/sh\n", mode=0o4755, uid=0, gid=0),
    "bin/server": layers.File("ELF", mode=0o755, xattrs={"security.capability": CAPABILITY}),
    "bin/alias": layers.Symlink("tool"),
    "bin/hard": layers.HardLink("bin/tool"),
    "broken": layers.Symlink("no/such/place"),
    "dev/null": layers.Device(1, 3, mode=0o666),
    "dev/disk": layers.Device(8, 0, block=True),
    "run/pipe": layers.Fifo(0o600),
    "shared": layers.Directory(mode=0o3775, gid=7, mtime_ns=1_111_111_111_222_222_222),
    "shared/note": layers.File("x", uid=5, gid=7, xattrs={"user.a": b"\0b", "user.c": b""}),
    "old": layers.File("old", mtime_ns=981_173_106_123_456_789),
    "empty": layers.Directory(mode=0o700),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with ACLs, a sparse file, odd names, and many small files, besides RICH."""
    root = tmp_path / "source"
    layers.build(root, RICH)
    for number in range(500):
        layers.build(root, {f"many/{number % 10}/{number}": f"{number}\n" * number})
    (root / "many" / ("n" * 255)).write_text("longest name")
    with open(os.path.join(os.fsencode(root), b"many/\xff\n\\ odd"), "wb") as file:
        file.write(b"not text")
    with open(root / "sparse", "wb") as file:
        file.truncate(16 << 20)
        file.seek(8 << 20)
        file.write(b"island")
    acl = ["setfacl", "-R", "-m", "u:5:rwX,d:u:5:rwX", str(root / "shared")]
    subprocess.run(acl, check=True, timeout=30)
    os.utime(root / "shared", ns=(1, 1_111_111_111_222_222_222))
    age(root)
    return root


def age(root: Path) -> None:
    """Put what was changed just now into the past: rsync compares whole seconds only."""
    touch = ("touch", "--no-dereference", "-d", "2020-02-02T02:02:02.020202020")
    run("find", root, "-depth", "-newermt", "2020-03-01", "-exec", *touch, "{}", "+")


@pytest.fixture
def twins(make_twins: Callable[..., Twins], source: Path) -> Twins:
    """The rich tree is the lower, so that the work also goes over what is there already."""
    return make_twins(source)


def run(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def test_copying_away_keeps_everything(twins: Twins, source: Path, tmp_path: Path) -> None:
    run("cp", "-a", twins.mounted.point, tmp_path / "copy")
    copy, original = trees.snapshot(tmp_path / "copy"), trees.snapshot(source)
    # The root is the upper's directory, made just now.
    del copy[b""], original[b""]
    trees.assert_same(copy, original)


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(("cp", "-a"), id="cp"),
        pytest.param(("rsync", "-aHAX", "--sparse"), id="rsync"),
    ],
)
def test_copying_in_keeps_everything(twins: Twins, source: Path, copy: tuple[str, ...]) -> None:
    """As the same program keeps it elsewhere: rsync 3.2 loses the group entry of an ACL."""

    def copy_in(root: Path) -> None:
        (root / "copied").mkdir()
        run(*copy, f"{source}/.", root / "copied")

    twins.do(copy_in)
    plain = trees.snapshot(twins.plain / "copied")
    trees.assert_same(trees.snapshot(twins.mounted / "copied"), plain)
    twins.mounted.remount()
    trees.assert_same(trees.snapshot(twins.mounted / "copied"), plain)


def test_rsync_over_a_lower_tree(twins: Twins, source: Path, tmp_path: Path) -> None:
    """An update with --delete: changed, new, vanished and retyped files; twice is once."""
    newer = tmp_path / "newer"
    run("cp", "-a", source, newer)
    run("rm", "-r", newer / "many/3", newer / "run")
    (newer / "old").write_text("new")
    (newer / "empty").rmdir()
    (newer / "empty").symlink_to("bin")
    (newer / "bin/alias").unlink()
    (newer / "bin/alias").mkdir()
    age(newer)

    def update(root: Path) -> str:
        run("rsync", "-aHAX", "--delete", f"{newer}/", root)
        return run("rsync", "-aHAX", "--delete", "--itemize-changes", f"{newer}/", root)

    twins.do(update)
    trees.assert_same(trees.snapshot(twins.mounted), trees.snapshot(newer))
    twins.compare()


def test_unpacking_over_a_lower_tree_and_removing_it(
    twins: Twins, source: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive.tar"
    tar = ("tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner")
    run(*tar, "-C", source, "--sparse", "-cf", archive, ".")

    def unpack(root: Path) -> None:
        run(*tar, "-C", root, "-xf", archive)
        (root / "fresh").mkdir()
        run(*tar, "-C", root / "fresh", "-xf", archive)
        run(*tar, "-C", root, "-df", archive)

    twins.do(unpack)
    twins.compare()

    def remove(root: Path) -> list[str]:
        run("rm", "-rf", root / "many", root / "fresh/many", root / "shared", root / "bin/tool")
        (root / "many").mkdir()
        run("rm", "-rf", root / "fresh")
        return sorted(run("find", root, "-mindepth", "1", "-printf", "%P %y\n").splitlines())

    twins.do(remove)
    twins.compare()


def test_everything_can_be_removed(twins: Twins) -> None:
    def remove(root: Path) -> list[str]:
        for name in os.listdir(root):
            run("rm", "-rf", root / name)
        return os.listdir(root)

    twins.do(remove)
    twins.compare()
    upper = twins.mounted.stack.upper
    assert upper is not None
    names = sorted(os.listdir(upper))
    assert names == sorted(os.listdir(twins.mounted.stack.lowers[0])), "one whiteout a lower name"


def test_renaming_directories_by_hand(twins: Twins) -> None:
    def rename(root: Path) -> None:
        os.rename(root / "many/1", root / "bin/one")
        os.rename(root / "many", root / "lots")
        os.rename(root / "lots/2", root / "lots/zwei")
        (root / "many").mkdir()
        (root / "many/1").write_text("a file where a directory was")
        os.rename(root / "bin/one/1", root / "many/moved")

    twins.do(rename)
    twins.compare()
