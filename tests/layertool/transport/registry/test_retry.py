"""How often, how long, and when not at all."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from layertool.errors import RegistryError
from layertool.transport.registry.retry import (
    Cancelled,
    Retry,
    TransientError,
    parse_retry_after,
)


class Flaky:
    """Fails `failures` times, then works."""

    def __init__(self, failures: int, retry_after: float | None = None) -> None:
        self.failures = failures
        self.retry_after = retry_after
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise TransientError("server: busy", retry_after=self.retry_after)
        return "done"


def quick(**changes: object) -> Retry:
    return Retry(first=0.001, most=0.002, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("failures", [0, 1, 4])
def test_passing_failures_are_survived(failures: int) -> None:
    work = Flaky(failures)
    assert quick().run(work) == "done"
    assert work.calls == failures + 1


def test_the_last_failure_is_the_error() -> None:
    work = Flaky(99)
    with pytest.raises(TransientError, match="server: busy"):
        quick().run(work)
    assert work.calls == 5


def test_other_errors_are_not_tried_again() -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise RegistryError("no")

    with pytest.raises(RegistryError, match="no"):
        quick().run(work)
    assert len(calls) == 1


def test_waits_at_least_as_long_as_the_server_asks() -> None:
    started = time.monotonic()
    quick().run(Flaky(1, retry_after=0.2))
    assert time.monotonic() - started >= 0.2


def test_a_wait_of_hours_is_an_error_and_no_sleep() -> None:
    with pytest.raises(RegistryError, match="asks to wait 21600 s"):
        quick().run(Flaky(1, retry_after=21600))


def test_waits_grow_and_never_pass_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda delay: waits.append(delay))
    with pytest.raises(TransientError):
        Retry(attempts=8, first=1.0, most=10.0, stop=stop).run(Flaky(99))
    for wait, nominal in zip(waits, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert nominal / 2 <= wait <= nominal


def test_stop_ends_a_wait() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        Retry(first=30.0, most=30.0, stop=stop).run(Flaky(1))
    assert time.monotonic() - started < 10


def test_each_wait_is_told() -> None:
    said: list[str] = []
    quick(notice=said.append).run(Flaky(2))
    assert len(said) == 2
    assert said[0].startswith("server: busy; next try in ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 5000, 999999999999.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_parse_retry_after(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value) == expected


def test_parse_retry_after_date() -> None:
    seconds = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60)))
    assert seconds is not None
    assert 55 <= seconds <= 61
