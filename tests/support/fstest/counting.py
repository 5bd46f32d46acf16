"""What the kernel asks of a mount of ours."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import drivers
from .drivers import Stack


@contextmanager
def counted(stack: Stack, point: Path) -> Iterator[dict[str, int]]:
    """A mount that counts requests; the numbers are there after it."""
    point.mkdir()
    options = f"{stack.option_string()},stats"
    program = drivers.UNIONFS.command(stack, point)[0]
    counts: dict[str, int] = {}
    with subprocess.Popen(
        [program, "-f", "-o", options, str(point)], stderr=subprocess.PIPE, text=True
    ) as daemon:
        try:
            while not drivers.is_mounted(point):
                assert daemon.poll() is None
                time.sleep(0.01)
            yield counts
        finally:
            subprocess.run(["umount", str(point)], check=False)
            _, said = daemon.communicate(timeout=30)
    for line in said.splitlines():
        words = line.split()
        if len(words) == 5 and words[1].isdigit():
            counts[words[0]] = int(words[1])
