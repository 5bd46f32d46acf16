"""Union implementations behind one call: a mount that is always undone.

A mountpoint must never lie on a path that the daemon itself walks (a layer, the working
directory, sys.path): a daemon that waits for its own answer cannot be helped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unionfs.testing import mounts
from unionfs.testing.mounts import is_mounted

from . import needs

PATIENCE = 20.0  # seconds until a mount, an unmount or a daemon's exit counts as hung


class MountFailed(Exception):
    """The program refused; `.stderr` is what it said and `.status` how it exited."""

    def __init__(self, driver: str, status: int, stderr: str) -> None:
        super().__init__(f"{driver} exited {status}: {stderr.strip()}")
        self.status = status
        self.stderr = stderr


@dataclass(frozen=True)
class Stack:
    """What to mount: lowers from top to bottom, and where changes go (None: read-only)."""

    lowers: tuple[Path, ...]
    upper: Path | None = None
    work: Path | None = None
    options: tuple[str, ...] = ()

    def option_string(self) -> str:
        """The -o text, with the characters escaped that are separators in it."""
        parts = ["lowerdir=" + ":".join(_escape(lower, r"\:,") for lower in self.lowers)]
        if self.upper is not None:
            parts.append("upperdir=" + _escape(self.upper, r"\,"))
        if self.work is not None:
            parts.append("workdir=" + _escape(self.work, r"\,"))
        return ",".join([*parts, *self.options])


def _escape(path: Path, special: str) -> str:
    return "".join("\\" + char if char in special else char for char in str(path))


@dataclass(frozen=True)
class Driver:
    """One implementation. `command` makes the argv that mounts a stack at a place."""

    name: str
    requires: tuple[str, ...]
    prefix: tuple[str, ...]
    defaults: tuple[str, ...] = ()
    source: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Why this driver cannot be used here, or None."""
        for need in self.requires:
            reason = needs.missing(need)
            if reason is not None:
                return f"driver {self.name} {reason}"
        return None

    def command(self, stack: Stack, point: Path) -> list[str]:
        options = ",".join([stack.option_string(), *self.defaults])
        return [*self.prefix, *self.source, "-o", options, str(point)]


def _unionfs_program() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "unionfs")


KERNEL = Driver("kernel", ("root", "overlay"), ("mount", "-t", "overlay"), source=("overlay",))
UNIONFS = Driver("unionfs", ("fuse", _unionfs_program()), (_unionfs_program(),))
FUSE_OVERLAYFS = Driver("fuse-overlayfs", ("fuse", "fuse-overlayfs"), ("fuse-overlayfs",))
DRIVERS = {driver.name: driver for driver in (UNIONFS, KERNEL, FUSE_OVERLAYFS)}


@dataclass
class Mounted:
    """A live mount. Leaving it as a context manager, or unmount(), always undoes it."""

    driver: Driver
    stack: Stack
    point: Path
    stderr: str = field(default="")

    def __enter__(self) -> Mounted:
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()

    def __fspath__(self) -> str:
        return str(self.point)

    def __truediv__(self, name: str) -> Path:
        return self.point / name

    def pids(self) -> list[int]:
        """Our own daemon: processes of this user that have the mountpoint as an argument."""
        return [] if self.driver is KERNEL else daemons_at(self.point)

    def unmount(self) -> None:
        """umount, then lazily, then by the end of its daemon. Repeating it does no harm.

        Raises RuntimeError when a daemon outlives its mount (it is killed first, all the same).
        """
        pids = self.pids()
        if is_mounted(self.point) and _run(_umount(self.point)) != 0:
            _run(_umount(self.point, lazy=True))
        survivors = await_exit(pids)
        for pid in survivors:
            os.kill(pid, signal.SIGKILL)
        if survivors and is_mounted(self.point):
            _run(_umount(self.point, lazy=True))
        if survivors:
            raise RuntimeError(f"{self.driver.name}: daemon {survivors} outlived its mount")

    def remount(self) -> None:
        """Unmount and mount the same stack again, as after a reboot."""
        self.unmount()
        self.stderr = _start(self.driver, self.stack, self.point)


def mount(driver: Driver, stack: Stack, point: Path) -> Mounted:
    """Mount STACK at POINT (an existing directory). Raises MountFailed when it is refused."""
    return Mounted(driver, stack, point, _start(driver, stack, point))


def _start(driver: Driver, stack: Stack, point: Path) -> str:
    """Run the program until it says that the mount answers; what it wrote to stderr."""
    command = driver.command(stack, point)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        _abandon(point)
        said = os.fsdecode(error.stderr or b"")
        raise MountFailed(driver.name, -1, f"no answer in {PATIENCE:.0f} s: {said}") from error
    if done.returncode != 0:
        raise MountFailed(driver.name, done.returncode, done.stderr)
    return done.stderr


def _abandon(point: Path) -> None:
    """A mount that hung: take it away and end its daemon, so that no test waits on it."""
    for pid in daemons_at(point):
        os.kill(pid, signal.SIGKILL)
    if is_mounted(point):
        _run(_umount(point, lazy=True))


def daemons_at(point: Path) -> list[int]:
    """Processes of this user whose arguments end in the mountpoint."""
    wanted = os.fsencode(point)
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                arguments = file.read().rstrip(b"\0").split(b"\0")
            if wanted in arguments[1:] and os.stat(f"/proc/{name}").st_uid == os.geteuid():
                found.append(int(name))
        except OSError:  # it went away meanwhile
            continue
    return found


def _umount(point: Path, lazy: bool = False) -> list[str]:
    if os.geteuid() == 0:
        return ["umount", *(["-l"] if lazy else []), str(point)]
    return ["fusermount3", "-u", *(["-z"] if lazy else []), str(point)]


def _run(command: Sequence[str]) -> int:
    try:
        return subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode
    except subprocess.TimeoutExpired:
        return -1


def await_exit(pids: Sequence[int]) -> list[int]:
    """The processes that are still there after the time that an exit may take."""
    return mounts.await_exit(pids, PATIENCE)
