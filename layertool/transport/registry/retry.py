"""When a registry is asked again, and how long we wait before."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from layertool.errors import RegistryError

# Statuses that say "later", not "no": RFC 9110 15.5.9, 15.6; RFC 6585 4.
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


class TransientError(RegistryError):
    """A failure that may pass: the connection was cut, or the server asked us to come back."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Cancelled(RegistryError):
    """The work was given up because another part of it failed."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently: seconds, doubled each time, with full jitter.

    `longest` bounds a wait that the server asks for: a pull should fail with a reason rather than
    sleep for six hours because a header says so.
    """

    attempts: int = 5
    first: float = 0.5
    most: float = 20.0
    longest: float = 120.0
    notice: Callable[[str], None] = field(default=lambda message: None)
    stop: threading.Event = field(default_factory=threading.Event)

    def pause(self, failure: TransientError, attempt: int) -> None:
        """Wait before the next attempt (counted from 1), or raise `failure` when it was the last.

        Raises RegistryError when the server asks for a longer wait than `longest`, Cancelled when
        `stop` is set meanwhile.
        """
        if self.stop.is_set():
            raise Cancelled("stopped") from failure
        if attempt >= self.attempts:
            raise failure
        delay = self._delay(failure, attempt)
        self.notice(f"{failure}; next try in {delay:.1f} s")
        if self.stop.wait(delay):
            raise Cancelled("stopped") from failure

    def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, which is called again as long as it fails with TransientError."""
        attempt = 1
        while True:
            try:
                return work()
            except TransientError as failure:
                self.pause(failure, attempt)
            attempt += 1

    def _delay(self, failure: TransientError, attempt: int) -> float:
        # Jitter, because twenty machines whose pulls failed together must not come back together.
        backoff = float(min(self.most, self.first * 2 ** (attempt - 1)))
        jittered = backoff * random.uniform(0.5, 1.0)
        if failure.retry_after is None:
            return jittered
        if failure.retry_after > self.longest:
            raise RegistryError(
                f"{failure}; it asks to wait {failure.retry_after:.0f} s: try again after that"
            ) from failure
        return max(failure.retry_after, jittered)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds from now that a Retry-After header means, number or date (RFC 9110 10.2.3)."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # A number of seconds is bounded before it becomes a float: int() of a megabyte of digits.
        return float(value[:12])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(time.time(), UTC)).total_seconds())
