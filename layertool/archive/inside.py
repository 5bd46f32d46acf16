"""Finding directories inside a root, whatever hostile symlinks are there.

A path is resolved the way a process chrooted into the root would: absolute symlinks and `..` stay
inside (openat2(2) with RESOLVE_IN_ROOT). Nothing is looked up by a path of the host, so there is
no moment between a check and its use.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections import OrderedDict

from layertool.archive.headers import shown
from layertool.archive.limits import MAX_COMPONENT
from layertool.archive.whiteouts import PREFIX
from layertool.errors import BadArchive

_SYS_OPENAT2 = 437  # the same on every architecture of Linux
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_MAX_LINKS = 40  # as the kernel, path_resolution(7)
_CACHED = 64

Key = tuple[int, int]
"""Device and inode number of a directory: the same for all ways that lead to it."""


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_HOW = _OpenHow(
    os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS
)


class Inside:
    """The directories below a root, by path, kept open for a while.

    `fd` of the root stays the caller's. Whoever removes or replaces a directory or a symlink calls
    `forget`, since cached paths may have led through it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._key = _key(fd)
        self._cache: OrderedDict[bytes, tuple[int, Key]] = OrderedDict()
        self._openat2 = True
        self.made: dict[Key, bytes] = {}
        """The directories that `create` made, with their real paths; removed ones stay listed."""

    def close(self) -> None:
        """Close what is cached."""
        self.forget()

    def forget(self) -> None:
        """Something that paths lead through has changed."""
        for fd, _ in self._cache.values():
            os.close(fd)
        self._cache.clear()

    def directory(self, path: bytes, *, create: bool) -> tuple[int, Key]:
        """The directory at a clean relative path, symlinks followed inside the root.

        The descriptor stays valid until `forget`, or until many other directories were asked
        for. With `create` missing directories are made, 0755. Raises `BadArchive` when the way
        leads through something else than directories, or to a missing one.
        """
        if not path:
            return self.fd, self._key
        found = self._cache.get(path)
        if found is not None:
            self._cache.move_to_end(path)
            return found
        fd = self._open(path, create)
        if len(self._cache) >= _CACHED:
            os.close(self._cache.popitem(last=False)[1][0])
        self._cache[path] = found = (fd, _key(fd))
        return found

    def _open(self, path: bytes, create: bool) -> int:
        try:
            if self._openat2:
                return _openat2(self.fd, path)
        except FileNotFoundError:
            pass  # the walk makes it, or says which part is missing
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EPERM):
                self._openat2 = False  # before Linux 5.6, or a seccomp filter of a container
            elif error.errno not in (errno.EXDEV, errno.EAGAIN):
                raise _not_walkable(path, error) from None
        try:
            return _Walk(self.fd, self.made if create else None).to(path)
        except OSError as error:
            raise _not_walkable(path, error) from None


class _Walk:
    """The same resolution, component by component; also makes what is missing.

    Holds an open descriptor for each level, so that `..` means where one came from. `made` takes
    the directories it makes; None: it makes none.
    """

    def __init__(self, root: int, made: dict[Key, bytes] | None) -> None:
        self._levels = [os.dup(root)]
        self._names: list[bytes] = []
        self._made = made
        self._links = 0

    def to(self, path: bytes) -> int:
        """The descriptor of the directory; the caller closes it."""
        try:
            self._follow(path)
            return self._levels.pop()
        finally:
            for fd in self._levels:
                os.close(fd)

    def _follow(self, path: bytes) -> None:
        # Components still to go, last first, and whether a missing one may be made: not those of
        # a link's target. A packer writes files under real paths, so no honest archive needs the
        # place that a link to nowhere points to.
        pending = [(part, True) for part in reversed(path.split(b"/"))]
        while pending:
            component, create = pending.pop()
            if component in (b"", b"."):
                continue
            if component == b"..":
                if self._names:
                    self._up()
                continue
            target = self._enter(component, create)
            if target is None:
                continue
            self._links += 1
            if self._links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith(b"/"):
                while self._names:
                    self._up()
            pending += [(part, False) for part in reversed(target.split(b"/"))]

    def _down(self, component: bytes) -> None:
        self._levels.append(os.open(component, _DIRECTORY, dir_fd=self._levels[-1]))
        self._names.append(component)

    def _up(self) -> None:
        os.close(self._levels.pop())
        self._names.pop()

    def _enter(self, component: bytes, create: bool) -> bytes | None:
        """Go one level down; the target instead when the component is a symlink."""
        here = self._levels[-1]
        try:
            self._down(component)
            return None
        except FileNotFoundError:
            if self._made is None or not create:
                raise
            os.mkdir(component, 0o755, dir_fd=here)
            self._down(component)
            os.fchmod(self._levels[-1], 0o755)
            self._made[_key(self._levels[-1])] = b"/".join(self._names)
            return None
        except OSError as error:
            # Linux reports a symlink opened with O_DIRECTORY|O_NOFOLLOW as ENOTDIR.
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        info = os.stat(component, dir_fd=here, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return os.readlink(component, dir_fd=here)


def clean(name: bytes, limit: int) -> bytes:
    """The path of an entry, relative to the root, without `.` and doubled slashes; b"" is the root.

    A leading slash means the root. Raises `BadArchive` for `..`, which no packer writes, and for
    what cannot be a path.
    """
    if len(name) > limit:
        raise BadArchive(f"{shown(name)}: path of {len(name)} bytes, the limit is {limit}")
    if b"\0" in name:
        raise BadArchive(f"{shown(name)}: path contains a NUL byte")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    for part in parts:
        if part == b"..":
            raise BadArchive(f"{shown(name)}: path leads out of the archive (..)")
        # The name of a whiteout is longer than what it deletes; it need not exist on disk.
        if len(part.removeprefix(PREFIX)) > MAX_COMPONENT:
            raise BadArchive(f"{shown(name)}: a part of the path is longer than {MAX_COMPONENT}")
    return b"/".join(parts)


def remove(parent_fd: int, name: bytes) -> bool:
    """Remove a file, or a directory with all that is in it; False when there was nothing.

    Needs two descriptors at any depth: what lies deeper is first moved up, since hostile trees are
    deeper than both the stack and the limit of open files.
    """
    try:
        os.unlink(name, dir_fd=parent_fd)
        return True
    except FileNotFoundError:
        return False
    except (IsADirectoryError, PermissionError):
        pass
    top = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent_fd)
    return True


def _empty(top: int) -> None:
    serial = 0
    while subdirectories := _unlink_files(top):
        for name in subdirectories:
            child = os.open(name, _DIRECTORY, dir_fd=top)
            try:
                for grandchild in _unlink_files(child):
                    serial = _move_up(grandchild, child, top, serial)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=top)


def _unlink_files(directory: int) -> list[bytes]:
    """Remove everything but directories; their names."""
    os.fchmod(directory, 0o700)
    with os.scandir(directory) as listing:
        entries = [(os.fsencode(each.name), each.is_dir(follow_symlinks=False)) for each in listing]
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
    return [name for name, is_directory in entries if is_directory]


def _move_up(name: bytes, source: int, target: int, serial: int) -> int:
    """Rename a directory into `target` under a free name; the next serial number to try."""
    while True:
        serial += 1
        free = b"%d" % serial
        try:
            os.stat(free, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, free, src_dir_fd=source, dst_dir_fd=target)
            return serial


def split(path: bytes) -> tuple[bytes, bytes]:
    """Parent and name of a clean path."""
    parent, _, name = path.rpartition(b"/")
    return parent, name


def _openat2(root: int, path: bytes) -> int:
    fd: int = _libc.syscall(
        _SYS_OPENAT2, root, ctypes.c_char_p(path), ctypes.byref(_HOW), ctypes.sizeof(_HOW)
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def _key(fd: int) -> Key:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def _not_walkable(path: bytes, error: OSError) -> BadArchive | OSError:
    """Errors that the archive causes name it; a full disk is nobody's archive."""
    reasons = {
        errno.ENOTDIR: "is not a directory",
        errno.ELOOP: "leads through too many symlinks",
        errno.ENOENT: "does not exist, or is a symlink to nothing inside the root",
        errno.EXDEV: "leads out of the root",
    }
    if error.errno in reasons:
        return BadArchive(f"directory {shown(path)} {reasons[error.errno]}")
    return error
