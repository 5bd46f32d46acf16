"""A driver mounted where this process sees it, as root or as a user: for tests and for load.

The lab itself mounts in a worker's private namespace (see `place`); a program under test must see
the mount, so here it is made in the namespace that the caller is in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unionfs.errors import UnionError
from unionfs.mounttable import mounted_device
from unionfs.testing import layers, worker
from unionfs.testing.drivers import Driver, Stack, missing_fuse
from unionfs.testing.layers import Entry
from unionfs.testing.place import Place, Refused
from unionfs.testing.shorthand import Table, layer_of

PATIENCE_S = 60.0
BUSY_S = 1.0
# Without root: who mounts through fusermount3 with options that every user may give.
FOR_USERS = ("unionfs", "fuse-overlayfs")

LayerSource = Table | Iterable[Entry] | str | os.PathLike[str]


class Here(Place):
    """The mount namespace of this process, in place of a worker's."""

    def __init__(self) -> None:
        super().__init__("host", "/", patience=PATIENCE_S)
        self._worker = worker.Worker([])

    def call(self, name: str, **arguments: Any) -> Any:
        """Do it here. Our own program gets a process of its own, as it has for everybody."""
        if name == "mount_union":
            argv = [sys.executable, "-m", "unionfs.cli", *arguments["arguments"]]
            name, arguments = "mount_program", {**arguments, "argv": argv}
            del arguments["arguments"]
        try:
            return getattr(self._worker, name)(**arguments)
        except worker.Refused as refused:
            raise Refused(str(refused)) from None


class Mounted:
    """A mounted union; path-like, so that ``mounted / "etc/passwd"`` is a path in it.

    Leaving it as a context unmounts it. upper is None when it is read-only.
    """

    def __init__(self, driver: Driver, stack: Stack) -> None:
        self.driver = driver
        self.path = Path(stack.mountpoint)
        self.lowers = tuple(Path(lower) for lower in stack.lowers)
        self.upper = Path(stack.upper) if stack.upper is not None else None
        self._stack = stack
        self._place = Here()

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __repr__(self) -> str:
        return f"<{self.driver.name} at {self.path}>"

    def __enter__(self) -> Mounted:
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()

    @property
    def mounted(self) -> bool:
        """Whether the mount table has it; a dead FUSE mount counts, and cannot be asked itself."""
        return is_mounted(self.path)

    def daemons(self) -> list[int]:
        """The processes that serve it; none for the kernel's."""
        return daemons_at(self.path)

    def mount(self) -> None:
        """Mount; UnionError carries what the driver said when it would not."""
        if self.driver.mount is None:
            raise UnionError(f"{self.driver.name} is not mounted; it is for unionfs-lab fuzz")
        try:
            self.driver.mount(self._place, self._stack, self.driver.options)
        except Refused as refused:
            raise UnionError(f"{self.driver.name} cannot mount: {refused}") from None

    def unmount(self) -> None:
        """Unmount and wait for the daemon; harmless when that was done before.

        Raises UnionError when something still uses the mount, or when the daemon would not end:
        the mount is taken away and the daemon killed all the same.
        """
        if not self.mounted:
            return
        leave(self.path)
        daemons = self.daemons()
        busy = not self._umount_patiently()
        if busy:
            umount(self.path, lazy=True)
        stuck = await_exit(daemons, 0.0 if busy else PATIENCE_S)
        for pid in stuck:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if busy:
            raise UnionError(f"{self!r} was still in use; close files, leave it, and end programs")
        if stuck:
            raise UnionError(f"{self!r}: its daemon did not end after the unmount and was killed")

    def _umount_patiently(self) -> bool:
        """Unmount, allowing for programs that are just about to end."""
        deadline = time.monotonic() + BUSY_S
        while not umount(self.path):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def remount(self) -> None:
        """Unmount, and mount the same directories again, as after a restart."""
        self.unmount()
        self.mount()


def mount(
    driver: Driver,
    sources: Sequence[LayerSource],
    base: Path,
    *,
    writable: bool = True,
    options: Sequence[str] = (),
) -> Mounted:
    """Make the layers (top first) below base, and mount them with a fresh upper.

    A source is a directory, or what is to be in one (see `shorthand`). Raises UnionError.
    """
    for name in ("lower", "upper", "work", "mnt"):
        (base / name).mkdir(parents=True)
    lowers = tuple(lower_of(source, base / "lower" / str(n)) for n, source in enumerate(sources))
    stack = Stack(
        lowers,
        str(base / "upper") if writable else None,
        str(base / "work") if writable else None,
        str(base / "mnt"),
    )
    chosen = dataclasses.replace(driver, options=(*driver.options, *options))
    mounted = Mounted(chosen, stack)
    mounted.mount()
    return mounted


def lower_of(source: LayerSource, room: Path) -> str:
    """The directory of a layer: the one given, or room, made from what was given."""
    if isinstance(source, str | os.PathLike):
        path = os.path.abspath(source)
        if any(character in path for character in ":,\\"):
            raise UnionError(f"layer {path}: move it to a path without : , and backslash")
        return path
    layer = layer_of(source) if isinstance(source, Mapping) else tuple(source)
    family = "trusted" if os.geteuid() == 0 else "user"
    layers.build(str(room), map(own, layer), family)
    return str(room)


def own(entry: Entry) -> Entry:
    """The entry with an owner that whoever runs this may give it."""
    if os.geteuid() == 0:
        return entry
    return dataclasses.replace(entry, uid=os.geteuid(), gid=os.getegid())


def missing(driver: Driver) -> str | None:
    """Why the driver cannot be mounted from this process, or None."""
    if driver.mount is None or driver.place != "host":
        return "only unionfs-lab can use it: a test mounts where it runs"
    if os.geteuid() == 0:
        return driver.missing() or (refused_overlayfs() if driver.family == "kernel" else None)
    if driver.family not in FOR_USERS:
        return "needs root"
    for program in (driver.program, "fusermount3"):
        if program and shutil.which(program) is None:
            return f"{program} is not installed"
    return missing_fuse("userns")


def refused_overlayfs() -> str | None:
    """What the kernel says to overlayfs in TMPDIR: it does not take every upper, such as its own."""
    from unionfs.testing.drivers import parse_driver

    with tempfile.TemporaryDirectory(prefix="unionfs-probe-") as room:
        try:
            mount(parse_driver("kernel"), [{}], Path(room, "union")).unmount()
        except UnionError as error:
            return f"{error} (on {os.path.dirname(room)}; try another TMPDIR)"
    return None


def umount(path: Path, *, lazy: bool = False) -> bool:
    """Run umount(8), or fusermount3 for a user; whether it did it."""
    command = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    if lazy:
        command.append("-l" if os.geteuid() == 0 else "-z")
    done = subprocess.run([*command, str(path)], capture_output=True, timeout=PATIENCE_S)
    return done.returncode == 0


def leave(path: Path) -> None:
    """Take this process out of a directory that is to be unmounted."""
    with contextlib.suppress(FileNotFoundError):
        here = os.getcwd()
        if here == str(path) or here.startswith(f"{path}/"):
            os.chdir("/")


def is_mounted(path: Path) -> bool:
    """Ask the mount table, not the mountpoint: a dead FUSE mount cannot be asked."""
    return mounted_device(os.fsencode(path)) is not None


def daemons_at(path: Path) -> list[int]:
    """The processes whose last argument is the mountpoint."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if file.read().rstrip(b"\0").endswith(b"\0" + os.fsencode(path)):
                found.append(int(pid))
    return found


def await_exit(pids: Sequence[int], patience: float) -> list[int]:
    """The processes that are still there after so many seconds."""
    deadline = time.monotonic() + patience
    alive = [pid for pid in pids if lives(pid)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.005)
        alive = [pid for pid in alive if lives(pid)]
    return alive


def lives(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
