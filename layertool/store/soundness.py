"""Whether an unpacked layer is still what its index says, to the last byte and no file more."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from layertool.archive import IndexEntry, Owner, default_owner
from layertool.archive.inside import Inside, split
from layertool.archive.whiteouts import OPAQUE_NAME, PREFIX
from layertool.errors import LayertoolError
from layertool.store.trees import walk_stats

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
_TYPES = {
    "f": stat.S_IFREG,
    "h": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "c": stat.S_IFCHR,
    "b": stat.S_IFBLK,
    "p": stat.S_IFIFO,
}


def damage(tree: Path, index: Iterable[IndexEntry]) -> str | None:
    """The first difference between a layer's tree and its index, None when there is none.

    Times and extended attributes are not looked at. Where owners are only recorded, neither are
    owners, modes and devices: the disk does not hold the true ones. Raises PermissionError, with the
    path in the layer, where this user may not look: that says nothing about the layer.
    """
    try:
        root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return f"tree: {error.strerror}"
    check = _Check(root)
    try:
        for entry in index:
            what = check.one(entry)
            if what is not None:
                return f"{_shown(entry.path)}: {what}"
    except PermissionError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), _shown(entry.path)) from None
    except LayertoolError as error:
        return str(error)
    finally:
        check.close()
        os.close(root)
    strangers = sum(
        not stat.S_ISDIR(info.st_mode) and (info.st_dev, info.st_ino) not in check.seen
        for info in walk_stats(tree)
    )
    return f"{strangers} files that its archive did not hold" if strangers else None


class _Check:
    def __init__(self, root: int) -> None:
        self._inside = Inside(root)
        self._is_exact = default_owner() is Owner.KEEP
        self.seen: set[tuple[int, int]] = set()

    def close(self) -> None:
        self._inside.close()

    def one(self, entry: IndexEntry) -> str | None:
        """What is wrong with one entry."""
        parent, name = split(entry.path)
        try:
            parent_fd, _ = self._inside.directory(parent, create=False)
            if entry.type == "o":
                self._opaque(entry.path)
                return None
            info = self._find(parent_fd, name, is_whiteout=entry.type == "w")
            self.seen.add((info.st_dev, info.st_ino))
            return None if entry.type == "w" else self._compare(parent_fd, name, entry, info)
        except PermissionError:
            raise
        except OSError as error:
            return error.strerror or str(error)

    def _find(self, parent_fd: int, name: bytes, *, is_whiteout: bool) -> os.stat_result:
        try:
            return os.stat(name or b".", dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            if not is_whiteout:
                raise
            # Written in aufs style, where the kernel's was refused.
            return os.stat(PREFIX + name, dir_fd=parent_fd, follow_symlinks=False)

    def _opaque(self, path: bytes) -> None:
        fd, _ = self._inside.directory(path, create=False)
        try:
            info = os.stat(OPAQUE_NAME, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return  # an extended attribute then
        self.seen.add((info.st_dev, info.st_ino))

    def _compare(
        self, parent_fd: int, name: bytes, entry: IndexEntry, info: os.stat_result
    ) -> str | None:
        # A hard link may stand for any file; what it links to is checked under its own name.
        has_type = entry.type in ("f", "d", "l") or (self._is_exact and entry.type != "h")
        if has_type and stat.S_IFMT(info.st_mode) != _TYPES[entry.type]:
            return "is of another type"
        if self._is_exact and entry.type not in ("h", "l"):
            if stat.S_IMODE(info.st_mode) != entry.mode:
                return f"mode {stat.S_IMODE(info.st_mode):o}, expected {entry.mode:o}"
            if (info.st_uid, info.st_gid) != (entry.uid, entry.gid):
                return f"owner {info.st_uid}:{info.st_gid}, expected {entry.uid}:{entry.gid}"
        if entry.type == "l" and os.readlink(name, dir_fd=parent_fd) != entry.link:
            return "links to something else"
        if entry.type == "f":
            return _compare_content(parent_fd, name, entry, info)
        return None


def _compare_content(
    parent_fd: int, name: bytes, entry: IndexEntry, info: os.stat_result
) -> str | None:
    if info.st_size != entry.size:
        return f"{info.st_size} bytes, expected {entry.size}"
    digest = hashlib.sha256()
    fd = os.open(name, _READ, dir_fd=parent_fd)
    try:
        while data := os.read(fd, _CHUNK):
            digest.update(data)
    finally:
        os.close(fd)
    return None if digest.digest() == entry.sha256 else "content differs"


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace") or "/"
