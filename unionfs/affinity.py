"""Serving a request on the processor of whoever asked.

A request and its answer are two context switches. On one processor they are direct; over two,
each wakes an idle processor, which costs several times the request itself (measured on a virtual
machine: 15 against 40 to 90 us). The scheduler prefers the idle processor, so we move to the
caller's while one process asks for small things one by one, and let go when several ask at once
or when data streams, where working in parallel is worth more.

Only a thread of its own may look at the caller: the kernel answers a read of /proc/PID/stat after a
lock that a process in execve(2) holds, and that process may be waiting for us, with a program that
lies on the mount. Who serves requests must never wait for those who make them.
"""

from __future__ import annotations

import os
import queue
import threading

STREAM_BYTES = 64 << 10
"""Reads and writes from this size on are worth a processor of their own."""
SAMPLE_NS = 2_000_000
"""How often the caller is looked at."""
_HOLD_SAMPLES = 50
"""How many samples to stay away after several callers were seen."""


class Follower:
    """Keeps the serving thread on its client's processor. ``wanted`` asks for the next sample.

    Its methods return at once; they are called by the thread that serves requests.
    """

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)
        self._cpu = -1
        self._pid = -1
        self._changes = 0
        self._hold = 0
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._looking = False
        self._server = 0
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
        if not self._server:
            self._server = threading.get_native_id()
            threading.Thread(target=self._look, name="affinity", daemon=True).start()
        if not self._looking:
            self._looking = True
            self._asked.put(pid)

    def release(self) -> None:
        """Run anywhere again."""
        if self._cpu >= 0:
            self._cpu = -1
            _set_affinity(self._server, self._all)

    def _look(self) -> None:
        """The looking thread: it may have to wait for the process that it looks at."""
        while True:
            cpu = _processor(self._asked.get())
            if cpu != self._cpu and cpu in self._all and _set_affinity(self._server, {cpu}):
                self._cpu = cpu
            self._looking = False


def _processor(pid: int) -> int:
    """The processor that *pid* ran on last (proc(5), field 39 of stat), or -1."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read(1024).rpartition(b")")[2].split()[36])
    except (OSError, ValueError, IndexError):
        return -1


def _set_affinity(thread: int, cpus: set[int]) -> bool:
    try:
        os.sched_setaffinity(thread, cpus)
    except OSError:
        return False
    return True
