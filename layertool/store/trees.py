"""Whole directory trees inside the store: delete, measure, flush.

Layers come from hostile archives: thousands of nested directories, paths longer than PATH_MAX,
modes without permission for the owner. So every walk here goes by directory descriptor, keeps one
descriptor open whatever the depth, follows no symlink and does not recurse.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512  # the unit of st_blocks, stat(2)


def remove_tree(path: Path) -> None:
    """Delete `path` and everything below it; a missing path is fine.

    Only for trees nobody else changes: going up by `..` relies on that.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(path)
        return
    except PermissionError:
        os.chmod(path, stat.S_IRWXU)
        fd = os.open(path, _DIRECTORY)
    pending = [_unlink_files(fd)]
    names: list[str] = []
    try:
        while True:
            if pending[-1]:
                names.append(pending[-1].pop())
                fd = _swap(fd, _enter_to_delete(fd, names[-1]))
                pending.append(_unlink_files(fd))
            elif names:
                fd = _swap(fd, os.open("..", _DIRECTORY, dir_fd=fd))
                pending.pop()
                os.rmdir(names.pop(), dir_fd=fd)
            else:
                break
    finally:
        os.close(fd)
    os.rmdir(path)


def _unlink_files(fd: int) -> list[str]:
    """Empty the directory of all but directories; return the names of those."""
    mode = os.fstat(fd).st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(fd, stat.S_IMODE(mode) | stat.S_IRWXU)
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=fd)
    return directories


def _enter_to_delete(fd: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=fd)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=fd)
        return os.open(name, _DIRECTORY, dir_fd=fd)


def _swap(old: int, new: int) -> int:
    os.close(old)
    return new


def walk_stats(path: Path) -> Iterator[os.stat_result]:
    """The lstat of `path` and of everything below it. What vanishes meanwhile is left out.

    So is what lies in a directory that we may not read, as du does: a user who is not root of a
    user namespace may not look into overlayfs' own work directory, whose mode is 0.
    """
    try:
        top = os.lstat(path)
    except FileNotFoundError:
        return
    yield top
    if not stat.S_ISDIR(top.st_mode):
        return
    try:
        fd = os.open(path, _DIRECTORY)
    except PermissionError:
        return
    try:
        found: list[os.stat_result] = []
        pending = [_list_directories(fd, found)]
        yield from found
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    fd = _swap(fd, os.open("..", _DIRECTORY, dir_fd=fd))
                continue
            try:
                down = os.open(pending[-1].pop(), _DIRECTORY, dir_fd=fd)
            except (FileNotFoundError, PermissionError):
                continue
            if not os.access(".", os.X_OK, dir_fd=down, effective_ids=True):
                os.close(down)  # its names could be read, but nothing asked of them, not even `..`
                continue
            fd = _swap(fd, down)
            pending.append(_list_directories(fd, found := []))
            yield from found
    finally:
        os.close(fd)


def _list_directories(fd: int, found: list[os.stat_result]) -> list[str]:
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                status = os.lstat(entry.name, dir_fd=fd)
            except (FileNotFoundError, PermissionError):
                continue
            found.append(status)
            if stat.S_ISDIR(status.st_mode):
                directories.append(entry.name)
    return directories


def disk_usage(*paths: Path) -> int:
    """Allocated bytes below `paths`, as `du --block-size=1` counts: hard links once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path in paths:
        for status in walk_stats(path):
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                key = (status.st_dev, status.st_ino)
                if key in seen:
                    continue
                seen.add(key)
            total += status.st_blocks * _BLOCK
    return total


def allocated(status: os.stat_result) -> int:
    """Bytes on disk of one inode."""
    return status.st_blocks * _BLOCK


def sync_directory(path: Path) -> None:
    """Make a rename or unlink inside `path` survive a power loss."""
    fd = os.open(path, _DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: Path) -> None:
    """syncfs(2): one flush for a whole unpacked tree is far cheaper than an fsync a file.

    Raises OSError (ENOSPC, EIO) when written data could not reach the disk.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, _DIRECTORY)
    try:
        if libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(fd)
