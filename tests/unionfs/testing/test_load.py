"""The load: that it holds for our driver, and that it sees what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unionfs.testing.memory import Curve
from unionfs.testing.user import SHARED, User, shared_bytes

SMALL = ["--processes", "4", "--inodes", "6000", "--names", "4000"]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unionfs.testing", "load", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_ours_holds_under_load_and_accidents() -> None:
    done = lab("--seconds", "6", "--inodes", "20000", "--names", "10000")
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "pieces of work by 8 processes",
        "20000 inodes looked at: the daemon grew from",
        "with 768 descriptors for the daemon: held",
        "umount under load: busy, then detached lazily; nothing was lost",
        "umount recovered",
        "memory of the daemon:",
    ):
        assert said in done.stdout


@pytest.mark.differential
def test_the_kernel_holds_too_so_the_load_asks_nothing_of_ours_alone() -> None:
    done = lab("--driver", "kernel", "--seconds", "2", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no daemon that could be killed" in done.stdout


@pytest.mark.needs("root")
def test_who_cannot_run_says_so() -> None:
    done = lab("--driver", "cmd:/nowhere/fs", *SMALL)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "unionfs-lab: driver cmd:/nowhere/fs: /nowhere/fs is not installed"
    )


# --- a user, in a plain directory ---


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """A user at work in a directory that nobody else changes."""
    made = User(0, seed=1, directory_size=3)
    (tmp_path / "names").mkdir()
    for number in range(3):
        (tmp_path / f"names/{number:06d}").touch()
    (tmp_path / "shared").mkdir()
    for number in range(SHARED):
        (tmp_path / f"shared/{number}").write_bytes(shared_bytes(number))
    made.populate(str(tmp_path))
    monkeypatch.chdir(tmp_path / "u0")
    return made


def longest(user: User) -> str:
    return max(user.names, key=lambda path: len(user.names[path].data))


def overwrite(path: str, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(data)


DAMAGE: dict[str, Callable[[str], object]] = {
    "bytes are wrong": lambda path: overwrite(path, b"\0\1\2\3"),
    "a file is too short": lambda path: os.truncate(path, 10),
    "a file is missing": os.unlink,
    "a file appears": lambda path: os.link(path, path + "x"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_user_sees(user: User, name: str) -> None:
    assert user.verify().wrong == []
    DAMAGE[name](longest(user))
    assert len(user.verify().wrong) == 1


def test_a_user_finds_a_directory_right_that_is_right(user: User) -> None:
    report = user.work(1.0, lambda: False)
    assert report.wrong == []
    assert {"create", "rename", "map", "link"} <= report.calls.keys()
    assert user.verify().wrong == []


def test_after_a_crash_only_what_was_synced_must_have_its_content(user: User) -> None:
    synced, written = list(user.names)[:2]
    user.names[written].synced = False
    Path(written).write_bytes(b"half")
    assert user.verify(crashed=True).wrong == []
    Path(synced).write_bytes(b"half")
    (wrong,) = user.verify(crashed=True).wrong
    assert wrong.startswith(f"u0/{synced}: 4 bytes, not")


# --- memory ---

CURVES = {
    "flat": ([100] * 30, True),
    "grows, then stays": ([*range(0, 1000, 50), *[1000] * 30], True),
    "grows all the time": ([*range(0, 3000, 50)], False),
    "too short to tell": ([1, 1000], True),
}


@pytest.mark.parametrize("name", CURVES)
def test_memory_is_bounded_when_it_stops_growing(name: str) -> None:
    values, bounded = CURVES[name]
    curve = Curve([(float(n), value << 20) for n, value in enumerate(values)])
    assert curve.bounded() is bounded


def test_a_curve_shows_its_highest_values() -> None:
    curve = Curve([(float(n), (500 if n == 33 else 100) << 20) for n in range(100)])
    rows = curve.text().splitlines()
    assert len(rows) == 20
    assert [row for row in rows if row.endswith("#" * 50)] == ["     30 s    500.0 MiB " + "#" * 50]
