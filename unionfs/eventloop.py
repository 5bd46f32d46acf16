"""The adaptive wait in front of pyfuse3's request loop.

pyfuse3 takes a lock and waits for its descriptor through trio's scheduler for each request, which
costs more than most requests. Requests come in bursts, so after one is answered the next is
awaited for a moment with poll(2) right here, and only then in trio. pyfuse3 looks its event loop up
by name (``pyfuse3.trio``), as its own asyncio support uses; this module is put there.

The wait is bounded: an idle mount sleeps in trio and costs no CPU, and while any other trio task
has work under way (a copy-up in a thread, a signal) nothing blocks.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pyfuse3
import trio

from .awake import Awake
from .replies import Replies

SEVERAL = len(os.sched_getaffinity(0)) > 1
"""Whether the caller can go on while we do; where it needs our processor, we should sleep."""
SPIN_NS = 40_000 if SEVERAL else 0
"""How long to ask again and again."""
DOZES = 3
"""How many times to block in poll(2) for a millisecond after that, before trio's sleep."""
SHARE_NS = 5_000_000
"""Under constant load, trio's other tasks get their turn this often."""


class _NoLock:
    """pyfuse3 reads with one task at a time; the gate in wait_readable sees to that."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class AdaptiveLoop:
    """What pyfuse3 sees as the module ``trio``."""

    Lock = _NoLock
    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(trio.open_nursery)

    def __init__(
        self,
        replies: Replies,
        on_ready: Callable[[], None],
        spare: Callable[[], bool],
        awake: Awake | None,
    ) -> None:
        self._replies = replies
        self._awake = awake
        self._spare = spare
        self.lowlevel = self
        self.current_task = trio.lowlevel.current_task
        self.current_trio_token = trio.lowlevel.current_trio_token
        self.notify_closing = trio.lowlevel.notify_closing
        self._on_ready: Callable[[], None] | None = on_ready
        self._gate = trio.Lock()
        self._poll = select.poll()
        self._fd = -1
        self._waits = 0
        self._shared_at = 0

    async def wait_readable(self, fd: int) -> None:
        """Return when a request can be read from *fd* without blocking."""
        if fd != self._fd:
            self._poll.register(fd, select.POLLIN)
            self._fd = fd
            self._replies.attach(fd)
        self._replies.send()
        if self._awake is not None:
            self._awake.request()
        if self._on_ready is not None:
            self._announce()
        clock, poll, relax = time.monotonic_ns, self._poll.poll, os.sched_yield
        now = clock()
        if now - self._shared_at > SHARE_NS:
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._shared_at = now
        if poll(0):
            return
        limit = now + SHARE_NS
        while SEVERAL and self._spare() and clock() < limit:
            relax()
            if poll(0):
                return
        limit = clock() + SPIN_NS
        while clock() < limit:
            relax()
            if poll(0):
                return
        for _ in range(DOZES):
            if poll(1):
                return
        await self._sleep(fd)

    def _announce(self) -> None:
        # The first wait is for INIT; the second means that INIT was answered.
        self._waits += 1
        ready = self._on_ready
        if self._waits == 2 and ready is not None:
            self._on_ready = None
            ready()

    async def _sleep(self, fd: int) -> None:
        if self._awake is not None:
            self._awake.rest()
        async with self._gate:
            while True:
                await trio.lowlevel.wait_readable(fd)
                # Another task may have taken the request since epoll answered.
                if self._poll.poll(0):
                    self._shared_at = time.monotonic_ns()
                    return


def install(
    replies: Replies,
    on_ready: Callable[[], None],
    spare: Callable[[], bool],
    awake: Awake | None,
) -> None:
    """Put the adaptive wait in front of pyfuse3's loop; call before pyfuse3.init().

    *spare* does a little useful work while no request is there, and answers False for want of any.
    *awake* is told when requests come and when they have ceased.
    """
    module: Any = pyfuse3
    module.trio = AdaptiveLoop(replies, on_ready, spare, awake)
