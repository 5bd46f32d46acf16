"""Passing on the signals that ask a program for something to the payload, from the first moment."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final

FORWARDED: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Forwarder:
    """While the context lasts, signals go to the payload instead of to us.

    Enter it before the payload is started: what comes before `to` is called waits for it. Only the
    main thread may use it (Python's rule for `signal.signal`).
    """

    def __init__(self) -> None:
        self._send: Callable[[int], object] | None = None
        self._waiting: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Forwarder:
        self._before = {number: signal.signal(number, self._handle) for number in FORWARDED}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def to(self, send: Callable[[int], object]) -> None:
        """Deliver to `send` from now on, and what has come already."""
        self._send = send
        while self._waiting:
            send(self._waiting.pop(0))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._send is None:
            self._waiting.append(number)
        else:
            self._send(number)
