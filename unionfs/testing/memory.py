"""Memory of processes over time: samples, and a curve that a terminal can show."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

ROWS, WIDTH = 20, 50
# A sample each so many seconds.
INTERVAL_S = 0.25
GROWTH, SLACK = 1.2, 16 << 20


def resident(pids: Iterable[int]) -> int:
    """Resident bytes of the processes together (VmRSS, proc_pid_status(5)); 0 for one that ended."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii") as file:
            total += sum(int(line.split()[1]) << 10 for line in file if line.startswith("VmRSS:"))
    return total


@dataclass
class Curve:
    """(seconds since the first, bytes), in order."""

    samples: list[tuple[float, int]] = field(default_factory=list)
    began: float | None = None

    def sample(self, pids: Iterable[int]) -> None:
        """Note the memory now, unless that was done a moment ago."""
        self.began = self.began or time.monotonic()
        now = time.monotonic() - self.began
        if not self.samples or now - self.samples[-1][0] >= INTERVAL_S:
            self.samples.append((now, resident(pids)))

    def bounded(self) -> bool:
        """Whether memory has stopped growing: its last third is no higher than its second third.

        Some slack is for the allocator and for what the kernel happens to know at the time.
        """
        values = [value for _, value in self.samples]
        third = len(values) // 3
        if not third:
            return True
        return max(values[2 * third :]) <= max(values[third : 2 * third]) * GROWTH + SLACK

    def text(self) -> str:
        """The curve as rows of bars, time going down."""
        step = max(1, len(self.samples) // ROWS)
        rows = [
            (self.samples[first][0], max(value for _, value in self.samples[first : first + step]))
            for first in range(0, len(self.samples), step)
        ]
        most = max((value for _, value in rows), default=0) or 1
        return "\n".join(
            f"{when:7.0f} s {value / 2**20:8.1f} MiB {'#' * round(WIDTH * value / most)}"
            for when, value in rows
        )
