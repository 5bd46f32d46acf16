"""A process that has been started: to signal, to wait for, to stop."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Running:
    """`pid` is our child and gives the exit status.

    A first process has `init_pid`, pid 1 inside, in our numbers; one that joined is `payload`.
    `terminal` is the master of its terminal when it has one.
    """

    pid: int
    init_pid: int | None = None
    payload: int | None = None
    terminal: int | None = None

    def send(self, number: int) -> None:
        """Signal the payload; a payload that is gone is no error."""
        if self.init_pid is not None:
            signal_payload(self.init_pid, number)
        elif self.payload is not None:
            # Our child waits for it, so its number is not used again before that one ends.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.payload, number)

    def wait(self) -> int:
        """The exit status in docker's numbers."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def payload_pid(init_pid: int) -> int | None:
    """The process that was started inside, or None when it has ended.

    Pid 1 only reaps, and adopts orphans; the payload is the one that was born as pid 2.
    """
    try:
        children = Path(f"/proc/{init_pid}/task/{init_pid}/children").read_text().split()
    except OSError:
        return None
    for child in children:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{child}/status").read_text().splitlines():
                if line.startswith("NSpid:") and line.split()[-1] == "2":
                    return int(child)
    return None


def signal_payload(init_pid: int, number: int) -> bool:
    """Signal the payload of an init; KILL goes to the init and ends all of it.

    Uses a pidfd, so that a reused number is never hit. False when there is nothing to signal.
    """
    target = init_pid if number == signal.SIGKILL else payload_pid(init_pid)
    if target is None:
        return False
    try:
        fd = os.pidfd_open(target)
    except OSError:
        return False
    try:
        if number != signal.SIGKILL and payload_pid(init_pid) != target:
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), stat field 22).

    None if it is gone, or a zombie that nobody has waited for yet.

    With it a pid names one process for ever, however often the number is used again.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name, in parentheses, may hold anything.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])
