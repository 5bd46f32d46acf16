"""Starting a process with bubblewrap: the runner for the common case.

bubblewrap makes the namespaces, mounts and pid 1. What it cannot do is left to `native`: a user
other than root while all ids stay mapped, a terminal of the container's own, setuid programs (it
always sets no_new_privs). It also says 1 when the command cannot be executed, so the command is
looked up in the root before (`plan.prepare`).
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from layertool.errors import LayertoolError
from layertool.sandbox import linux, room
from layertool.sandbox.plan import Mounted, Plan
from layertool.sandbox.process import DOCKER_CAPABILITIES, FAILED, Bind
from layertool.sandbox.running import Running

_LINE_BYTES: Final = 4096


def program() -> str | None:
    """The bubblewrap on PATH."""
    return shutil.which("bwrap")


def can_run(plan: Plan) -> bool:
    """Whether bubblewrap does all that this process needs."""
    return program() is not None and plan.identity.is_root and not plan.process.tty


def start(plan: Plan) -> Running:
    """Start the payload; returns once bubblewrap has made its namespaces.

    Raises LayertoolError (125) when it could not.
    """
    bwrap = program()
    if bwrap is None:
        raise LayertoolError("bwrap is not installed: apt-get install bubblewrap", exit_code=FAILED)
    status_out, status_in = os.pipe()
    sources = _open_sources(plan)
    try:
        child = _spawn(bwrap, plan, sources, status_in)
    finally:
        os.close(status_in)
        for fd in sources.values():
            os.close(fd)
    # Popen must not reap: the status belongs to Running.wait.
    child.returncode = 0
    return _await_namespaces(child.pid, status_out)


def _await_namespaces(pid: int, status_out: int) -> Running:
    status = os.fdopen(status_out, "rb")
    line = status.readline(_LINE_BYTES)
    if not line:
        status.close()
        os.waitpid(pid, 0)
        raise LayertoolError("bubblewrap could not make the container", exit_code=FAILED)
    return _Bubble(pid, init_pid=json.loads(line)["child-pid"], status=status)


@dataclass(slots=True)
class _Bubble(Running):
    """A running bubblewrap; `status` is where it tells how the payload ended."""

    status: BinaryIO = field(kw_only=True)

    def wait(self) -> int:
        """The exit status. Raises LayertoolError (125) if the payload was never executed.

        bubblewrap exits with 1 then, like a payload might; only its status stream tells the two
        apart. (It is also read so late because bubblewrap must be able to write to it.)
        """
        code = Running.wait(self)
        with self.status:
            ended = any(b'"exit-code"' in line for line in self.status)
        if not ended and code == 1:
            raise LayertoolError(
                "bubblewrap could not start the command; its own message is above",
                exit_code=FAILED,
            )
        return code


def _spawn(
    bwrap: str, plan: Plan, sources: dict[str, int], status_in: int
) -> subprocess.Popen[bytes]:
    arguments = [bwrap, "--json-status-fd", str(status_in), *_arguments(plan, sources)]
    process = plan.process
    try:
        return subprocess.Popen(
            [*arguments, "--", plan.executable, *plan.argv[1:]],
            stdin=None if process.stdin else subprocess.DEVNULL,
            stdout=process.stdout,
            stderr=process.stderr,
            env=dict(plan.env),
            pass_fds=(status_in, *sources.values()),
            start_new_session=True,
            preexec_fn=functools.partial(
                _before_exec, linux.inheritable_capabilities(), plan.capabilities
            ),
        )
    except OSError as error:
        raise LayertoolError(f"{bwrap}: {error.strerror}", exit_code=FAILED) from None


def _before_exec(held: frozenset[int], capabilities: frozenset[int]) -> None:
    """In the child: bubblewrap hands on what it was given, so it must be given what we mean.

    As root it leaves the bounding set as it is. So that is limited here, and what bubblewrap itself
    needs beyond it comes to it by inheritance (capabilities(7), "programs executed by root").
    """
    linux.die_with_parent(signal.SIGKILL)
    linux.set_capabilities(held, inheritable=held)
    linux.limit_bounding_set(capabilities)
    os.umask(0o022)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _open_sources(plan: Plan) -> dict[str, int]:
    """Host paths of binds by their target, opened so that they mean what they meant when asked."""
    return {
        mounted.target: os.open(mounted.spec.source, os.O_PATH | os.O_CLOEXEC)
        for mounted in plan.mounts
        if isinstance(mounted.spec, Bind)
    }


def _arguments(plan: Plan, sources: dict[str, int]) -> Iterator[str]:
    process = plan.process
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if process.network == "none":
        yield "--unshare-net"
    if process.hostname is not None:
        yield from ("--hostname", process.hostname)
    yield "--die-with-parent"
    yield from ("--bind", os.fspath(plan.rootfs), "/")
    yield from ("--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue")
    yield from ("--perms", "1777", "--tmpfs", "/dev/shm")
    yield from ("--ro-bind", "/sys", "/sys")
    for mounted in plan.mounts:
        yield from _mount_arguments(mounted, sources)
    yield from _masks()
    if process.read_only:
        yield from ("--remount-ro", "/")
    yield from ("--cap-drop", "ALL")
    for name, number in DOCKER_CAPABILITIES.items():
        if number in plan.capabilities:
            yield from ("--cap-add", name)
    yield from ("--chdir", plan.cwd)


def _mount_arguments(mounted: Mounted, sources: dict[str, int]) -> Iterator[str]:
    if isinstance(mounted.spec, Bind):
        option = "--ro-bind-fd" if mounted.spec.read_only else "--bind-fd"
        yield from (option, str(sources[mounted.target]), mounted.target)
    else:
        if mounted.spec.size:
            yield from ("--size", str(mounted.spec.size))
        yield from ("--perms", f"{mounted.spec.mode:o}", "--tmpfs", mounted.target)


def _masks() -> Iterator[str]:
    """docker's masks and read-only paths.

    bubblewrap covers the latter only where access(2) says that we may write to the directory: not
    /proc/sys, whose files uid 0 may write without any capability.
    """
    for path in room.READ_ONLY:
        if os.path.exists(path):
            yield from ("--ro-bind", path, path)
    for path in room.MASKED:
        if os.path.isdir(path):
            yield from ("--tmpfs", path, "--remount-ro", path)
        elif os.path.exists(path):
            yield from ("--ro-bind", "/dev/null", path)
