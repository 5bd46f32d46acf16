"""Keeping idle processors from falling asleep while requests come.

A caller sleeps until it is answered. Where its processor does so too, waking it takes longer than
most answers: tens of microseconds in a virtual machine, for both sides. PM QoS lets a privileged
process ask for none of that: as long as /dev/cpu_dma_latency is held open with a 0, idle processors
poll (Documentation/power/pm_qos_interface.rst in the kernel).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

DEVICE = Path("/dev/cpu_dma_latency")
AFTER = 32
"""So many requests without a pause make it worth the while."""
_NO_LATENCY = struct.pack("=i", 0)


class Awake:
    """Holds the request during a burst of requests, and only then."""

    def __init__(self, device: Path = DEVICE) -> None:
        self._device = device
        self._fd = -1
        self._requests = 0

    def request(self) -> None:
        """One more request was served."""
        self._requests += 1
        if self._requests == AFTER:
            try:
                self._fd = os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)
                os.write(self._fd, _NO_LATENCY)
            except OSError:
                self.rest()  # slower, that is all

    def rest(self) -> None:
        """No request has come for some time."""
        self._requests = 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
