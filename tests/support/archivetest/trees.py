"""What is in a directory, as a value that two directories can be compared by."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    """One path of a tree: everything about it that a layer carries."""

    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    seconds: int
    content: bytes
    xattrs: tuple[tuple[str, bytes], ...]
    device: int
    same_as: bytes
    """The first path that is the same inode."""


def look(root: Path, *, root_too: bool = False, without: bytes = b"") -> dict[bytes, Seen]:
    """Every path below `root`, in bytes, with what it is; `without` names a path left out."""
    first: dict[tuple[int, int], bytes] = {}
    found: dict[bytes, Seen] = {}
    top = os.fsencode(root)
    if root_too:
        found[b""] = _see(top, b"", first)
    for directory, below, files in os.walk(top):
        if without in below:
            below.remove(without)
        for name in sorted(below + files):
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top)] = _see(path, os.path.relpath(path, top), first)
    return found


def _see(path: bytes, shown: bytes, first: dict[tuple[int, int], bytes]) -> Seen:
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    content = b""
    if kind == stat.S_IFREG:
        content = Path(os.fsdecode(path)).read_bytes()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    same_as = b""
    if kind != stat.S_IFDIR and info.st_nlink > 1:
        same_as = first.setdefault((info.st_dev, info.st_ino), shown)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return Seen(
        kind=kind,
        mode=0 if kind == stat.S_IFLNK else stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        size=info.st_size if kind == stat.S_IFREG else 0,
        seconds=int(info.st_mtime_ns // 1_000_000_000),
        content=content,
        xattrs=tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names),
        device=info.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
        same_as=same_as,
    )
