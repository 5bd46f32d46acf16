"""Serving a request on the processor of whoever asked.

A request and its answer are two context switches. On one processor they are direct; over two,
each wakes an idle processor, which costs several times the request itself (measured on a virtual
machine: 15 against 40 to 90 us). The scheduler prefers the idle processor, so we move to the
caller's while one process asks for small things one by one, and let go when several ask at once
or when data streams, where working in parallel is worth more.
"""

from __future__ import annotations

import os

STREAM_BYTES = 64 << 10
"""Reads and writes from this size on are worth a processor of their own."""
SAMPLE_NS = 2_000_000
"""How often the caller is looked at."""
_HOLD_SAMPLES = 50
"""How many samples to stay away after several callers were seen."""


class Follower:
    """Keeps the calling thread on its client's processor. ``wanted`` asks for the next sample."""

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)
        self._cpu = -1
        self._pid = -1
        self._changes = 0
        self._hold = 0
        self.wanted = False

    def follow(self, pid: int) -> None:
        """Process *pid* made the current request."""
        self.wanted = False
        if self._hold:
            self._hold -= 1
            return
        if pid != self._pid:
            self._pid = pid
            self._changes += 1
            if self._changes > 3:
                self._changes, self._hold = 0, _HOLD_SAMPLES
                self.release()
            return
        self._changes = 0
        cpu = _processor(pid)
        if cpu != self._cpu and cpu in self._all:
            self._pin(cpu)

    def release(self) -> None:
        """Run anywhere again."""
        if self._cpu >= 0:
            self._cpu = -1
            _set_affinity(self._all)

    def _pin(self, cpu: int) -> None:
        if _set_affinity({cpu}):
            self._cpu = cpu


def _processor(pid: int) -> int:
    """The processor that *pid* ran on last (proc(5), field 39 of stat), or -1."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read(1024).rpartition(b")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return -1


def _set_affinity(cpus: set[int]) -> bool:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        return False
    return True
