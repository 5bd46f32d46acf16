"""What reaches the disk when: before a copy-up shows, for each value of fsync=, and at fsync(2)."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers
from fstest.drivers import Mounted

from unionfs.options import parse_options
from unionfs.stack import open_union
from unionfs.tree import Dir

Make = Callable[[str, layers.Table], Path]
Mount = Callable[..., Mounted]


@pytest.mark.parametrize(
    ("fsync", "syncs"), [("volatile", []), ("auto", ["data"]), ("strict", ["data", "dir", "up"])]
)
def test_what_a_copy_up_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: str, syncs: list[str]
) -> None:
    for name in ("low/dir", "up", "work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "low" / "dir" / "data").write_text("x")
    text = f"lowerdir=low,upperdir=up,workdir=work,fsync={fsync}"
    options = parse_options([text], mountpoint="mnt", cwd=bytes(tmp_path))
    synced: set[str] = set()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: synced.add(_name(fd)))
        opened = open_union(options, lambda node, st: None)
        try:
            union = opened.union
            parent = union.tree.lookup(union.tree.root, b"dir")
            assert isinstance(parent, Dir)
            node = union.tree.lookup(parent, b"data")
            assert node is not None
            union.writable()[1].file(node)
        finally:
            opened.close()
    assert sorted(synced) == syncs
    assert (tmp_path / "up" / "dir" / "data").read_text() == "x"


def _name(fd: int) -> str:
    """Where the descriptor leads; a file in the making has no name of its own yet."""
    path = Path(os.readlink(f"/proc/self/fd/{fd}"))
    return path.name if path.is_dir() else "data"


@pytest.mark.mounted
@pytest.mark.needs("root")
@pytest.mark.parametrize("name", ["f", "d", "."])
def test_fsync_is_passed_on(make_layer: Make, mount: Mount, name: str) -> None:
    """It reaches the upper: made to fail there, it fails here."""
    point = mount([make_layer("base", {})], options=["faults=fsync:1:EIO"]).point
    (point / "d").mkdir()
    (point / "f").write_text("x")
    fd = os.open(point / name, os.O_RDONLY)
    try:
        with pytest.raises(OSError) as caught:
            os.fsync(fd)
        assert caught.value.errno == errno.EIO
        os.fsync(fd)
    finally:
        os.close(fd)
