"""The last steps of a process that becomes the payload: who it is, what it may, and exec.

Runs in a forked child that already stands inside the container's namespaces and root. Nothing here
returns to the caller on success.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from layertool.errors import LayertoolError
from layertool.sandbox import linux
from layertool.sandbox.process import FAILED, NOT_EXECUTABLE, NOT_FOUND
from layertool.sandbox.users import Identity


def forbid_imports() -> None:
    """Call before the container's root becomes ours: an import would then load its code.

    That code would run with all our rights (CVE-2019-14271 was such a load). Everything that is
    needed from here on is loaded; what is not fails instead.
    """
    sys.meta_path.clear()


def become(identity: Identity, capabilities: frozenset[int]) -> None:
    """Drop to an identity with at most these capabilities, for good.

    Raises LayertoolError for an id that the user namespace does not map.
    """
    with contextlib.suppress(OSError):  # kernels built without keyrings
        linux.new_session_keyring()
    linux.limit_bounding_set(capabilities)
    with contextlib.suppress(OSError):  # Linux before 4.3
        linux.clear_ambient_capabilities()
    try:
        _set_groups(identity)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise _unmapped(identity) from None
    linux.set_capabilities(capabilities if identity.uid == 0 else frozenset())


def give(fd: int, identity: Identity) -> None:
    """Make an identity the owner of a stream. Raises LayertoolError as `become` does."""
    try:
        os.fchown(fd, identity.uid, -1)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise _unmapped(identity) from None


def _unmapped(identity: Identity) -> LayertoolError:
    return LayertoolError(
        f"user {identity.uid}:{identity.gid} has no number in this user namespace: the user"
        " needs a range in /etc/subuid and /etc/subgid (see `layertool doctor`)",
        exit_code=FAILED,
    )


def _set_groups(identity: Identity) -> None:
    """A namespace with a single id forbids setgroups(2); our own groups are then harmless there."""
    try:
        os.setgroups(list(dict.fromkeys((identity.gid, *identity.groups))))
    except PermissionError:
        if Path("/proc/self/setgroups").read_text().strip() != "deny" or identity.groups:
            raise


def set_streams(stdin: int | None, stdout: int | None, stderr: int | None) -> None:
    """Put descriptors in place as 0, 1, 2; `None` keeps the one that is there."""
    for number, fd in enumerate((stdin, stdout, stderr)):
        if fd is not None:
            os.dup2(fd, number)


def enter_directory(path: str) -> None:
    """Change into the working directory and make sure that it lies below our root.

    A directory that was moved out, or reached by a descriptor that leaked, has a path that starts
    with "(unreachable)" (CVE-2024-21626).
    """
    os.chdir(path)
    if not os.getcwd().startswith("/"):
        raise LayertoolError(f"working directory {path} is outside the root", exit_code=FAILED)


def execute(path: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Replace this process. Raises LayertoolError with 126 or 127 when that fails.

    Every descriptor but the three streams is marked close-on-exec: the report channel must live
    until the exec has worked, and nothing of ours may live longer.
    """
    for number in range(1, signal.NSIG):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o022)
    linux.close_on_exec_from(3)
    try:
        os.execve(path, list(argv), dict(env))
    except OSError as error:
        missing = error.errno == errno.ENOENT
        why = "no such file, or its interpreter is missing" if missing else error.strerror
        raise LayertoolError(
            f"cannot execute {path}: {why}", exit_code=NOT_FOUND if missing else NOT_EXECUTABLE
        ) from None
