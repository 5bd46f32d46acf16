"""What a stack of layers holds, as plain data: for the first line of a trace.

Each object is a JSON object with the fields of `unionfs.testing.layers.Entry`, from which the lab
builds the same layers again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from . import formats
from .layer import Layer, get_xattr, list_xattrs
from .tree import Stack

MOST_ENTRIES = 1000
MOST_BYTES = 4096
"""Of a file's content; of a longer one only the size is told."""
_MARKS = (b"redirect", b"metacopy")
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}

Entry = dict[str, Any]


def inventory(stack: Stack, most: int = MOST_ENTRIES) -> list[list[Entry]] | None:
    """Each layer's objects, the upper first; None when there are more than *most* in all."""
    layers = [*([stack.upper] if stack.upper is not None else []), *stack.lowers]
    found: list[list[Entry]] = []
    for layer in layers:
        entries: list[Entry] = []
        for entry in _entries(layer):
            entries.append(entry)
            if sum(map(len, found)) + len(entries) > most:
                return None
        found.append(entries)
    return found


def _entries(layer: Layer) -> Iterator[Entry]:
    """Every object below a layer's root, parents before children."""
    first_names: dict[int, str] = {}
    todo = [b""]
    while todo:
        path = todo.pop(0)
        fd = layer.dir_fd(path)
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            full = path + b"/" + name if path else name
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
            shown = os.fsdecode(full)
            if stat.S_ISDIR(st.st_mode):
                todo.append(full)
            elif st.st_nlink > 1 and not formats.is_whiteout(st.st_mode, st.st_rdev):
                if st.st_ino in first_names:
                    yield {"path": shown, "kind": "hardlink", "target": first_names[st.st_ino]}
                    continue
                first_names[st.st_ino] = shown
            yield {"path": shown, **_entry(layer, fd, name, st)}


def _entry(layer: Layer, fd: int, name: bytes, st: os.stat_result) -> Entry:
    if formats.is_whiteout(st.st_mode, st.st_rdev):
        return {"kind": "whiteout"}
    kind = _KINDS[stat.S_IFMT(st.st_mode)]
    entry: Entry = {"kind": kind, "uid": st.st_uid, "gid": st.st_gid}
    if kind == "symlink":
        return {**entry, "target": os.fsdecode(os.readlink(name, dir_fd=fd))}
    entry["mode"] = stat.S_IMODE(st.st_mode)
    if kind in ("char", "block"):
        entry["rdev"] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
    if kind == "file":
        entry.update(_content(layer, fd, name, st))
    if kind == "dir" and layer.marks(fd, name, is_dir=True).opaque:
        entry["opaque"] = True
    xattrs = _xattrs(fd, name)
    return {**entry, "xattrs": xattrs} if xattrs else entry


def _content(layer: Layer, fd: int, name: bytes, st: os.stat_result) -> Entry:
    if st.st_size > MOST_BYTES:
        return {"size": st.st_size}
    file = layer.open_file(fd, name, os.O_RDONLY)
    try:
        return {"text": os.pread(file, MOST_BYTES, 0).decode("latin-1")}
    finally:
        os.close(file)


def _xattrs(fd: int, name: bytes) -> dict[str, str]:
    """Those of users, and the marks that a layer cannot do without, as Latin-1 text."""
    found = {}
    for raw in list_xattrs(fd, name):
        mark = raw.rpartition(b".overlay.")[2]
        if not formats.is_private(raw) or mark in _MARKS:
            value = get_xattr(fd, name, raw)
            if value is not None:
                found[os.fsdecode(raw)] = value.decode("latin-1")
    return found
