"""Stopping a build: Ctrl-C or a failed stage ends every program that steps are running."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from layertool.errors import LayertoolError
from layertool.sandbox.running import Running

_PATIENCE = 3.0  # seconds between TERM and KILL
INTERRUPTED = 130  # 128 + SIGINT, what shells expect


class Cancelled(LayertoolError):
    """The build was told to stop; what was finished is cached."""

    exit_code = INTERRUPTED


class Cancellation:
    """Shared by all threads of a build."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, Running] = {}  # by id(): they have no other
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the build is stopping."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise Cancelled when the build is stopping."""
        if self._cancelled.is_set():
            raise Cancelled("interrupted; finished steps are cached, the unfinished left nothing")

    @contextlib.contextmanager
    def watching(self, running: Running) -> Iterator[None]:
        """Let `cancel` end this program while the context lasts."""
        with self._lock:
            self._running[id(running)] = running
        try:
            if self.cancelled:
                running.send(signal.SIGKILL)
            yield
        finally:
            with self._lock:
                del self._running[id(running)]

    def cancel(self) -> None:
        """Stop: TERM to all programs, KILL to those that stay. Returns when none is watched."""
        self._cancelled.set()
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        while self._any() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._send(signal.SIGKILL)

    def _any(self) -> bool:
        with self._lock:
            return bool(self._running)

    def _send(self, number: int) -> None:
        with self._lock:
            for running in self._running.values():
                running.send(number)
