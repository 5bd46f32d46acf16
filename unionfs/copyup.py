"""Copying one lower object's content and metadata, between descriptors."""

from __future__ import annotations

import errno
import os

from . import formats, layer, syscalls

_CHUNK = 8 << 20
_SMALL = 128 << 10
_TINY = 32 << 10
"""Up to here read and write take less time than copy_file_range(2)."""
_SKIP_XATTR_ERRORS = (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL)


def copy_data(
    source: int, target: int, size: int, st: os.stat_result, *, sync: bool = False
) -> None:
    """Make the first *size* bytes of *target* those of *source*; holes stay holes.

    *target* is empty. Shares blocks where the file system can (FICLONE). With *sync*, which is for
    an fsync(2) that comes next, the disk begins to write while we still copy.
    """
    if not size:
        return
    sparse = st.st_blocks * 512 < st.st_size
    if size == st.st_size and (size > _SMALL or sparse) and syscalls.clone_file(source, target):
        return
    if size <= _TINY and not sparse:
        done = write_all(target, os.pread(source, size, 0), 0)
        _copy_range(source, target, done, size)
        return
    if size <= _SMALL and not sparse:
        _copy_range(source, target, 0, size)
        return
    end = 0
    for start, end in _extents(source, size):
        for chunk in range(start, end, _CHUNK):
            stop = min(chunk + _CHUNK, end)
            _copy_range(source, target, chunk, stop)
            if sync and end - start > _CHUNK:
                syscalls.start_writing(target, chunk, stop - chunk)
    if end < size:
        os.ftruncate(target, size)


def _extents(fd: int, size: int) -> list[tuple[int, int]]:
    """The [start, end) ranges of *fd* below *size* that hold data, after lseek(2) SEEK_DATA."""
    found: list[tuple[int, int]] = []
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return found
            return [(0, size)]
        if start >= size:
            break
        position = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        found.append((start, position))
    return found


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    copy = os.copy_file_range
    position = start
    while position < end:
        want = end - position
        try:
            done = copy(source, target, want, position, position)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            data = os.pread(source, min(want, 1 << 20), position)
            done = write_all(target, data, position)
        if not done:
            return  # the source is shorter than its stat said
        position += done


def write_all(fd: int, data: bytes, offset: int) -> int:
    """pwrite(2) until all of *data* is written; returns its length."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done:], offset + done)
    return done


def copy_xattrs(dir_fd: int, name: bytes, target: bytes | int) -> None:
    """Copy every xattr but the union's own from *name* below *dir_fd* to the path or fd *target*.

    An empty *name* is what is open as *dir_fd*.

    To be called after chown(2), which clears file capabilities. What the upper cannot hold (another
    namespace's xattrs, a file system without any) is left out, as the kernel does.
    """
    for attribute in layer.list_xattrs(dir_fd, name):
        if formats.is_private(attribute):
            continue
        value = layer.get_xattr(dir_fd, name, attribute)
        if value is None:
            continue
        try:
            os.setxattr(target, attribute, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno not in _SKIP_XATTR_ERRORS:
                raise
