"""Layer directories from a table.

    layers.build(path, {
        "etc/hostname": "box\n",              # text or bytes: a regular file
        "var/empty": Directory(mode=0o700),
        "bin/sh": Symlink("busybox"),
        "etc/motd": Whiteout(),
        "usr/share": Opaque(),
        "data": HardLink("etc/hostname"),
    })

Parents are made as needed. Names are text or bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Name = str | bytes


@dataclass(frozen=True)
class File:
    data: bytes | str = b""
    mode: int = 0o644
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Directory:
    mode: int = 0o755
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Symlink:
    target: Name


@dataclass(frozen=True)
class HardLink:
    """Another name of an entry that comes earlier in the table."""

    of: Name


@dataclass(frozen=True)
class Fifo:
    mode: int = 0o644


@dataclass(frozen=True)
class Device:
    major: int
    minor: int
    block: bool = False
    mode: int = 0o600


@dataclass(frozen=True)
class Whiteout:
    """The kernel's form: a character device 0:0."""


@dataclass(frozen=True)
class Opaque:
    """A directory that hides what lies below it; `family` is trusted (root) or user."""

    family: str = "trusted"


Entry = str | bytes | File | Directory | Symlink | HardLink | Fifo | Device | Whiteout | Opaque
# Any, since a Mapping is not covariant in its key: text keys, byte keys and both are welcome.
Table = Mapping[Any, Entry]


def build(root: os.PathLike[str] | Name, table: Table) -> None:
    """Make ROOT and everything in TABLE below it. Times of directories are set last."""
    base = os.fsencode(root)
    os.makedirs(base, exist_ok=True)
    late: list[tuple[bytes, int]] = []
    for name, entry in table.items():
        path = os.path.join(base, os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _make(base, path, entry)
        if isinstance(entry, Directory | File) and entry.mtime_ns is not None:
            late.append((path, entry.mtime_ns))
    for path, mtime_ns in reversed(late):
        os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def _make(base: bytes, path: bytes, entry: Entry) -> None:
    match entry:
        case str() | bytes():
            _make(base, path, File(entry))
        case File():
            _write(path, entry)
        case Directory():
            os.makedirs(path, exist_ok=True)
            _attributes(path, entry)
        case Symlink():
            os.symlink(os.fsencode(entry.target), path)
        case HardLink():
            os.link(os.path.join(base, os.fsencode(entry.of)), path, follow_symlinks=False)
        case Fifo():
            os.mkfifo(path, entry.mode)
            os.chmod(path, entry.mode)
        case Device():
            kind = stat.S_IFBLK if entry.block else stat.S_IFCHR
            os.mknod(path, kind | entry.mode, os.makedev(entry.major, entry.minor))
            os.chmod(path, entry.mode)
        case Whiteout():
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        case Opaque():
            os.makedirs(path, exist_ok=True)
            os.setxattr(path, f"{entry.family}.overlay.opaque", b"y")


def _write(path: bytes, entry: File) -> None:
    data = entry.data.encode() if isinstance(entry.data, str) else entry.data
    with open(path, "wb") as file:
        file.write(data)
    _attributes(path, entry)


def _attributes(path: bytes, entry: File | Directory) -> None:
    """Ownership first: chown clears the setuid bit and the capability that come after it."""
    if entry.uid is not None or entry.gid is not None:
        uid = -1 if entry.uid is None else entry.uid
        os.chown(path, uid, -1 if entry.gid is None else entry.gid)
    os.chmod(path, entry.mode)
    for name, value in entry.xattrs.items():
        os.setxattr(path, name, value)
