"""Keeping processors awake during a burst of requests, and not a moment longer."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from unionfs.awake import AFTER, DEVICE, Awake
from unionfs.testing.mounts import Mounted


def holders(device: Path, pid: int | None = None) -> int:
    """How many descriptors of a process, of this one by default, lead to *device*."""
    found = 0
    for link in Path(f"/proc/{pid or os.getpid()}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(link) == str(device)
    return found


def test_a_burst_holds_the_device_until_it_is_over(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.touch()
    awake = Awake(device)
    for _ in range(AFTER - 1):
        awake.request()
    assert not holders(device)
    awake.request()
    awake.request()
    assert holders(device) == 1
    assert device.read_bytes() == struct.pack("=i", 0)
    awake.rest()
    assert not holders(device)


def test_single_requests_do_nothing(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.touch()
    awake = Awake(device)
    for _ in range(2 * AFTER):
        awake.request()
        awake.rest()
    assert device.read_bytes() == b""


def test_without_permission_it_does_nothing(tmp_path: Path) -> None:
    awake = Awake(tmp_path / "missing")
    for _ in range(2 * AFTER):
        awake.request()
    awake.rest()


@pytest.mark.mounted
@pytest.mark.needs("root")
def test_a_mount_holds_it_only_while_it_is_used(
    union: Callable[..., Mounted], tmp_path: Path
) -> None:
    if not os.access(DEVICE, os.W_OK):
        pytest.skip(f"impossible here: {DEVICE} cannot be written")
    mounted = union({}, options=["awake"])
    (pid,) = mounted.daemons()
    held = 0
    for number in range(20 * AFTER):
        (mounted / f"missing{number}").exists()
        held += holders(DEVICE, pid)
    assert held
    time.sleep(0.5)
    assert not holders(DEVICE, pid)
