"""What is believed of a container's state."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from layertool.errors import UsageError
from layertool.sandbox.lifecycle import signal_number
from layertool.sandbox.running import payload_pid, signal_payload, start_time
from layertool.sandbox.state import State


def test_round_trip(tmp_path: Path) -> None:
    state = State().begun(os.getpid(), "kernel")
    state.save(tmp_path)
    assert State.load(tmp_path, running=True) == state
    assert state.live_init() == os.getpid()
    ended = state.ended(3)
    ended.save(tmp_path)
    assert State.load(tmp_path, running=False) == ended
    assert (ended.status, ended.exit_code, ended.live_init()) == ("exited", 3, None)


def test_running_with_a_free_lock_is_a_crash(tmp_path: Path) -> None:
    State().begun(os.getpid(), "kernel").save(tmp_path)
    lost = State.load(tmp_path, running=False)
    assert (lost.status, lost.exit_code, lost.finished) == ("exited", 137, None)


def test_a_number_used_again_is_not_the_same_process() -> None:
    state = State().begun(os.getpid(), "kernel")
    assert state.init_start is not None
    assert dataclasses.replace(state, init_start=state.init_start - 1).live_init() is None


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", '"text"', "null", '{"status": "made up"}']
)
def test_damaged_record(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    assert State.load(tmp_path, running=False).live_init() is None


def test_process_that_is_gone() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert start_time(child.pid) is None
    assert payload_pid(child.pid) is None
    assert not signal_payload(child.pid, 15)


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None
    child.wait()


def test_name_with_parentheses(tmp_path: Path) -> None:
    """The name in /proc/PID/stat may look like the fields after it."""
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "60"])
    try:
        assert start_time(child.pid) == start_time(child.pid) is not None
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("sigterm", 15), ("9", 9), ("RTMIN+3", 37), ("SIGUSR1", 10)],
)
def test_signal_number(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NOPE", "RTMIN+99", "15x"])
def test_not_a_signal(text: str) -> None:
    with pytest.raises(UsageError, match="no such signal"):
        signal_number(text)
