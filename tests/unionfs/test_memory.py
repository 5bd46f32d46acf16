"""What a mount costs for each inode that the kernel knows, and that it is given back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from unionfs.testing.load import drop_caches, many, settled
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


def test_a_known_inode_costs_less_than_a_kibibyte_and_nothing_once_forgotten(
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
    assert drop_caches()
    assert settled(daemons) - before < (known - before) / 2
    # And again: what grows by a little each time would grow without end.
    look_at_all(mounted)
    assert resident(daemons) < known + (4 << 20)
