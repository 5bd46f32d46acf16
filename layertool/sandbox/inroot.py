"""Looking things up inside a root directory that may be hostile.

Every path is resolved by the kernel with `openat2(RESOLVE_IN_ROOT)`: absolute links and `..` mean
the root, never the host, and magic links (/proc/self/fd/N, CVE-2024-21626) are refused. What comes
back is a descriptor, so nothing can be swapped between the check and the use.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from layertool.errors import LayertoolError
from layertool.sandbox import linux
from layertool.sandbox.process import FAILED, NOT_EXECUTABLE, NOT_FOUND

_RESOLVE = linux.Resolve.IN_ROOT | linux.Resolve.NO_MAGICLINKS

#: Places that are ours once the process runs: a working directory in there would be a trap.
_OURS = ("/proc", "/sys", "/dev")


def open_path(root_fd: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` as a process chrooted to `root_fd` would. Raises OSError."""
    return linux.openat2(root_fd, path, flags, _RESOLVE)


def real_path(root_fd: int, fd: int) -> str:
    """The link-free path, seen from inside the root, of what `fd` holds.

    Raises LayertoolError if it lies outside the root: that can only be a moved directory.
    """
    root = os.readlink(linux.by_fd(root_fd)).rstrip("/")
    path = os.readlink(linux.by_fd(fd))
    if path == (root or "/"):
        return "/"
    if not path.startswith(root + "/"):
        raise LayertoolError(f"{path}: lies outside the container's root", exit_code=FAILED)
    return path[len(root) :]


def read_file(root_fd: int, path: str, limit: int) -> bytes | None:
    """The first `limit` bytes of a regular file, None if there is none.

    A FIFO or device in its place would block or feed us (CVE-2024-9676): those count as absent.
    """
    try:
        probe = open_path(root_fd, path)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(probe).st_mode):
            return None
        with open(linux.by_fd(probe), "rb") as file:
            return file.read(limit)
    except OSError:
        return None
    finally:
        os.close(probe)


def make_directory(root_fd: int, path: str) -> int:
    """Open directory `path`, making the missing part of it 0755 as our user. An O_PATH fd."""
    fd = os.dup(root_fd)
    walked = ""
    for name in filter(None, path.split("/")):
        walked += "/" + name
        try:
            following = open_path(root_fd, walked, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            try:
                os.mkdir(name, 0o755, dir_fd=fd)
                following = open_path(root_fd, walked, os.O_PATH | os.O_DIRECTORY)
            except OSError as error:
                os.close(fd)
                raise _bad_directory(path, error) from None
        except OSError as error:
            os.close(fd)
            raise _bad_directory(path, error) from None
        os.close(fd)
        fd = following
    return fd


def working_directory(root_fd: int, path: str) -> str:
    """Resolve, and make if missing, a working directory; returns its link-free path.

    Raises LayertoolError below /proc, /sys and /dev: what the image holds there is covered by our
    own mounts, and a magic link in them leads out of the root.
    """
    absolute = os.path.normpath("/" + path.lstrip("/"))
    _refuse_ours(absolute, path)
    fd = make_directory(root_fd, absolute)
    try:
        real = real_path(root_fd, fd)
    finally:
        os.close(fd)
    _refuse_ours(real, path)
    return real


def _refuse_ours(path: str, shown: str) -> None:
    for ours in _OURS:
        if path.startswith(ours + "/"):
            raise LayertoolError(
                f"working directory {shown}: lies below {ours}, which is not the image's",
                exit_code=FAILED,
            )


def _bad_directory(path: str, error: OSError) -> LayertoolError:
    return LayertoolError(f"{path}: cannot use as a directory: {error.strerror}", exit_code=FAILED)


def find_executable(root_fd: int, name: str, search: str, cwd: str) -> str:
    """The path to execute for `name`, as execvp(3) inside the root would choose it.

    Raises LayertoolError with docker's exit codes: 127 when there is no such file, 126 when there
    is one that cannot be executed.
    """
    if not name:
        raise LayertoolError("the command is an empty string", exit_code=NOT_FOUND)
    denied: str | None = None
    for candidate in _candidates(name, search, cwd):
        problem = _why_not_executable(root_fd, candidate)
        if problem is None:
            return candidate
        if problem != errno.ENOENT:
            denied = denied or f"{candidate}: {os.strerror(problem)}"
    if denied:
        raise LayertoolError(f"cannot execute {denied}", exit_code=NOT_EXECUTABLE)
    where = "no such file in the image" if "/" in name else "not found in the image's PATH"
    raise LayertoolError(f"{name}: {where}", exit_code=NOT_FOUND)


def _candidates(name: str, search: str, cwd: str) -> Sequence[str]:
    if "/" in name:
        return [os.path.join(cwd, name)]
    return [os.path.join(cwd, directory, name) for directory in search.split(":")]


def _why_not_executable(root_fd: int, path: str) -> int | None:
    """None, or the errno that execve(2) would give root."""
    try:
        fd = open_path(root_fd, path)
    except OSError as error:
        return errno.ENOENT if error.errno in (errno.ENOENT, errno.ENOTDIR) else error.errno
    try:
        info = os.fstat(fd)
    finally:
        os.close(fd)
    if stat.S_ISDIR(info.st_mode):
        return errno.EISDIR
    executable = stat.S_ISREG(info.st_mode) and info.st_mode & 0o111
    return None if executable else errno.EACCES
