"""Uppers that kernel overlayfs wrote with ``index=on``: make their hard links plain.

There a lower file with several names has one copy, which only the changed name has in the upper;
the others find it through ``work/index/HEX``, HEX being the lower inode's origin value. We keep
hard links by having all names in the upper, so what the index says is carried out at mount.
"""

from __future__ import annotations

import os
import stat

from . import formats
from .layer import Layer
from .tree import PROBE, Dir
from .union import Union


def adopt(union: Union, work_base_fd: int) -> int:
    """Give every indexed copy all names of its lower inode; returns how many were missing."""
    try:
        index_fd = os.open(
            b"index", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=work_base_fd
        )
    except OSError:
        return 0
    try:
        return sum(_adopt_one(union, index_fd, name) for name in os.listdir(index_fd))
    finally:
        os.close(index_fd)


def _adopt_one(union: Union, index_fd: int, name: str) -> int:
    try:
        handle = formats.decode_origin(bytes.fromhex(name))
    except ValueError:
        return 0
    ino = formats.handle_inode(handle) if handle else None
    st = os.stat(name, dir_fd=index_fd, follow_symlinks=False)
    if ino is None or not stat.S_ISREG(st.st_mode):
        return 0
    adopted = 0
    for layer in union.tree.stack.lowers:
        for parent, last in union.tree.names_of(layer, ino, st.st_nlink + 1024):
            if _shows(union, parent, last, layer, ino):
                _link(union, index_fd, os.fsencode(name), parent, last)
                adopted += 1
    return adopted


def _shows(union: Union, parent: Dir, name: bytes, layer: Layer, ino: int) -> bool:
    """Whether *name* is that very lower inode in the merged view, not a copy or another file."""
    node = union.tree.lookup(parent, name)
    if node is None or node.upper or node.source is None or node.source.layer is not layer:
        return False
    return union.tree.stat(node).st_ino == ino


def _link(union: Union, index_fd: int, entry: bytes, parent: Dir, name: bytes) -> None:
    upper, promoter = union.writable()
    node = union.tree.lookup(parent, name)
    assert node is not None
    dir_fd = promoter.directory(parent)
    times = os.fstat(dir_fd)
    upper.link(index_fd, entry, dir_fd, name)
    upper.keep_times(dir_fd, times)
    union.tree.remove(node, parent, name)
    union.tree.drop_unused(node)
    union.tree.children(parent)[name] = PROBE
