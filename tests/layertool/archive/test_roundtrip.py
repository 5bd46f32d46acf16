"""unpack(pack(tree)) == tree, for trees that hypothesis thinks of."""

import io
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from archivetest.trees import Seen, look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layertool.archive import (
    Compression,
    IndexWriter,
    Packed,
    copy_layer,
    extract_layer,
    pack_layer,
)

pytestmark = pytest.mark.needs("root")

_name = (
    st.sampled_from([b"a", b"b", b"c d", b"-", b"\xff\xfe", "ä".encode(), b".x", b"n" * 255])
    | st.binary(min_size=1, max_size=20)
).filter(
    lambda name: (
        b"/" not in name
        and b"\0" not in name
        and name not in (b".", b"..")
        and not name.startswith(b".wh.")
    )
)
_xattrs = st.dictionaries(
    st.sampled_from(["user.a", "user.bin", "trusted.x", "trusted.overlay.overlay.opaque"]),
    st.binary(max_size=30),
    max_size=2,
)


@dataclass
class Node:
    """A file of any kind; `children` make it a directory."""

    kind: str
    mode: int
    ids: tuple[int, int]
    seconds: int
    content: bytes
    xattrs: dict[str, bytes]
    children: dict[bytes, "Node"]


_leaf = st.builds(
    Node,
    kind=st.sampled_from(["file", "file", "symlink", "fifo", "device", "whiteout", "link"]),
    mode=st.integers(0, 0o7777),
    ids=st.tuples(*[st.sampled_from([0, 1, 1000, 2**21, 2**32 - 2])] * 2),
    seconds=st.integers(0, 2**33),
    content=st.binary(min_size=1, max_size=600).map(lambda data: data.replace(b"\0", b"0")),
    xattrs=_xattrs,
    children=st.just({}),
)
_tree = st.recursive(
    _leaf,
    lambda below: st.builds(
        Node,
        kind=st.sampled_from(["directory", "opaque"]),
        mode=st.integers(0, 0o7777),
        ids=st.tuples(*[st.sampled_from([0, 1000])] * 2),
        seconds=st.integers(0, 2**33),
        content=st.just(b""),
        xattrs=_xattrs,
        children=st.dictionaries(_name, below, max_size=5),
    ),
    max_leaves=12,
)
_trees = st.dictionaries(_name, _tree, max_size=5)


class Planter:
    """Makes the tree on disk."""

    def __init__(self) -> None:
        self.files: list[bytes] = []

    def plant(self, at: bytes, nodes: dict[bytes, Node], *, opaque: bool = False) -> None:
        for name, node in nodes.items():
            # A deletion inside an opaque directory says nothing, and no packer keeps it.
            if not (opaque and node.kind == "whiteout"):
                self._one(at + b"/" + name, node)

    def _one(self, path: bytes, node: Node) -> None:
        if node.kind == "link" and self.files:
            os.link(self.files[0], path, follow_symlinks=False)
            return
        self._make(path, node)
        if node.kind == "whiteout":
            return
        os.chown(path, *node.ids, follow_symlinks=False)
        if node.kind != "symlink":
            os.chmod(path, node.mode)
        for name, value in node.xattrs.items():
            if name.startswith("user.") and node.kind in ("symlink", "fifo", "device"):
                continue
            os.setxattr(path, name, value, follow_symlinks=False)
        if node.kind == "opaque":
            os.setxattr(path, "trusted.overlay.opaque", b"y")
        os.utime(path, (node.seconds, node.seconds), follow_symlinks=False)

    def _make(self, path: bytes, node: Node) -> None:
        if node.kind in ("directory", "opaque"):
            os.mkdir(path)
            self.plant(path, node.children, opaque=node.kind == "opaque")
        elif node.kind == "symlink":
            os.symlink(node.content, path)
        elif node.kind == "fifo":
            os.mkfifo(path)
        elif node.kind == "device":
            os.mknod(path, stat.S_IFBLK, os.makedev(7, len(node.content)))
        elif node.kind == "whiteout":
            os.mknod(path, stat.S_IFCHR, 0)
        else:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT)
            os.write(fd, node.content)
            os.close(fd)
            self.files.append(path)


def _normal(tree: dict[bytes, Seen]) -> dict[bytes, Seen]:
    """What a whiteout is made of is no part of the layer; times of deletion neither."""
    return {
        path: seen._replace(seconds=0, mode=0, uid=0, gid=0, same_as=b"")
        if seen.kind == stat.S_IFCHR
        else seen
        for path, seen in tree.items()
    }


def _pack(root: Path, compression: Compression) -> tuple[Packed, bytes]:
    out = io.BytesIO()
    fd = os.open(root, os.O_RDONLY)
    try:
        return pack_layer(fd, out, compression=compression), out.getvalue()
    finally:
        os.close(fd)


def _unpack(blob: bytes, root: Path, mode: str) -> bytes:
    """The index of what was unpacked."""
    root.mkdir()
    file = io.BytesIO()
    index = IndexWriter(file)
    fd = os.open(root, os.O_RDONLY)
    try:
        extract_layer(io.BytesIO(blob), fd, format=mode, index=index)  # type: ignore[arg-type]
    finally:
        os.close(fd)
    index.close()
    return file.getvalue()


def _copy(source: Path, root: Path, compression: Compression) -> tuple[Packed, bytes, bytes]:
    """What `copy_layer` returns and writes: the blob, and the index."""
    root.mkdir()
    out, file = io.BytesIO(), io.BytesIO()
    index = IndexWriter(file)
    source_fd, fd = os.open(source, os.O_RDONLY), os.open(root, os.O_RDONLY)
    try:
        packed, _ = copy_layer(source_fd, out, fd, compression=compression, index=index)
    finally:
        os.close(source_fd)
        os.close(fd)
    index.close()
    return packed, out.getvalue(), file.getvalue()


@given(_trees, st.sampled_from([Compression.NONE, Compression.GZIP, Compression.ZSTD]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_unpacking_what_was_packed_gives_the_tree(
    nodes: dict[bytes, Node], compression: Compression
) -> None:
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        (room / "tree").mkdir()
        Planter().plant(os.fsencode(room / "tree"), nodes)
        packed, blob = _pack(room / "tree", compression)
        index = _unpack(blob, room / "back", "kernel")
        assert _normal(look(room / "back")) == _normal(look(room / "tree"))
        # And the layer of the copy is the same layer, also when it went through aufs style.
        assert _pack(room / "back", compression)[0] == packed
        _unpack(blob, room / "aufs", "aufs")
        assert _pack(room / "aufs", compression)[0] == packed
        # Doing both at once is doing one after the other.
        assert _copy(room / "tree", room / "copy", compression) == (packed, blob, index)
        assert _normal(look(room / "copy")) == _normal(look(room / "back"))
