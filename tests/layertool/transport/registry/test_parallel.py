"""Jobs side by side: all of them, or the first failure."""

from __future__ import annotations

import threading
import time

import pytest

from layertool.errors import RegistryError
from layertool.transport.registry import parallel
from layertool.transport.registry.parallel import run_all
from layertool.transport.registry.retry import Cancelled


def never() -> None:
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("width", [1, 3, 50])
def test_all_run(width: int) -> None:
    done: list[int] = []
    run_all([lambda n=n: done.append(n) for n in range(20)], width=width, stop=never)  # type: ignore[misc]
    assert sorted(done) == list(range(20))


def test_none() -> None:
    run_all([], width=3, stop=never)


def test_no_more_than_width_at_once() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def job() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    run_all([job] * 12, width=3, stop=never)
    assert most[0] == 3


def test_the_first_failure_stops_and_is_raised() -> None:
    stop = threading.Event()
    begun: list[int] = []

    def waits() -> None:
        begun.append(1)
        assert stop.wait(20)
        raise Cancelled("stopped")

    def fails() -> None:
        raise RegistryError("the cause")

    with pytest.raises(RegistryError, match="the cause"):
        run_all([waits, fails, waits, waits], width=2, stop=stop.set)
    assert len(begun) <= 2


def test_a_job_that_cannot_be_woken_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_GRACE", 0.2)
    forever = threading.Event()

    def fails() -> None:
        raise RegistryError("the cause")

    started = time.monotonic()
    with pytest.raises(RegistryError, match="the cause"):
        run_all([forever.wait, fails], width=2, stop=lambda: None)  # type: ignore[list-item]
    assert time.monotonic() - started < 5
    forever.set()
