"""What a rootless user does with a union, as a program: it runs inside the namespaces under test.

    python scenario.py union DIR     make layers, mount them with unionfs, change, remount
    python scenario.py kernel DIR    mount what that left with kernel overlayfs and look at it
    python scenario.py upper DIR     look at the raw upper

Each step leaves the tree that it saw in DIR, as a pickle named for the step.
"""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

from fstest import drivers, layers, trees
from fstest.drivers import Stack

LOWER: dict[str, layers.Entry] = {
    "etc/hostname": "box\n",
    "etc/passwd": layers.File("root:x:0:0\n", mode=0o640, xattrs={"user.note": b"kept"}),
    "etc/obsolete": "nobody needs this\n",
    "etc/skel/profile": "umask 022\n",
    "docs/manual/chapter": "one\n",
    "docs/manual/old": "two\n",
    "docs/manual/figures/1": b"\0\1\2",
    "cache/a": "a",
    "cache/deep/b": "b",
    "bin/tool": layers.File("#!/bin/sh\n", mode=0o755),
    "bin/alias": layers.Symlink("tool"),
    "run/pipe": layers.Fifo(),
}
TOP: dict[str, layers.Entry] = {
    "docs/manual/chapter": "one, revised\n",
    "docs/manual/old": layers.Whiteout(),
    "docs/manual/index": "1\n",
}


def change(root: Path) -> None:
    """Create, modify, delete, rename: files, and directories that have a part in each layer."""
    (root / "home").mkdir()
    (root / "home/new").write_text("created\n")
    with open(root / "etc/hostname", "a") as file:
        file.write("changed\n")
    (root / "etc/obsolete").unlink()
    (root / "etc/passwd").rename(root / "etc/shadow")
    (root / "bin/tool").chmod(0o700)
    (root / "bin/alias").rename(root / "bin/other")
    (root / "run/pipe").chmod(0o600)
    # A merged directory, moved to another parent, and its name taken again.
    (root / "docs/manual").rename(root / "home/manual")
    (root / "docs/manual").mkdir()
    (root / "docs/manual/fresh").write_text("nothing of the old one shows\n")
    for name in ("cache/deep/b", "cache/a"):
        (root / name).unlink()
    (root / "cache/deep").rmdir()
    (root / "cache").rmdir()
    os.link(root / "home/new", root / "home/twin")


def check(root: Path) -> None:
    """What the changes must have led to, said apart from any peer."""
    seen = {os.fsdecode(path) for path in trees.snapshot(root)}
    gone = {"cache", "etc/obsolete", "etc/passwd", "bin/alias", "home/manual/old"}
    assert not seen & gone, seen & gone
    there = {
        "home/manual/chapter",
        "home/manual/index",
        "home/manual/figures/1",
        "etc/skel/profile",
    }
    assert there <= seen, there - seen
    assert os.listdir(root / "docs/manual") == ["fresh"]
    assert (root / "etc/hostname").read_text() == "box\nchanged\n"
    assert (root / "home/manual/chapter").read_text() == "one, revised\n"
    assert os.getxattr(root / "etc/shadow", "user.note") == b"kept"
    assert stat.S_ISFIFO((root / "run/pipe").stat().st_mode)
    assert (root / "home/new").stat().st_nlink == 2


def other_owner(root: Path) -> None:
    """With a range of ids: owners are kept, and copied up."""
    os.chown(root / "home/new", 7, 8)
    (root / "owned").write_text("as user 7\n")
    os.chown(root / "owned", 7, 7)
    subprocess.run(
        ["setpriv", "--reuid=7", "--regid=7", "--clear-groups", "sh", "-c", "echo more >> owned"],
        cwd=root,
        check=True,
    )
    assert (root / "home/twin").stat().st_uid == 7
    assert (root / "owned").read_text() == "as user 7\nmore\n"


def union(base: Path, range_of_ids: bool) -> None:
    layers.build(base / "lower", LOWER)
    layers.build(base / "top", TOP)
    before = trees.snapshot(base / "lower", raw=True), trees.snapshot(base / "top", raw=True)
    for name in ("upper", "work", "mnt"):
        (base / name).mkdir()
    stack = Stack((base / "top", base / "lower"), base / "upper", base / "work")
    with drivers.mount(drivers.UNIONFS, stack, base / "mnt") as mounted:
        change(mounted.point)
        if range_of_ids:
            other_owner(mounted.point)
        check(mounted.point)
        keep(base / "live", mounted.point)
        mounted.remount()
        check(mounted.point)
        keep(base / "remounted", mounted.point)
    assert not drivers.is_mounted(base / "mnt")
    assert before == (
        trees.snapshot(base / "lower", raw=True),
        trees.snapshot(base / "top", raw=True),
    )


def kernel(base: Path) -> None:
    """The upper, read by the kernel: it asks for userxattr in a user namespace."""
    stack = Stack((base / "top", base / "lower"), base / "upper", base / "work", ("userxattr",))
    (base / "mnt-kernel").mkdir()
    with drivers.mount(drivers.KERNEL, stack, base / "mnt-kernel") as mounted:
        check(mounted.point)
        keep(base / "kernel", mounted.point)


def keep(path: Path, root: Path, *, raw: bool = False) -> None:
    path.write_bytes(pickle.dumps(trees.snapshot(root, raw=raw)))


if __name__ == "__main__":
    step, directory, *rest = sys.argv[1:]
    match step:
        case "union":
            union(Path(directory), range_of_ids=rest == ["ids"])
        case "kernel":
            kernel(Path(directory))
        case "upper":
            keep(Path(directory, "raw"), Path(directory, "upper"), raw=True)
        case _:
            sys.exit(__doc__)
