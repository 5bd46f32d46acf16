"""Counting and timing requests (``-o stats``): what the kernel asked for and how long it took.

Installed by replacing the handlers of one Operations object, so that without it nothing is paid.
"""

from __future__ import annotations

import functools
import time
from array import array
from collections.abc import Callable, Coroutine
from typing import Any

OPERATIONS = (
    "lookup",
    "forget",
    "getattr",
    "setattr",
    "readlink",
    "mknod",
    "mkdir",
    "unlink",
    "rmdir",
    "symlink",
    "rename",
    "link",
    "open",
    "read",
    "write",
    "flush",
    "release",
    "fsync",
    "opendir",
    "readdir",
    "releasedir",
    "fsyncdir",
    "statfs",
    "setxattr",
    "getxattr",
    "listxattr",
    "removexattr",
    "create",
)
_KEPT = 100_000

Handler = Callable[..., Coroutine[Any, Any, Any]]


class Stats:
    """Times of requests in microseconds, by operation; the newest 100,000 of each are kept."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._total: dict[str, float] = {}
        self._times: dict[str, array[float]] = {}

    def add(self, operation: str, microseconds: float) -> None:
        """Count one request."""
        count = self._count.get(operation, 0)
        self._count[operation] = count + 1
        self._total[operation] = self._total.get(operation, 0.0) + microseconds
        times = self._times.setdefault(operation, array("f"))
        if len(times) < _KEPT:
            times.append(microseconds)
        else:
            times[count % _KEPT] = microseconds

    def report(self) -> str:
        """A table, the most expensive operation first."""
        lines = [f"{'operation':<12} {'requests':>9} {'total ms':>10} {'p50 us':>8} {'p99 us':>8}"]
        for name in sorted(self._total, key=self._total.__getitem__, reverse=True):
            times = sorted(self._times[name])
            lines.append(
                f"{name:<12} {self._count[name]:>9} {self._total[name] / 1000:>10.1f} "
                f"{_quantile(times, 0.5):>8.1f} {_quantile(times, 0.99):>8.1f}"
            )
        return "\n".join(lines)

    def install(self, operations: object) -> None:
        """Time every handler of *operations* from now on."""
        for name in OPERATIONS:
            setattr(operations, name, self._timed(name, getattr(operations, name)))

    def _timed(self, name: str, handler: Handler) -> Handler:
        clock = time.perf_counter_ns

        @functools.wraps(handler)
        async def wrapper(*arguments: Any) -> Any:
            start = clock()
            try:
                return await handler(*arguments)
            finally:
                self.add(name, (clock() - start) / 1000)

        return wrapper


def _quantile(ordered: list[float], fraction: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]
