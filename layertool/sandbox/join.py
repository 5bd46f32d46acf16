"""Starting another process in a running container: `exec`.

The process joins every namespace of the container's pid 1 and then is looked up, given its identity
and executed by the same code as the first one. Everything about the container's root is asked after
joining, so it is the container's own view, mounts included.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Final

from layertool.errors import Conflict, LayertoolError
from layertool.sandbox import launch, linux, namespaces, native, plan
from layertool.sandbox.process import FAILED, Process
from layertool.sandbox.running import Running, payload_pid

_NAMESPACES: Final = {
    "mnt": linux.CLONE_NEWNS,
    "pid": linux.CLONE_NEWPID,
    "ipc": linux.CLONE_NEWIPC,
    "uts": linux.CLONE_NEWUTS,
    "net": linux.CLONE_NEWNET,
    "cgroup": linux.CLONE_NEWCGROUP,
}


def start(init_pid: int, process: Process) -> Running:
    """Start `process` beside the payload of the container whose pid 1 is `init_pid`.

    Raises LayertoolError with docker's exit codes. The caller must have a single thread if the
    container has a user namespace of its own, and stands in that namespace afterwards.
    """
    # Through the payload: the init is a fork of the host's program, closed to an ordinary user.
    target = payload_pid(init_pid)
    if target is None:
        raise Conflict("the container is not running", exit_code=FAILED)
    try:
        namespaces.join_user_namespace(target)
        pidfd = os.pidfd_open(target)
        flags = _other_namespaces(target)
    except OSError as error:
        raise LayertoolError(
            f"cannot enter the container: {error.strerror}", exit_code=FAILED
        ) from None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            native.guard(theirs, lambda: _outer(pidfd, flags, process, theirs))
    finally:
        os.close(pidfd)
    theirs.close()
    with ours:
        return native.receive(ours, pid)


def _other_namespaces(pid: int) -> int:
    """The namespaces of a process that are not ours: one that is shared may not be ours to join."""
    return sum(
        flag
        for name, flag in _NAMESPACES.items()
        if os.stat(f"/proc/{pid}/ns/{name}").st_ino != os.stat(f"/proc/self/ns/{name}").st_ino
    )


def _outer(pidfd: int, flags: int, process: Process, channel: socket.socket) -> None:
    """Joins; its child is born inside and becomes the payload. Passes the status on."""
    os.setsid()
    launch.forbid_imports()
    linux.die_with_parent(signal.SIGKILL)
    linux.setns(pidfd, flags)
    os.close(pidfd)
    pid = os.fork()
    if pid == 0:
        native.guard(channel, lambda: _inner(process, channel))
    channel.send(json.dumps({"payload": pid}).encode())
    channel.close()
    native.forget_everything()
    _, status = os.waitpid(pid, 0)
    os._exit(native.exit_status(status))


def _inner(process: Process, channel: socket.socket) -> None:
    """Born in the container's pid namespace: only here does its /proc know us."""
    linux.die_with_parent(signal.SIGKILL)
    native.run_payload(plan.prepare(Path("/"), process), channel)
