"""The harness itself: a harness that cannot see a difference proves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import drivers, layers, trees
from fstest.drivers import Mounted

from unionfs.testing.mounts import lives

TABLE: dict[str, layers.Entry] = {
    "file": layers.File("text", mode=0o640, mtime_ns=1_000_000_007),
    "link": layers.HardLink("file"),
    "symlink": layers.Symlink("file"),
    "dir/inner": b"\0\1",
    "fifo": layers.Fifo(),
}


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("mode", lambda root: (root / "file").chmod(0o600)),
    ("mtime_ns", lambda root: os.utime(root / "file", ns=(5, 5))),
    ("content", lambda root: (root / "dir/inner").write_bytes(b"\0\2")),
    ("size", lambda root: (root / "dir/inner").write_bytes(b"\0\1\2")),
    ("only on the right", lambda root: (root / "dir/new").touch()),
    ("only on the left", lambda root: (root / "fifo").unlink()),
    ("links", lambda root: (root / "third").hardlink_to(root / "file")),
    ("target", lambda root: _replace(root / "symlink", lambda path: path.symlink_to("dir"))),
    ("type", lambda root: _replace(root / "fifo", Path.touch)),
]


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("left", "right"):
        layers.build(tmp_path / name, TABLE)
    return tmp_path / "left", tmp_path / "right"


def test_equal_trees_do_not_differ(twins: tuple[Path, Path]) -> None:
    left, right = map(trees.snapshot, twins)
    assert not trees.differences(left, right, ignore=("mtime_ns",))


@pytest.mark.parametrize(("seen_as", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_a_change_is_seen(
    twins: tuple[Path, Path], seen_as: str, change: Callable[[Path], object]
) -> None:
    left = trees.snapshot(twins[0])
    change(twins[1])
    assert any(seen_as in line for line in trees.differences(left, trees.snapshot(twins[1])))


def test_an_unknown_field_is_not_silently_ignored(twins: tuple[Path, Path]) -> None:
    tree = trees.snapshot(twins[0])
    with pytest.raises(ValueError, match="mtime"):
        trees.differences(tree, tree, ignore=("mtime",))


@pytest.mark.mounted
@pytest.mark.parametrize("driver", list(drivers.DRIVERS), indirect=True)
def test_a_mount_merges_changes_and_goes_away(
    mount: Callable[..., Mounted], make_layer: Callable[[str, layers.Table], Path]
) -> None:
    top = make_layer("top", {"a": "top", "gone": layers.Whiteout()})
    base = make_layer("base", {"a": "base", "b": "base", "gone": "x"})
    mounted = mount([top, base])
    assert sorted(os.listdir(mounted)) == ["a", "b"]
    (mounted / "a").write_text("changed")
    mounted.remount()
    assert (mounted / "a").read_text() == "changed"
    assert (top / "a").read_text() == "top"
    pids = mounted.pids()
    mounted.unmount()
    assert not drivers.is_mounted(mounted.point)
    assert not [pid for pid in pids if lives(pid)]


def test_separators_in_paths_are_escaped(tmp_path: Path) -> None:
    stack = drivers.Stack((Path("/l:a"), Path("/m,b")), Path("/u:p,q"), Path("/w\\k"))
    assert stack.option_string() == (r"lowerdir=/l\:a:/m\,b,upperdir=/u:p\,q,workdir=/w\\k")
