"""A directory tree as a value, so that two trees can be compared and a difference can be read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass

# What an overlay keeps for itself. Differences in them are no differences of the tree.
PRIVATE_XATTRS = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.")


@dataclass(frozen=True)
class Entry:
    """One file; every field is compared unless `ignore` names it."""

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    rdev: int
    nlink: int
    mtime_ns: int
    target: bytes
    content: str
    xattrs: tuple[tuple[str, bytes], ...]
    links: tuple[bytes, ...]


Tree = dict[bytes, Entry]


def snapshot(
    root: os.PathLike[str] | str | bytes,
    *,
    exclude: Callable[[bytes], bool] = lambda _path: False,
    raw: bool = False,
    content: bool = True,
) -> Tree:
    """Read everything below ROOT, without following a symlink or leaving its file system's names.

    Keys are paths relative to ROOT (b"" is the root itself). Sizes and link counts of directories
    are 0: they are a matter of the file system. `raw` keeps the xattrs that an overlay hides.
    `exclude` is asked with the relative path and prunes. Raises OSError when a file is unreadable.
    """
    base = os.fsencode(root)
    stats: dict[bytes, os.stat_result] = {b"": os.stat(base)}
    _walk(base, b"", exclude, stats)
    groups: dict[tuple[int, int], list[bytes]] = {}
    for path, st in stats.items():
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            groups.setdefault((st.st_dev, st.st_ino), []).append(path)
    links = {path: tuple(sorted(group)) for group in groups.values() for path in group}
    return {
        path: _entry(os.path.join(base, path), st, links.get(path, ()), raw, content)
        for path, st in stats.items()
    }


def _walk(
    base: bytes, prefix: bytes, exclude: Callable[[bytes], bool], found: dict[bytes, os.stat_result]
) -> None:
    for name in os.listdir(os.path.join(base, prefix)):
        path = os.path.join(prefix, name)
        if exclude(path):
            continue
        st = os.lstat(os.path.join(base, path))
        found[path] = st
        if stat.S_ISDIR(st.st_mode):
            _walk(base, path, exclude, found)


def _entry(
    path: bytes, st: os.stat_result, links: tuple[bytes, ...], raw: bool, content: bool
) -> Entry:
    directory = stat.S_ISDIR(st.st_mode)
    regular = stat.S_ISREG(st.st_mode)
    return Entry(
        type=stat.filemode(st.st_mode)[0],
        mode=stat.S_IMODE(st.st_mode),
        uid=st.st_uid,
        gid=st.st_gid,
        size=0 if directory else st.st_size,
        rdev=st.st_rdev,
        nlink=0 if directory else st.st_nlink,
        mtime_ns=st.st_mtime_ns,
        target=os.readlink(path) if stat.S_ISLNK(st.st_mode) else b"",
        content=_digest(path) if regular and content else "",
        xattrs=_xattrs(path, raw),
        links=links,
    )


def _digest(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _xattrs(path: bytes, raw: bool) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in names
        if raw or not name.startswith(PRIVATE_XATTRS)
    )


def differences(left: Tree, right: Tree, *, ignore: Collection[str] = ()) -> list[str]:
    """One line for each difference; empty when the trees are the same.

    `ignore` names fields of Entry, for instance mtime_ns after work that takes the clock's time.
    """
    unknown = set(ignore) - set(Entry.__dataclass_fields__)
    if unknown:
        raise ValueError(f"not a field of a tree entry: {sorted(unknown)}")
    lines = []
    for path in sorted(left.keys() | right.keys()):
        name = os.fsdecode(path) or "."
        if path not in right:
            lines.append(f"{name}: only on the left ({left[path].type})")
        elif path not in left:
            lines.append(f"{name}: only on the right ({right[path].type})")
        else:
            lines.extend(_unequal(name, left[path], right[path], ignore))
    return lines


def _unequal(name: str, left: Entry, right: Entry, ignore: Collection[str]) -> list[str]:
    return [
        f"{name}: {field}: {getattr(left, field)!r} != {getattr(right, field)!r}"
        for field in Entry.__dataclass_fields__
        if field not in ignore and getattr(left, field) != getattr(right, field)
    ]


def assert_same(left: Tree, right: Tree, *, ignore: Collection[str] = ()) -> None:
    """Fail with the first twenty differences."""
    lines = differences(left, right, ignore=ignore)
    more = f"\n… and {len(lines) - 20} more" if len(lines) > 20 else ""
    assert not lines, "trees differ:\n" + "\n".join(lines[:20]) + more
