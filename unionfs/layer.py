"""One directory tree of the stack, held by a descriptor.

Every path is (layer, path inside it) and is walked component by component with O_NOFOLLOW, so a
symlink in a hostile layer, a name near PATH_MAX, a chdir of the daemon or a mount over the layer
cannot lead anywhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass

from . import formats, syscalls

_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PROC = b"/proc/self/fd/%d/%s"


class DirFds:
    """Open directory descriptors by key, the least recently used closed beyond *capacity*.

    When numbers above *last* are given out, so that few are left, all but FEW are closed.
    """

    FEW = 64

    def __init__(self, capacity: int, last: int) -> None:
        self._fds: OrderedDict[object, int] = OrderedDict()
        self._capacity = capacity
        self._last = last

    def get(self, key: object) -> int:
        """The descriptor kept under *key*, or -1."""
        fd = self._fds.get(key, -1)
        if fd >= 0:
            self._fds.move_to_end(key)
        return fd

    def put(self, key: object, fd: int) -> None:
        self._fds[key] = fd
        self.trim(self.FEW if fd > self._last else self._capacity)

    def trim(self, count: int) -> None:
        """Close all but the *count* that were used last."""
        while len(self._fds) > count:
            _, oldest = self._fds.popitem(last=False)
            os.close(oldest)

    def drop(self, key: object) -> None:
        """Close what is kept under *key*, if anything."""
        fd = self._fds.pop(key, -1)
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])


@dataclass(frozen=True, slots=True)
class Listing:
    """One directory of one layer: its names, with whether they are directories, and those it hides
    in the layers below."""

    entries: dict[bytes, bool]
    whiteouts: list[bytes]


@dataclass(frozen=True, slots=True)
class Marks:
    """What the xattrs of a directory or file say about the layers below it."""

    opaque: bool = False
    redirect: bytes | None = None
    metacopy: bool = False
    origin: bytes | None = None
    xattrs: frozenset[bytes] = frozenset()


NO_MARKS = Marks()


class Layer:
    """A directory tree: list, stat, open, readlink and xattrs relative to its root descriptor.

    *index* is its place in the stack, 0 at the top. *aufs* switches the reading of ``.wh.`` names.
    """

    __slots__ = ("_fds", "aufs", "index", "noatime", "path", "root_fd")

    def __init__(self, root_fd: int, index: int, path: bytes, fds: DirFds, *, aufs: bool) -> None:
        self.root_fd = root_fd
        self.index = index
        self.path = path
        self.aufs = aufs
        self._fds = fds
        self.noatime = os.O_NOATIME

    # --- descriptors ---

    def dir_fd(self, path: bytes) -> int:
        """A descriptor of the directory *path* (slash-separated, empty for the root), kept open."""
        if not path:
            return self.root_fd
        key = (self.index, path)
        fd = self._fds.get(key)
        if fd >= 0:
            return fd
        parent, _, name = path.rpartition(b"/")
        fd = self._fds.get((self.index, parent)) if parent else self.root_fd
        if fd < 0:
            fd = self._walk(parent)
            try:
                opened = self.open_dir(fd, name)
            finally:
                os.close(fd)
        else:
            opened = self.open_dir(fd, name)
        self._fds.put(key, opened)
        return opened

    def forget_dir(self, path: bytes) -> None:
        """Close the descriptor of a directory that is no longer of interest."""
        self._fds.drop((self.index, path))

    def _walk(self, path: bytes) -> int:
        fd = os.dup(self.root_fd)
        for name in path.split(b"/"):
            try:
                child = self.open_dir(fd, name)
            finally:
                os.close(fd)
            fd = child
        return fd

    def open_dir(self, dir_fd: int, name: bytes) -> int:
        """A fresh descriptor of directory *name*, without touching its access time where we may."""
        try:
            return os.open(name, _DIR_FLAGS | self.noatime, dir_fd=dir_fd)
        except PermissionError:
            pass
        try:
            return os.open(name, _DIR_FLAGS, dir_fd=dir_fd)
        except PermissionError:
            # Not readable by us: it can still be searched.
            return os.open(name, _DIR_FLAGS | os.O_PATH, dir_fd=dir_fd)

    def open_file(self, dir_fd: int, name: bytes, flags: int) -> int:
        """A fresh descriptor of the file *name*, not following a symlink, its access time kept."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags | self.noatime, dir_fd=dir_fd)
        except PermissionError:
            # O_NOATIME is for owners and CAP_FOWNER only.
            return os.open(name, flags, dir_fd=dir_fd)

    def open_unnoticed(self, dir_fd: int, name: bytes) -> int:
        """The same for reading; PermissionError where its access time could not be kept."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOATIME
        return os.open(name, flags, dir_fd=dir_fd)

    # --- reading ---

    def scan(self, dir_fd: int) -> Listing:
        """All names of one directory, whiteouts told apart."""
        entries: dict[bytes, bool] = {}
        whiteouts: list[bytes] = []
        aufs = self.aufs
        with os.scandir(dir_fd) as found:
            for item in sorted(found, key=os.DirEntry.inode):
                name = item.name.encode("utf-8", "surrogateescape")
                if aufs and name.startswith(b".wh."):
                    target = formats.aufs_target(name)
                    if target is not None:
                        whiteouts.append(target)
                elif item.is_dir(follow_symlinks=False):
                    entries[name] = True
                elif (
                    item.is_file(follow_symlinks=False)
                    or item.is_symlink()
                    or not self._is_whiteout(dir_fd, name)
                ):
                    entries[name] = False
                else:
                    whiteouts.append(name)
        return Listing(entries, whiteouts)

    def _is_whiteout(self, dir_fd: int, name: bytes) -> bool:
        try:
            st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return formats.is_whiteout(st.st_mode, st.st_rdev)

    def lookup(self, dir_fd: int, name: bytes) -> tuple[os.stat_result | None, bool]:
        """(stat of *name* or None, whether the search goes on in the layers below)."""
        try:
            st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None, not (self.aufs and self.has(dir_fd, formats.AUFS_PREFIX + name))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None, True
            raise
        if formats.is_whiteout(st.st_mode, st.st_rdev):
            return None, False
        if stat.S_ISREG(st.st_mode) and not st.st_size and self.xattr_whiteout(dir_fd, name):
            return None, False
        return st, stat.S_ISDIR(st.st_mode)

    def has(self, dir_fd: int, name: bytes) -> bool:
        """Whether *name* exists in the directory, of whatever type."""
        try:
            os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def xattr_whiteout(self, dir_fd: int, name: bytes) -> bool:
        """Whether an empty file is a whiteout by ``overlay.whiteout`` (never written by us)."""
        names = list_xattrs(dir_fd, name)
        return formats.TRUSTED + b"whiteout" in names or formats.USER + b"whiteout" in names

    def marks(self, dir_fd: int, name: bytes, *, is_dir: bool) -> Marks:
        """The overlay marks on *name*. One listxattr(2) when it has none, as nearly all."""
        names = list_xattrs(dir_fd, name)
        if not names and not (is_dir and self.aufs):
            return NO_MARKS
        opaque = is_dir and (
            any(
                family + b"opaque" in names and get_xattr(dir_fd, name, family + b"opaque") == b"y"
                for family in formats.FAMILIES
            )
            or (self.aufs and self._aufs_opaque(dir_fd, name))
        )
        if not names and not opaque:
            return NO_MARKS
        return Marks(
            opaque=opaque,
            redirect=_first(dir_fd, name, names, b"redirect"),
            metacopy=_first(dir_fd, name, names, b"metacopy") is not None,
            origin=_first(dir_fd, name, names, b"origin"),
            xattrs=frozenset(names),
        )

    def _aufs_opaque(self, dir_fd: int, name: bytes) -> bool:
        return self.has(dir_fd, name + b"/" + formats.AUFS_OPAQUE)

    def find_dir(self, base: bytes, name: bytes) -> tuple[bytes | None, bool]:
        """(path of directory *base*/*name* or None, whether lower layers are still to be asked).

        *name* may have several components, as an absolute redirect has.
        """
        path, parts = base, name.split(b"/")
        proceed = True
        for depth, part in enumerate(parts):
            try:
                parent = self.dir_fd(path)
            except (FileNotFoundError, NotADirectoryError):
                return None, True
            st, go_on = self.lookup(parent, part)
            if st is None or not stat.S_ISDIR(st.st_mode):
                return None, go_on and proceed
            if depth < len(parts) - 1 and self.marks(parent, part, is_dir=True).opaque:
                proceed = False
            path = path + b"/" + part if path else part
        return path, proceed

    def paths_of(self, ino: int, links: int) -> list[bytes]:
        """The paths of inode *ino* in this layer, up to *links* of them; walks directories by name."""
        found: list[bytes] = []
        todo = [b""]
        while todo and len(found) < links:
            path = todo.pop()
            with os.scandir(self.dir_fd(path)) as items:
                for item in items:
                    name = item.name.encode("utf-8", "surrogateescape")
                    full = path + b"/" + name if path else name
                    if item.is_dir(follow_symlinks=False):
                        todo.append(full)
                    elif item.inode() == ino:
                        found.append(full)
        return found

    def redirected_dirs(self) -> list[bytes]:
        """The paths of the directories that carry a redirect, parents first."""
        found: list[bytes] = []
        todo = [b""]
        while todo:
            path = todo.pop()
            dir_fd = self.dir_fd(path)
            with os.scandir(dir_fd) as items:
                names = [
                    os.fsencode(item.name) for item in items if item.is_dir(follow_symlinks=False)
                ]
            for name in names:
                full = path + b"/" + name if path else name
                todo.append(full)
                if self.marks(dir_fd, name, is_dir=True).redirect is not None:
                    found.append(full)
        return found


def _first(dir_fd: int, name: bytes, names: list[bytes], suffix: bytes) -> bytes | None:
    for family in (formats.TRUSTED, formats.USER):
        if family + suffix in names:
            return get_xattr(dir_fd, name, family + suffix)
    return None


def _xattr_path(dir_fd: int, name: bytes) -> bytes | int:
    return _PROC % (dir_fd, name) if name else dir_fd


def list_xattrs(dir_fd: int, name: bytes) -> list[bytes]:
    """Raw xattr names of *name*, or of what is open as *dir_fd* when that is empty.

    An empty list where the file system has no xattrs.
    """
    try:
        quickly = syscalls.list_xattrs(dir_fd, name) if name else None
        if quickly is not None:
            return quickly
        found = os.listxattr(_xattr_path(dir_fd, name), follow_symlinks=not name)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EACCES, errno.EPERM):
            return []
        raise
    return [os.fsencode(item) for item in found] if found else []


def get_xattr(dir_fd: int, name: bytes, attribute: bytes) -> bytes | None:
    """The value of a raw xattr, or None; names are as in list_xattrs()."""
    try:
        return os.getxattr(_xattr_path(dir_fd, name), attribute, follow_symlinks=not name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM):
            return None
        raise
