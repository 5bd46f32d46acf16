"""Some jobs at a time; the first that fails stops the others."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from layertool.transport.registry.retry import Cancelled

# Seconds for the others to end after a failure or Ctrl-C. One that waits for another process's
# lock cannot be woken; it is left behind (the threads are daemons) rather than waited for.
_GRACE = 5.0


def run_all(jobs: Sequence[Callable[[], None]], *, width: int, stop: Callable[[], None]) -> None:
    """Run all jobs, `width` at a time in threads, and return when all are through.

    On a failure, or Ctrl-C, no more are begun and `stop` is called, which must make the running
    ones end soon; then the failure that came first is raised.
    """
    pending = deque(jobs)
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=_work, args=(pending, ended), daemon=True)
        for _ in range(min(width, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    failure = _first_failure(threads, ended)
    if failure is not None:
        pending.clear()
        stop()
        _wait_for(threads)
        raise _cause(failure, ended)


def _first_failure(
    threads: Sequence[threading.Thread], ended: queue.SimpleQueue[BaseException | None]
) -> BaseException | None:
    try:
        for _ in threads:
            failure = ended.get()
            if failure is not None:
                return failure
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


def _work(
    pending: deque[Callable[[], None]], ended: queue.SimpleQueue[BaseException | None]
) -> None:
    """One thread: jobs until there are none, or one fails; tells how it ended."""
    try:
        while True:
            try:
                job = pending.popleft()
            except IndexError:
                break
            job()
    except BaseException as failure:
        ended.put(failure)
    else:
        ended.put(None)


def _wait_for(threads: Sequence[threading.Thread]) -> None:
    deadline = time.monotonic() + _GRACE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _cause(failure: BaseException, ended: queue.SimpleQueue[BaseException | None]) -> BaseException:
    """What began it: a job that was stopped says only that."""
    while isinstance(failure, Cancelled) and not ended.empty():
        failure = ended.get() or failure
    return failure
