"""Listings that the kernel keeps, and loses while somebody reads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from unionfs.testing.load import many
from unionfs.testing.mounts import Mounted

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root")]

# More than one getdents(2) answers.
NAMES = 3000


def drop_page_cache(directory: Path) -> None:
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as switch:
        switch.write("1")


def change_and_list(directory: Path) -> None:
    (directory / "000000").rename(directory / "renamed")
    (directory / "000001").unlink()
    os.listdir(directory)


@pytest.mark.parametrize("disturb", [drop_page_cache, change_and_list])
def test_a_listing_goes_on_when_the_kernel_has_lost_its_own(
    union: Callable[..., Mounted], tmp_path: Path, disturb: Callable[[Path], None]
) -> None:
    many(tmp_path / "lower/d", NAMES)
    directory = union(tmp_path / "lower") / "d"
    for _ in range(2):  # the first fills the kernel's cache
        os.listdir(directory)
    with os.scandir(directory) as entries:
        seen = [next(entries).name]
        disturb(directory)
        seen += [entry.name for entry in entries]
    assert len(seen) == len(set(seen))
    stayed = {f"{number:06d}" for number in range(2, NAMES)}
    assert stayed <= set(seen)
