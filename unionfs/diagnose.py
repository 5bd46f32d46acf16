"""Why a FUSE mount does not work on this machine, and what to run."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

from .errors import printable

if TYPE_CHECKING:
    from .options import MountOptions

DEVICE = "/dev/fuse"
CONFIGURATION = "/etc/fuse.conf"


def explain_mount_failure(error: Exception, options: MountOptions) -> str:
    """One line that names what is missing and the command that mends it."""
    where = printable(options.mountpoint)
    return f"cannot mount on {where}: {_reason(error, options)}"


def _reason(error: Exception, options: MountOptions) -> str:
    if not os.path.exists(DEVICE):
        if _kernel_has_fuse():
            return f"{DEVICE} is missing; run: mknod {DEVICE} c 10 229 (in a container: --device {DEVICE})"
        return "the kernel has no FUSE; run: modprobe fuse"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        mode = stat.S_IMODE(os.stat(DEVICE).st_mode)
        return f"{DEVICE} may not be opened by this user (mode {mode:04o}); run as root: chmod 666 {DEVICE}"
    if isinstance(error, OSError) and error.errno == errno.ENODEV:
        return "the kernel has no FUSE; run: modprobe fuse"
    if os.geteuid() != 0:
        found = _unprivileged_reason(options)
        if found is not None:
            return found
    text = error.strerror if isinstance(error, OSError) else str(error)
    return f"{text or error}; run with -d for details"


def _unprivileged_reason(options: MountOptions) -> str | None:
    helper = shutil.which("fusermount3")
    if helper is None:
        return "fusermount3 is not installed; run as root: apt-get install fuse3"
    st = os.stat(helper)
    if not (st.st_mode & stat.S_ISUID and st.st_uid == 0):
        return f"{helper} is not setuid root; run as root: chmod u+s {helper}, or use unshare -rm"
    if (options.allow_other or options.allow_root) and not _users_may_allow_others():
        return (
            f"allow_other needs the line user_allow_other in {CONFIGURATION}; "
            f"run as root: echo user_allow_other >> {CONFIGURATION}"
        )
    if not os.access(options.mountpoint, os.W_OK):
        return "the mountpoint must be writable by this user; use a directory of your own"
    return None


def _users_may_allow_others() -> bool:
    try:
        with open(CONFIGURATION, encoding="utf-8", errors="replace") as lines:
            return any(line.strip() == "user_allow_other" for line in lines)
    except OSError:
        return False


def _kernel_has_fuse() -> bool:
    with open("/proc/filesystems", encoding="ascii") as names:
        return any(line.split()[-1:] == ["fuse"] for line in names)
