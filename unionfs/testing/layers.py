"""Layers as data: what is put on disk before a mount, and the merged view that a stack means."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from unionfs.errors import UnionError

# Entries get times far in the past, so that "changed by the sequence" shows in a time stamp.
BASE_TIME_NS = 1_000_000_000 * 10**9

TYPE_BITS = {
    "file": stat.S_IFREG,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "char": stat.S_IFCHR,
    "block": stat.S_IFBLK,
    "whiteout": stat.S_IFCHR,
}

Kind = Literal[
    "dir", "file", "hardlink", "symlink", "fifo", "socket", "char", "block", "whiteout"
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One object of a layer; a whiteout is a character device 0:0.

    target is the text of a symlink or the path of a hard link. size makes a sparse file of that
    many bytes which begins with text. opaque marks a directory in the kernel's format. age is its
    time, in seconds after BASE_TIME_NS; without it, its place in the layer.
    """

    path: str
    kind: Kind = "file"
    text: str = ""
    times: int = 1
    size: int | None = None
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    target: str = ""
    rdev: tuple[int, int] = (0, 0)
    opaque: bool = False
    age: int | None = None
    xattrs: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The bytes that a file starts with."""
        return self.text.encode("latin-1") * self.times


Layer = tuple[Entry, ...]
Layers = tuple[Layer, ...]  # top first, as in lowerdir=


def directory(path: str, mode: int = 0o755, **more: Any) -> Entry:
    """A directory."""
    return Entry(path, "dir", mode=mode, **more)


def file(path: str, text: str = "", mode: int = 0o644, **more: Any) -> Entry:
    """A regular file."""
    return Entry(path, "file", text, mode=mode, **more)


def hardlink(path: str, target: str) -> Entry:
    """Another name of a file that an earlier entry made."""
    return Entry(path, "hardlink", target=target)


def symlink(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, "symlink", target=target)


def special(path: str, kind: Kind, rdev: tuple[int, int] = (0, 0), mode: int = 0o644) -> Entry:
    """A fifo, socket or device."""
    return Entry(path, kind, rdev=rdev, mode=mode)


def whiteout(path: str) -> Entry:
    """The kernel's whiteout: a character device 0:0."""
    return Entry(path, "whiteout", mode=0)


def many(path: str, count: int) -> Layer:
    """A directory with this many empty files in it."""
    return (directory(path), *(file(f"{path}/f{n:06d}") for n in range(count)))


def build(root: str, layer: Iterable[Entry], family: str) -> None:
    """Put a layer on disk; family is "trusted" or "user", the xattrs that mark opaque there."""
    os.mkdir(root, 0o755)
    entries = list(layer)
    for entry in entries:
        make(root, entry, family)
    # Deepest last in reverse, so that a directory's time is set after its children were made.
    for number, entry in reversed(list(enumerate(entries))):
        stamp = BASE_TIME_NS + (number if entry.age is None else entry.age) * 10**9
        # Kernel overlayfs updates the access time of a lower symlink; a recent one stays (relatime).
        read = time.time_ns() if entry.kind == "symlink" else stamp
        os.utime(os.path.join(root, entry.path), ns=(read, stamp), follow_symlinks=False)
    os.utime(root, ns=(BASE_TIME_NS, BASE_TIME_NS))


def make(root: str, entry: Entry, family: str) -> None:
    """Make one entry with its mode, owner and xattrs."""
    path = os.path.join(root, entry.path)
    if entry.kind == "hardlink":
        os.link(os.path.join(root, entry.target), path)
        return
    if entry.kind == "symlink":
        os.symlink(entry.target, path)
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        return
    if entry.kind == "dir":
        os.mkdir(path)
    elif entry.kind == "file":
        write(path, entry)
    else:
        os.mknod(path, TYPE_BITS[entry.kind] | 0o600, os.makedev(*entry.rdev))
    os.chown(path, entry.uid, entry.gid)
    os.chmod(path, entry.mode if entry.mode is not None else 0o644)
    for name, value in entry.xattrs.items():
        if family == "user" and name.startswith("trusted."):
            continue  # nobody can set them in a user namespace
        os.setxattr(path, name, value.encode("latin-1"))
    if entry.opaque:
        os.setxattr(path, f"{family}.overlay.opaque", b"y")


def write(path: str, entry: Entry) -> None:
    """The content of a regular file, sparse when a size is asked for."""
    with open(path, "xb") as out:
        out.write(entry.content())
        if entry.size is not None:
            out.truncate(entry.size)


def merged(layers: Sequence[Layer]) -> Layer:
    """The view that a stack means, as one layer: the rules of overlayfs in a few lines.

    Bottom up, each layer adds to the view: a whiteout removes, an opaque directory empties, a
    directory over a directory merges, anything else replaces.
    """
    view: dict[str, Entry] = {}
    for layer in reversed(layers):
        for number, entry in enumerate(layer):
            below = view.get(entry.path)
            merges = entry.kind == "dir" and below is not None and below.kind == "dir"
            if entry.opaque or not merges:
                prefix = entry.path + "/"
                view = {
                    p: e for p, e in view.items() if p != entry.path and p[: len(prefix)] != prefix
                }
            if entry.kind != "whiteout":
                age = number if entry.age is None else entry.age
                view[entry.path] = dataclasses.replace(entry, opaque=False, age=age)
    return tuple(view[path] for path in sorted(view, key=lambda p: (view[p].kind == "hardlink", p)))


def encode(layers: Layers) -> str:
    """A stack as one line of JSON; equal stacks give equal text."""
    return json.dumps(
        [[minimal(entry) for entry in layer] for layer in layers], separators=(",", ":")
    )


def minimal(entry: Entry) -> dict[str, Any]:
    """The fields of an entry that are not at their defaults."""
    plain = Entry(entry.path)
    return {
        name: value
        for name, value in dataclasses.asdict(entry).items()
        if name == "path" or value != getattr(plain, name)
    }


def decode(text: str) -> Layers:
    """The stack of a line of JSON; UnionError names what is wrong with it."""
    try:
        return msgspec.convert(json.loads(text), Layers)
    except msgspec.ValidationError as error:
        raise UnionError(f"not the layers of a case: {error}") from None
