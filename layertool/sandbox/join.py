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

from layertool.errors import LayertoolError
from layertool.sandbox import linux, namespaces, native, plan
from layertool.sandbox.process import FAILED, Process
from layertool.sandbox.running import Running


def start(init_pid: int, process: Process) -> Running:
    """Start `process` beside the payload of the container whose pid 1 is `init_pid`.

    Raises LayertoolError with docker's exit codes. The caller must have a single thread if the
    container has a user namespace of its own, and stands in that namespace afterwards.
    """
    try:
        namespaces.join_user_namespace(init_pid)
        pidfd = os.pidfd_open(init_pid)
    except OSError as error:
        raise LayertoolError(
            f"cannot enter the container: {error.strerror}", exit_code=FAILED
        ) from None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            native.guard(theirs, lambda: _outer(pidfd, process, theirs))
    finally:
        os.close(pidfd)
    theirs.close()
    with ours:
        return native.receive(ours, pid)


def _outer(pidfd: int, process: Process, channel: socket.socket) -> None:
    """Joins; its child is born inside and becomes the payload. Passes the status on."""
    os.setsid()
    linux.die_with_parent(signal.SIGKILL)
    linux.setns(
        pidfd,
        linux.CLONE_NEWNS
        | linux.CLONE_NEWPID
        | linux.CLONE_NEWIPC
        | linux.CLONE_NEWUTS
        | linux.CLONE_NEWNET
        | linux.CLONE_NEWCGROUP,
    )
    os.close(pidfd)
    ready = plan.prepare(Path("/"), process)
    pid = os.fork()
    if pid == 0:
        linux.die_with_parent(signal.SIGKILL)
        native.guard(channel, lambda: native.run_payload(ready, channel))
    channel.send(json.dumps({"payload": pid}).encode())
    channel.close()
    native.forget_everything()
    _, status = os.waitpid(pid, 0)
    os._exit(native.exit_status(status))
