"""The room a native process lives in: its root, and what is mounted in it.

Called in a fresh mount namespace. Mount points are opened inside the root and mounted on by
descriptor, so a link in the image can redirect none of them (CVE-2025-31133, -52565, -52881).
The result is the set of mounts of the OCI runtime specification's default, with docker's masks.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from layertool.errors import LayertoolError
from layertool.sandbox import linux
from layertool.sandbox.plan import Mounted, Plan
from layertool.sandbox.process import FAILED, Bind, Tmpfs

# netdevice(7)
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1

DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")

_DEV_LINKS: Final[Mapping[str, str]] = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "core": "/proc/kcore",
    "ptmx": "pts/ptmx",
}

#: What shows or changes the host although it lies in the container's own /proc and /sys.
MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_QUIET: Final = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
#: Flags that a user namespace may not clear on a mount it was given.
_LOCKED: Final = {
    os.ST_RDONLY: linux.MS_RDONLY,
    os.ST_NOSUID: linux.MS_NOSUID,
    os.ST_NODEV: linux.MS_NODEV,
    os.ST_NOEXEC: linux.MS_NOEXEC,
    os.ST_NOATIME: linux.MS_NOATIME,
    os.ST_NODIRATIME: linux.MS_NODIRATIME,
    os.ST_RELATIME: linux.MS_RELATIME,
}
_STRICT: Final = linux.Resolve.IN_ROOT | linux.Resolve.NO_MAGICLINKS | linux.Resolve.NO_SYMLINKS


def furnish(plan: Plan) -> None:
    """Mount everything, and make the result this process's root and working directory."""
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    sources = _open_sources(plan.mounts)
    root_fd = _bind_root(plan)
    _mount_proc(root_fd)
    _mount_sys(root_fd)
    _mount_dev(root_fd)
    for mounted, source in zip(plan.mounts, sources, strict=True):
        _mount_extra(root_fd, mounted, source)
    _cover(root_fd)
    _pivot(root_fd)


def _bind_root(plan: Plan) -> int:
    """Turn the root directory into a mount of its own, without device nodes.

    CAP_MKNOD belongs to docker's set because docker has a device cgroup behind it; without one,
    a node for the host's disk could be made in the image and opened.
    """
    rootfs = os.fsencode(plan.rootfs)
    linux.mount(rootfs, rootfs, None, linux.MS_BIND)
    root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = linux.MS_NODEV | (linux.MS_RDONLY if plan.process.read_only else 0)
    _change_flags(root_fd, flags)
    return root_fd


def _change_flags(mount_fd: int, add: int) -> None:
    """Add flags to one mount; those it has must be repeated or they would be cleared."""
    held = os.fstatvfs(mount_fd).f_flag
    kept = sum(mount_flag for flag, mount_flag in _LOCKED.items() if held & flag)
    linux.mount(None, linux.by_fd(mount_fd), None, linux.MS_REMOUNT | linux.MS_BIND | kept | add)


def _open_sources(mounts: Sequence[Mounted]) -> list[int | None]:
    """Host paths, opened while they still can be."""
    sources: list[int | None] = []
    for mounted in mounts:
        if isinstance(mounted.spec, Bind):
            sources.append(os.open(mounted.spec.source, os.O_PATH | os.O_CLOEXEC))
        else:
            sources.append(None)
    return sources


def _open(root_fd: int, path: str) -> int:
    return linux.openat2(root_fd, path, os.O_PATH | os.O_CLOEXEC, _STRICT)


def _mount_at(
    root_fd: int, path: str, source: str, fstype: str | None, flags: int, data: str | None = None
) -> None:
    fd = _open(root_fd, path)
    try:
        linux.mount(source, linux.by_fd(fd), fstype, flags, data)
    except OSError as error:
        raise LayertoolError(f"{path}: cannot mount: {error.strerror}", exit_code=FAILED) from None
    finally:
        os.close(fd)


def _bind(root_fd: int, path: str, source: str) -> None:
    _mount_at(root_fd, path, source, None, linux.MS_BIND | linux.MS_REC)


def _mount_proc(root_fd: int) -> None:
    _mount_at(root_fd, "/proc", "proc", "proc", _QUIET)


def _mount_sys(root_fd: int) -> None:
    """A sysfs of our own shows our network only; who does not own one gets the host's."""
    try:
        _mount_at(root_fd, "/sys", "sysfs", "sysfs", _QUIET | linux.MS_RDONLY)
    except LayertoolError:
        _bind(root_fd, "/sys", "/sys")
        fd = _open(root_fd, "/sys")
        linux.make_read_only(fd)
        os.close(fd)


def _mount_dev(root_fd: int) -> None:
    # nodev: the nodes below are mounts of their own, and nobody shall add others.
    flags = linux.MS_NOSUID | linux.MS_NODEV
    _mount_at(root_fd, "/dev", "tmpfs", "tmpfs", flags, "mode=755,size=65536k")
    dev_fd = _open(root_fd, "/dev")
    for name in DEVICES:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o666, dir_fd=dev_fd))
        _bind(root_fd, f"/dev/{name}", f"/dev/{name}")
    for name, target in _DEV_LINKS.items():
        os.symlink(target, name, dir_fd=dev_fd)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev_fd)
    os.close(dev_fd)
    _mount_pts(root_fd)
    _mount_at(root_fd, "/dev/shm", "shm", "tmpfs", _QUIET, "mode=1777,size=65536k")
    _mount_at(root_fd, "/dev/mqueue", "mqueue", "mqueue", _QUIET)


def _mount_pts(root_fd: int) -> None:
    """Terminals belong to group tty (5), where that id is mapped."""
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    options = "newinstance,ptmxmode=0666,mode=0620"
    try:
        _mount_at(root_fd, "/dev/pts", "devpts", "devpts", flags, f"{options},gid=5")
    except LayertoolError:
        _mount_at(root_fd, "/dev/pts", "devpts", "devpts", flags, options)


def _mount_extra(root_fd: int, mounted: Mounted, source: int | None) -> None:
    if isinstance(mounted.spec, Tmpfs):
        options = f"mode={mounted.spec.mode:o},size={mounted.spec.size}"
        flags = linux.MS_NOSUID | linux.MS_NODEV
        _mount_at(root_fd, mounted.target, "tmpfs", "tmpfs", flags, options)
        return
    assert source is not None
    _bind(root_fd, mounted.target, linux.by_fd(source))
    fd = _open(root_fd, mounted.target)
    _change_flags(fd, linux.MS_NODEV)
    if mounted.spec.read_only:
        linux.make_read_only(fd)
    os.close(fd)


def _cover(root_fd: int) -> None:
    """Apply docker's masks and read-only paths, where the kernel has such a file at all."""
    for path in READ_ONLY:
        if _exists(root_fd, path):
            fd = _open(root_fd, path)
            linux.mount(linux.by_fd(fd), linux.by_fd(fd), None, linux.MS_BIND | linux.MS_REC)
            os.close(fd)
            fd = _open(root_fd, path)
            linux.make_read_only(fd)
            os.close(fd)
    for path in MASKED:
        try:
            fd = _open(root_fd, path)
        except FileNotFoundError:
            continue
        directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        os.close(fd)
        if directory:
            _mount_at(root_fd, path, "tmpfs", "tmpfs", linux.MS_RDONLY | _QUIET, "size=0k")
        else:
            _bind(root_fd, path, "/dev/null")


def _exists(root_fd: int, path: str) -> bool:
    try:
        os.close(_open(root_fd, path))
    except FileNotFoundError:
        return False
    return True


def _pivot(root_fd: int) -> None:
    """Make the root ours and let go of the host's: pivot_root(2), the part on `.` and `.`."""
    os.fchdir(root_fd)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")
    os.close(root_fd)


def raise_loopback() -> None:
    """Bring `lo` up in a fresh network namespace, where it starts down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
