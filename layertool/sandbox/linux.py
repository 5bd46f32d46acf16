"""The system calls that Python 3.11 does not offer: mounts, namespaces, capabilities, openat2.

Thin and literal: each function is its manual page's call, with `OSError` on failure. Paths are
`bytes` or `str`, flags are the kernel's. Nothing here knows what a container is.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from enum import IntFlag
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)

# mount(2)
MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_NOATIME: Final = 0x400
MS_NODIRATIME: Final = 0x800
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MS_SLAVE: Final = 0x80000
MS_RELATIME: Final = 0x200000
MNT_DETACH: Final = 0x2

# unshare(2), setns(2)
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# prctl(2)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_KEYCTL_JOIN_SESSION_KEYRING: Final = 1

# fsopen(2) family
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_SET_FD: Final = 5
_FSCONFIG_CMD_CREATE: Final = 6
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
_MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 0x1

# System call numbers: the ones above 400 are the same on every architecture.
_SYS_MOVE_MOUNT: Final = 429
_SYS_FSOPEN: Final = 430
_SYS_FSCONFIG: Final = 431
_SYS_FSMOUNT: Final = 432
_SYS_CLOSE_RANGE: Final = 436
_SYS_OPENAT2: Final = 437
_SYS_MOUNT_SETATTR: Final = 442
_LOW_NUMBERS: Final = {
    # machine: (pivot_root, keyctl, capset)
    "x86_64": (155, 250, 126),
    "aarch64": (41, 219, 91),
    "riscv64": (41, 219, 91),
}

_CLOSE_RANGE_CLOEXEC: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522


class Resolve(IntFlag):
    """`openat2(2)`, field `resolve`."""

    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


def _check(result: int, what: str | bytes | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _text(value: str | bytes | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def _low_number(index: int) -> int:
    numbers = _LOW_NUMBERS.get(platform.machine())
    if numbers is None:
        raise OSError(errno.ENOSYS, f"no system call table for {platform.machine()}")
    return numbers[index]


def mount(
    source: str | bytes | None,
    target: str | bytes,
    fstype: str | None = None,
    flags: int = 0,
    data: str | bytes | None = None,
) -> None:
    """`mount(2)`."""
    _check(
        _libc.mount(
            _text(source), _text(target), _text(fstype), ctypes.c_ulong(flags), _text(data)
        ),
        target,
    )


def umount(target: str | bytes, flags: int = 0) -> None:
    """`umount2(2)`."""
    _check(_libc.umount2(_text(target), flags), target)


def pivot_root(new_root: str | bytes, put_old: str | bytes) -> None:
    """`pivot_root(2)`."""
    _check(_libc.syscall(_low_number(0), _text(new_root), _text(put_old)), new_root)


def unshare(flags: int) -> None:
    """`unshare(2)`. A new user namespace needs a process with a single thread."""
    _check(_libc.unshare(flags))


def setns(fd: int, flags: int) -> None:
    """`setns(2)`; `fd` is a namespace or, with several flags, a pidfd (Linux 5.8)."""
    _check(_libc.setns(fd, flags))


def _prctl(option: int, argument: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    return _check(_libc.prctl(option, ctypes.c_ulong(argument), zero, zero, zero))


def die_with_parent(signal_number: int) -> None:
    """Ask for `signal_number` when the thread that forked us ends (`PR_SET_PDEATHSIG`)."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def set_dumpable(dumpable: bool) -> None:
    """Whether /proc/self belongs to our user, or only CAP_SYS_PTRACE may look into us.

    Changing the user id turns it off (`PR_SET_DUMPABLE` in prctl(2)).
    """
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def clear_ambient_capabilities() -> None:
    """`PR_CAP_AMBIENT_CLEAR_ALL`."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def limit_bounding_set(keep: frozenset[int]) -> None:
    """Drop from the bounding set every capability that the kernel knows and `keep` lacks."""
    for number in range(64):
        try:
            present = _prctl(_PR_CAPBSET_READ, number)
        except OSError:  # EINVAL: past the last capability of this kernel
            return
        if present and number not in keep:
            _prctl(_PR_CAPBSET_DROP, number)


def inheritable_capabilities() -> frozenset[int]:
    """Those we may make inheritable: in the permitted and in the bounding set (capabilities(7))."""
    mask = -1
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith(("CapPrm:", "CapBnd:")):
                mask &= int(line.split()[1], 16)
    return frozenset(number for number in range(64) if mask >> number & 1)


def set_capabilities(permitted: frozenset[int], inheritable: frozenset[int] = frozenset()) -> None:
    """`capset(2)` for this thread: effective and permitted become `permitted`."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    allowed = sum(1 << number for number in permitted)
    inherited = sum(1 << number for number in inheritable)
    words = []
    for shift in (0, 32):
        low = (allowed >> shift) & 0xFFFFFFFF
        words += [low, low, (inherited >> shift) & 0xFFFFFFFF]
    _check(_libc.syscall(_low_number(2), header, struct.pack("6I", *words)))


def new_session_keyring() -> None:
    """Leave the caller's session keyring, which may hold keys of the host (`keyctl(2)`)."""
    _check(_libc.syscall(_low_number(1), _KEYCTL_JOIN_SESSION_KEYRING, None))


def openat2(dir_fd: int, path: str | bytes, flags: int, resolve: Resolve, mode: int = 0) -> int:
    """`openat2(2)`; the descriptor is close-on-exec."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    while True:
        result = _libc.syscall(_SYS_OPENAT2, dir_fd, _text(path), how, ctypes.c_size_t(len(how)))
        # EAGAIN: a rename somewhere on the system raced with a `..` lookup; asking again is right.
        if result >= 0 or ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            return _check(result, path)


def close_on_exec_from(lowest: int) -> None:
    """Mark every descriptor from `lowest` up close-on-exec (`close_range(2)`, Linux 5.11)."""
    top = ctypes.c_uint(0xFFFFFFFF)
    _check(_libc.syscall(_SYS_CLOSE_RANGE, ctypes.c_uint(lowest), top, _CLOSE_RANGE_CLOEXEC))


def fsopen(fstype: str) -> int:
    """`fsopen(2)`: a file system context to configure."""
    return _check(_libc.syscall(_SYS_FSOPEN, _text(fstype), _FSOPEN_CLOEXEC), fstype)


def fsconfig_string(fs_fd: int, key: str, value: str | bytes) -> None:
    """`fsconfig(2)`, `FSCONFIG_SET_STRING`."""
    _check(
        _libc.syscall(_SYS_FSCONFIG, fs_fd, _FSCONFIG_SET_STRING, _text(key), _text(value), 0), key
    )


def fsconfig_fd(fs_fd: int, key: str, fd: int) -> None:
    """`fsconfig(2)`, `FSCONFIG_SET_FD`; overlayfs takes its directories so since Linux 6.13."""
    _check(_libc.syscall(_SYS_FSCONFIG, fs_fd, _FSCONFIG_SET_FD, _text(key), None, fd), key)


def fsconfig_flag(fs_fd: int, key: str) -> None:
    """`fsconfig(2)`, `FSCONFIG_SET_FLAG`."""
    _check(_libc.syscall(_SYS_FSCONFIG, fs_fd, _FSCONFIG_SET_FLAG, _text(key), None, 0), key)


def fsmount(fs_fd: int) -> int:
    """Create the file system of a context and return its detached mount (`fsmount(2)`)."""
    _check(_libc.syscall(_SYS_FSCONFIG, fs_fd, _FSCONFIG_CMD_CREATE, None, None, 0))
    return _check(_libc.syscall(_SYS_FSMOUNT, fs_fd, _FSMOUNT_CLOEXEC, 0))


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount at the directory behind `target_fd` (`move_mount(2)`)."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _check(_libc.syscall(_SYS_MOVE_MOUNT, mount_fd, b"", target_fd, b"", flags))


def make_read_only(mount_fd: int) -> None:
    """Turn the mount behind `mount_fd`, and all below it, read-only (`mount_setattr(2)`)."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    _check(
        _libc.syscall(
            _SYS_MOUNT_SETATTR,
            mount_fd,
            b"",
            _AT_EMPTY_PATH | _AT_RECURSIVE,
            attributes,
            ctypes.c_size_t(len(attributes)),
        )
    )


def syncfs(fd: int) -> None:
    """`syncfs(2)`: write out everything of the file system that `fd` lies on."""
    _check(_libc.syncfs(fd))


def by_fd(fd: int) -> str:
    """A path that means exactly the object behind `fd`, for calls that take only paths."""
    return f"/proc/self/fd/{fd}"
