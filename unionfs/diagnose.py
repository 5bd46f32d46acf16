"""Why a mount failed on this machine, and what to run about it.

The facts are gathered once into a `Machine`; each rule looks at them and either explains or passes.
The order is that of a mount: the device, the right to mount, the options, then the unexpected.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unionfs.errors import printable

if TYPE_CHECKING:
    from unionfs.options import MountOptions

_CAP_SYS_ADMIN = 1 << 21
_WHOLE_ID_MAP = ["0", "0", "4294967295"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a FUSE mount depends on, as this process sees it."""

    device: str = "/dev/fuse"
    device_error: int | None = None
    """The errno of opening the device for reading and writing; None when it can be opened."""
    device_mode: int | None = None
    """Its st_mode; None when it is absent."""
    module: bool = True
    """Whether the kernel has FUSE, loaded or built in."""
    uid: int = 0
    """The effective user."""
    privileged: bool = True
    """Whether this process has CAP_SYS_ADMIN, be it only in its user namespace."""
    user_namespace: bool = False
    no_new_privileges: bool = False
    """Whether setuid programs have no effect (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    helper: str | None = "/usr/bin/fusermount3"
    helper_setuid: bool = True
    user_allow_other: bool = False
    """Whether /etc/fuse.conf lets unprivileged users give allow_other."""


def explain_mount_failure(
    error: OSError | RuntimeError, options: MountOptions, machine: Machine | None = None
) -> str:
    """Return one line: why mounting failed with *error*, and what to do.

    Args:
        machine: the facts to judge by; those of this machine when None.
    """
    machine = machine or inspect_machine()
    reason = next(filter(None, (rule(error, options, machine) for rule in _RULES)), None)
    where = printable(options.mountpoint)
    if reason is None:
        reason = f"{_text(error)}; run again with -d to see what libfuse says"
    return f"cannot mount on {where}: {reason}"


def inspect_machine(
    device: str = "/dev/fuse",
    configuration: str = "/etc/fuse.conf",
    filesystems: str = "/proc/filesystems",
    status: str = "/proc/self/status",
    uid_map: str = "/proc/self/uid_map",
) -> Machine:
    """Gather the facts. The paths are those of the kernel and of Debian's fuse3."""
    helper = shutil.which("fusermount3")
    process = _status(status)
    return Machine(
        device=device,
        device_error=_open_error(device),
        device_mode=_mode(device),
        module=any(line.split()[-1:] == ["fuse"] for line in _lines(filesystems)),
        uid=os.geteuid(),
        privileged=bool(int(process.get("CapEff", "0"), 16) & _CAP_SYS_ADMIN),
        user_namespace=[line.split() for line in _lines(uid_map)] not in ([], [_WHOLE_ID_MAP]),
        no_new_privileges=process.get("NoNewPrivs") == "1",
        helper=helper,
        helper_setuid=bool(helper and (_mode(helper) or 0) & stat.S_ISUID),
        user_allow_other=any(line.strip() == "user_allow_other" for line in _lines(configuration)),
    )


def _open_error(device: str) -> int | None:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return error.errno
    return None


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except OSError:
        return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except OSError:
        return []


def _status(path: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in _lines(path))
    return {name: value.strip() for name, _, value in pairs}


# --- rules ---

Rule = Callable[["OSError | RuntimeError", "MountOptions", Machine], "str | None"]


def _device_absent(
    error: OSError | RuntimeError, options: MountOptions, machine: Machine
) -> str | None:
    if machine.device_mode is not None and machine.device_error not in (errno.ENODEV, errno.ENXIO):
        return None
    if not machine.module:
        return (
            "the kernel module fuse is not loaded; run as root: modprobe fuse "
            "(inside a container: on the host)"
        )
    return (
        f"{machine.device} is absent; run as root: mknod -m 666 {machine.device} c 10 229 "
        f"(for a container: start it with --device {machine.device})"
    )


def _device_forbidden(
    error: OSError | RuntimeError, options: MountOptions, machine: Machine
) -> str | None:
    if machine.device_error is None:
        return None
    mode = stat.S_IMODE(machine.device_mode or 0)
    if machine.device_error == errno.EACCES:
        return (
            f"{machine.device} has mode {mode:04o}, which keeps user {machine.uid} out; "
            f"run as root: chmod 666 {machine.device}"
        )
    if machine.device_error == errno.EPERM:
        return (
            f"the device rules of this container forbid {machine.device}; "
            f"start it with --device {machine.device}"
        )
    return f"{machine.device}: {os.strerror(machine.device_error)}; look in dmesg"


def _helper_unusable(
    error: OSError | RuntimeError, options: MountOptions, machine: Machine
) -> str | None:
    if machine.privileged:
        return None
    if machine.helper is None:
        return (
            "without privilege fusermount3 must mount, and it is not installed; "
            "run as root: apt-get install fuse3"
        )
    if not machine.helper_setuid:
        return f"{machine.helper} is not setuid root; run as root: chmod u+s {machine.helper}"
    if machine.no_new_privileges:
        return (
            f"{machine.helper} cannot become root here (no_new_privs is set); "
            "mount outside this sandbox, or in a namespace: unshare -Urm"
        )
    return None


def _others_not_allowed(
    error: OSError | RuntimeError, options: MountOptions, machine: Machine
) -> str | None:
    asked = "allow_other" if options.allow_other else "allow_root" if options.allow_root else None
    if asked is None or machine.privileged or machine.user_allow_other:
        return None
    return (
        f"option {asked} without privilege needs the line user_allow_other in /etc/fuse.conf; "
        "run as root: echo user_allow_other >> /etc/fuse.conf"
    )


def _mountpoint_not_owned(
    error: OSError | RuntimeError, options: MountOptions, machine: Machine
) -> str | None:
    """fusermount3 lets a user mount only where that user may write."""
    if machine.privileged or os.access(options.mountpoint, os.W_OK, effective_ids=True):
        return None
    return (
        f"the directory is not writable by user {machine.uid}, as fusermount3 demands; "
        "use a directory of your own"
    )


def _mount_forbidden(
    error: OSError | RuntimeError, options: MountOptions, machine: Machine
) -> str | None:
    """With CAP_SYS_ADMIN and a device, mount(2) was tried, and what is left is a policy."""
    if not machine.privileged or getattr(error, "errno", None) not in (
        None,
        errno.EPERM,
        errno.EACCES,
    ):
        return None
    if machine.user_namespace:
        return (
            "this user namespace has no power over its mount namespace; "
            "start both together: unshare --user --map-root-user --mount"
        )
    return (
        "a security policy forbids mount(2); for a container add --cap-add SYS_ADMIN "
        "--security-opt apparmor=unconfined, otherwise look in dmesg"
    )


_RULES: tuple[Rule, ...] = (
    _device_absent,
    _device_forbidden,
    _helper_unusable,
    _others_not_allowed,
    _mountpoint_not_owned,
    _mount_forbidden,
)


def _text(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
