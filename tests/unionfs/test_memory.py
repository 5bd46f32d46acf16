"""What a mount costs for each inode that the kernel knows, and that it is given back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from unionfs.testing.load import drop_caches, many
from unionfs.testing.memory import resident
from unionfs.testing.mounts import Mounted

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root")]

DIRECTORIES, FILES = 30, 1000


def look_at_all(union: Mounted) -> None:
    for number in range(DIRECTORIES):
        names = os.listdir(union / f"d{number}")
        assert len(names) == FILES
        for name in names:
            os.lstat(union / f"d{number}/{name}")


def falls_below(daemons: list[int], limit: int) -> bool:
    """Have the kernel forget, until it shows: it tells the daemon when it finds the time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert drop_caches()
        time.sleep(0.5)
        if resident(daemons) < limit:
            return True
    return False


def test_a_known_inode_costs_less_than_a_kibibyte_and_gives_it_back(
    union: Callable[..., Mounted], tmp_path: Path
) -> None:
    for number in range(DIRECTORIES):
        many(tmp_path / f"lower/d{number}", FILES)
    mounted = union(tmp_path / "lower")
    daemons = mounted.daemons()
    assert len(daemons) == 1
    before = resident(daemons)
    look_at_all(mounted)
    known = resident(daemons)
    assert (known - before) / (DIRECTORIES * FILES) < 1024
    # Some MiB stay, however many inodes it was: a mebibyte goes back only as a whole.
    assert falls_below(daemons, before + (known - before) * 3 // 4)
    # And again: what grows by a little each time would grow without end.
    look_at_all(mounted)
    assert resident(daemons) < known + (4 << 20)
