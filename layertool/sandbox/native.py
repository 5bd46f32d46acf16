"""Starting a process in namespaces that we make ourselves, with nothing but system calls.

Three processes: an outer one that stays in the caller's pid namespace and passes the status on; an
init, pid 1 inside, which furnishes the room and then only reaps; and the payload, pid 2. So a
payload needs none of the duties of pid 1, and the end of the init ends everything inside.

This is the runner for what bubblewrap does not do: another user than root with all ids mapped, a
terminal of the container's own, setuid programs that work.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import struct
from collections.abc import Callable
from typing import Final, NoReturn

from layertool.errors import LayertoolError
from layertool.sandbox import launch, linux, room, terminal
from layertool.sandbox.plan import Plan
from layertool.sandbox.process import FAILED
from layertool.sandbox.running import Running

_TIOCGPTPEER: Final = 0x5441
_TIOCSPTLCK: Final = 0x40045431
_PTMX_DEVICE: Final = os.makedev(5, 2)
_MESSAGE_BYTES: Final = 8192


def start(plan: Plan) -> Running:
    """Start the payload; returns once it has been executed.

    Raises LayertoolError, with docker's exit code, if any step before that fails.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        guard(theirs, lambda: _outer(plan, theirs))
    theirs.close()
    with ours:
        return receive(ours, pid)


def receive(channel: socket.socket, pid: int) -> Running:
    """Collect what a starting payload reports until its exec closes the channel."""
    init_pid = payload = master = None
    while True:
        message, fds, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 1)
        if not message:
            break
        if fds:
            master = fds[0]
        report = json.loads(message)
        if "error" in report:
            os.waitpid(pid, 0)
            if master is not None:
                os.close(master)
            raise LayertoolError(report["error"], exit_code=report["status"])
        init_pid = report.get("init", init_pid)
        payload = report.get("payload", payload)
    return Running(pid, init_pid=init_pid, payload=payload, terminal=master)


def guard(channel: socket.socket, body: Callable[[], None]) -> NoReturn:
    """Run the body of a forked child: whatever happens, it reports and never returns."""
    try:
        body()
    except LayertoolError as error:
        _report(channel, str(error), error.exit_code)
    except OSError as error:
        _report(channel, f"cannot start the container: {error}", FAILED)
    except BaseException as error:  # a bug here must not run the parent's code twice
        _report(channel, f"cannot start the container: {error!r}", FAILED)
    finally:
        os._exit(FAILED)


def _report(channel: socket.socket, message: str, status: int) -> None:
    with contextlib.suppress(OSError):
        text = json.dumps({"error": message[: _MESSAGE_BYTES // 8], "status": status})
        channel.send(text.encode())


def _outer(plan: Plan, channel: socket.socket) -> None:
    # Our own session: a Ctrl-C at the caller's terminal is the caller's to forward.
    os.setsid()
    linux.die_with_parent(signal.SIGKILL)
    linux.unshare(_namespaces(plan))
    pid = os.fork()
    if pid == 0:
        guard(channel, lambda: _init(plan, channel))
    channel.send(json.dumps({"init": pid}).encode())
    channel.close()
    forget_everything()
    _, status = os.waitpid(pid, 0)
    os._exit(exit_status(status))


def _namespaces(plan: Plan) -> int:
    flags = (
        linux.CLONE_NEWNS
        | linux.CLONE_NEWPID
        | linux.CLONE_NEWIPC
        | linux.CLONE_NEWUTS
        | linux.CLONE_NEWCGROUP
    )
    return flags | (linux.CLONE_NEWNET if plan.process.network == "none" else 0)


def _init(plan: Plan, channel: socket.socket) -> None:
    launch.forbid_imports()
    linux.die_with_parent(signal.SIGKILL)
    if plan.process.hostname is not None:
        socket.sethostname(plan.process.hostname)
    if plan.process.network == "none":
        room.raise_loopback()
    room.furnish(plan)
    # Ours is the program and memory of the host: nobody inside may look into it, from the first
    # moment. For the payload its exec turns this off again.
    linux.set_dumpable(False)
    payload = os.fork()
    if payload == 0:
        guard(channel, lambda: run_payload(plan, channel))
    channel.close()
    linux.limit_bounding_set(plan.capabilities)
    linux.set_capabilities(frozenset())
    forget_everything()
    os._exit(_reap_until(payload))


def run_payload(plan: Plan, channel: socket.socket) -> None:
    """In the payload: take streams and identity, and execute. Returns only by raising."""
    process = plan.process
    if process.tty:
        master, slave = open_terminal()
        socket.send_fds(channel, [b"{}"], [master])
        os.close(master)
        launch.give(slave, plan.identity)
        # Before the payload can ask. Standard output is still that of the caller.
        terminal.set_size(slave, 1)
        os.login_tty(slave)
    else:
        os.setsid()
        stdin = None if process.stdin else os.open("/dev/null", os.O_RDONLY)
        for fd in (process.stdout, process.stderr):
            # Or opening /dev/stdout again, as servers do for their logs, is forbidden.
            if fd is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):
                launch.give(fd, plan.identity)
        launch.set_streams(stdin, process.stdout, process.stderr)
    launch.become(plan.identity, plan.capabilities)
    launch.enter_directory(plan.cwd)
    launch.execute(plan.executable, plan.argv, plan.env)


def open_terminal() -> tuple[int, int]:
    """(master, slave) of a new terminal in the devpts that is mounted inside.

    What is opened must be the real multiplexer, and the slave is asked of the master itself
    (TIOCGPTPEER), because names below /dev are the container's to arrange (CVE-2025-52565).
    """
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW)
    info = os.fstat(master)
    if not stat.S_ISCHR(info.st_mode) or info.st_rdev != _PTMX_DEVICE:
        raise LayertoolError("/dev/pts/ptmx inside is no terminal multiplexer", exit_code=FAILED)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    return master, slave


def forget_everything() -> None:
    """A waiting process needs no files: an open one would keep pipes and mounts alive."""
    os.chdir("/")
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))


def _reap_until(payload: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == payload:
            return exit_status(status)


def exit_status(status: int) -> int:
    """The shell's encoding of a wait status: n, or 128+n for a signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
