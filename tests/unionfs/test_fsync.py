"""What a copy-up puts on disk before it shows, for each value of fsync=. Needs no mount."""

import os
from pathlib import Path

import pytest

from unionfs.options import parse_options
from unionfs.stack import open_union
from unionfs.tree import Dir


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
