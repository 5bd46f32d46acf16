"""Who is compared: every union file system as one way to mount a stack of layers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnionError

PATIENCE = 20.0
"""Seconds after which a mount or unmount counts as hung."""


@dataclass(frozen=True, slots=True)
class Driver:
    """*prefix* is the command before ``-o OPTIONS MOUNTPOINT``; *defaults* go with every mount.

    An empty prefix is a plain directory: the layers are copied into it, the reference for POSIX.
    """

    name: str
    prefix: tuple[str, ...]
    defaults: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        """Whether nothing is mounted at all."""
        return not self.prefix

    def missing(self) -> str | None:
        """Why it cannot be used here, or None."""
        if self.is_directory:
            return None
        if os.geteuid() != 0:
            return "needs root"
        if shutil.which(self.prefix[0]) is None:
            return f"{self.prefix[0]} is not installed"
        if self.name.startswith("kernel"):
            with open("/proc/filesystems", encoding="ascii") as table:
                if not any(line.split()[-1] == "overlay" for line in table):
                    return "the kernel has no overlayfs; run: modprobe overlay"
        return None


def _ours(*options: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (sys.executable, "-m", "unionfs.cli"), options


_KERNEL = ("mount", "-t", "overlay", "overlay")

DRIVERS: dict[str, Driver] = {
    driver.name: driver
    for driver in (
        Driver("kernel", _KERNEL, ("redirect_dir=on", "index=off", "metacopy=off")),
        Driver("kernel-default", _KERNEL),
        Driver("kernel-all", _KERNEL, ("redirect_dir=on", "index=on", "metacopy=on", "xino=on")),
        Driver("kernel-off", _KERNEL, ("redirect_dir=off", "index=off", "metacopy=off")),
        Driver("unionfs", *_ours()),
        Driver("unionfs-off", *_ours("redirect_dir=off")),
        Driver("unionfs-userxattr", *_ours("userxattr")),
        Driver("unionfs-nowriteback", *_ours("writeback=0")),
        Driver("fuse-overlayfs", ("fuse-overlayfs",)),
        Driver("directory", ()),
    )
}


def find_driver(text: str) -> Driver:
    """A driver by name, or ``cmd:PROGRAM ARGS`` for any program called as fuse-overlayfs is.

    Raises UnionError when there is none of that name or it cannot run here.
    """
    if text.startswith("cmd:"):
        driver = Driver(text, tuple(text[4:].split()))
    elif text in DRIVERS:
        driver = DRIVERS[text]
    else:
        raise UnionError(f"no driver {text}; known: {', '.join(DRIVERS)}, or cmd:PROGRAM")
    reason = driver.missing()
    if reason is not None:
        raise UnionError(f"driver {text}: {reason}")
    return driver


@contextmanager
def mounted(
    driver: Driver, lowers: Sequence[Path], upper: Path, work: Path, point: Path
) -> Iterator[Path]:
    """The stack mounted at *point*, unmounted at the end whatever happens."""
    for directory in (upper, work, point):
        directory.mkdir(parents=True, exist_ok=True)
    if driver.is_directory:
        yield _flattened(lowers, upper)
        return
    stack = f"lowerdir={':'.join(map(str, lowers))},upperdir={upper},workdir={work}"
    options = ",".join((stack, *driver.defaults))
    try:
        done = subprocess.run(
            [*driver.prefix, "-o", options, str(point)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            raise UnionError(f"{driver.name} cannot mount: {done.stderr.strip()}")
        yield point
    except subprocess.TimeoutExpired:
        raise UnionError(f"{driver.name} did not mount within {PATIENCE:.0f} s") from None
    finally:
        unmount(point)


def _flattened(lowers: Sequence[Path], upper: Path) -> Path:
    """A copy of the merged view in a plain directory; the first time only."""
    marker = upper / ".flattened"
    target = upper / "tree"
    if not marker.exists():
        target.mkdir()
        for lower in reversed(lowers):
            subprocess.run(["cp", "-a", f"{lower}/.", str(target)], check=True)
        marker.touch()
    return target


def unmount(point: Path) -> None:
    """umount; when busy or hung, lazily and by aborting the FUSE connection."""
    deadline = time.monotonic() + PATIENCE
    while is_mounted(point):
        lazy = ["-l"] if time.monotonic() > deadline - PATIENCE / 2 else []
        try:
            subprocess.run(["umount", *lazy, str(point)], capture_output=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        if time.monotonic() > deadline:
            raise UnionError(f"cannot unmount {point}")


def is_mounted(point: Path) -> bool:
    """Asks the mount table, for a hung mount cannot be asked."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split()[4] == str(point) for line in table)
