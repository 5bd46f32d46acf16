"""Mounts made by hand: they outlive the command, so each leaves a record for `umount` and `mounts`.

Records lie in a directory that the system empties at boot, when the mounts are gone too.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from layertool.errors import Conflict, LayertoolError, NotFound
from layertool.sandbox import linux, merge, overlay, runtime

Health = Literal["ok", "broken", "gone"]

_FUSE_TYPE: Final = "fuse.unionfs"
_FUSERMOUNT_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Record:
    """One mount: `container`, in the store `root`, keeps its layers, if it is an image.

    `work` is a work directory to be removed with the mount.
    """

    target: str
    source: str
    driver: str
    writable: bool
    container: str | None = None
    root: str | None = None
    layers: list[str] = field(default_factory=list)
    work: str | None = None


def mount(
    layers: Sequence[Path],
    upper: Path | None,
    work: Path | None,
    at: Path,
    driver: str = "auto",
) -> merge.Driver:
    """Mount a stack where everybody on this machine may see it; returns the driver used.

    An ordinary user gets our union through fusermount3: the kernel's overlayfs is allowed only in
    a namespace that nobody else sees. Raises LayertoolError.
    """
    if not at.is_dir():
        raise NotFound(f"{at}: is not a directory; make it first")
    if find(at) is not None:
        raise Conflict(f"{at}: is mounted already; umount it first")
    for path in (upper, work):
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
    if upper is not None and layers:
        merge.dress_as_root(upper, layers[0])
    chosen = _choose(driver, layers, upper or at)
    if chosen == "kernel":
        try:
            overlay.mount(layers, upper, work, at)
        except OSError as error:
            raise LayertoolError(
                f"{at}: kernel overlayfs cannot be mounted: {error.strerror}; try --driver fuse"
            ) from None
    else:
        _mount_fuse(layers, upper, work, at)
    return chosen


def work_beside(upper: Path) -> Path:
    """The work directory for an upper for which none was named: beside it, as both must be on one
    file system. Raises Conflict if there is one, which a mount may be using.
    """
    work = upper.absolute().with_name(upper.absolute().name + ".work")
    if work.exists():
        raise Conflict(f"{work}: is in the way; remove it if nothing uses it, or choose --work")
    return work


def _choose(driver: str, layers: Sequence[Path], on: Path) -> merge.Driver:
    if os.geteuid() == 0:
        return merge.choose(driver, layers, on)
    if driver == "kernel":
        raise LayertoolError(
            "an ordinary user can mount kernel overlayfs only in a namespace that no other program"
            " sees: use --driver fuse, or work inside `layertool chroot`"
        )
    return "fuse"


def _mount_fuse(layers: Sequence[Path], upper: Path | None, work: Path | None, at: Path) -> None:
    """Start the `unionfs` program, which goes to the background once the mount answers."""
    from unionfs.options import MountOptions, render_options

    as_root = os.geteuid() == 0
    options = MountOptions(
        mountpoint=os.fsencode(at.absolute()),
        lowers=tuple(os.fsencode(layer.absolute()) for layer in layers),
        upper=os.fsencode(upper.absolute()) if upper else None,
        work=os.fsencode(work.absolute()) if work else None,
        suid=True if as_root else None,
        dev=True if as_root else None,
    )
    with tempfile.TemporaryFile() as complaints:
        done = subprocess.run(
            [
                *map(os.fsencode, (sys.executable, "-m", "unionfs.cli", "-o")),
                render_options(options),
                b"--",
                options.mountpoint,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            check=False,
        )
        if done.returncode != 0:
            complaints.seek(0)
            lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
            raise LayertoolError(lines[-1].removeprefix("unionfs: ") if lines else f"{at}: failed")


def remember(record: Record) -> None:
    """Keep a record of a mount."""
    path = _path(record.target)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(dataclasses.asdict(record)))
    temporary.replace(path)


def forget(record: Record) -> None:
    """Drop the record of a mount."""
    _path(record.target).unlink(missing_ok=True)


def records() -> list[Record]:
    """All mounts made by hand, in the order of their mount points."""
    found = []
    for path in _directory().glob("*.json"):
        try:
            found.append(Record(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            continue  # written by another version, or removed meanwhile
    return sorted(found, key=lambda record: record.target)


def record_of(target: Path) -> Record | None:
    """The record of the mount on `target`."""
    wanted = str(resolved(target))
    return next((record for record in records() if record.target == wanted), None)


def health(record: Record) -> Health:
    """Whether a recorded mount is there and answers."""
    if find(Path(record.target)) is None:
        return "gone"
    try:
        os.statvfs(record.target)
    except OSError:
        return "broken"
    return "ok"


def find(target: Path) -> str | None:
    """The file system type mounted on `target`, None if nothing is."""
    wanted = os.fsencode(resolved(target))
    found = None
    for point, fstype, _ in _mount_table():
        if point == wanted:
            found = fstype
    return found


def is_ours(target: Path) -> bool:
    """Whether what is mounted on `target` is a union that this program might have mounted."""
    wanted = os.fsencode(resolved(target))
    kinds = [kind for point, *kind in _mount_table() if point == wanted]
    return bool(kinds) and (kinds[-1] == ["overlay", "layertool"] or kinds[-1][0] == _FUSE_TYPE)


def umount(target: Path, *, lazy: bool = False) -> None:
    """Unmount `target`. Raises LayertoolError, naming what to do, when it is in use.

    A union whose daemon died answers nothing any more and is always detached.
    """
    fstype = find(target)
    if fstype is None:
        raise NotFound(f"{target}: nothing is mounted there")
    try:
        os.statvfs(target)
    except OSError as error:
        lazy = lazy or error.errno == errno.ENOTCONN
    if os.geteuid() != 0 and fstype.startswith("fuse"):
        _fusermount(target, lazy=lazy)
        return
    try:
        linux.umount(os.fsencode(resolved(target)), linux.MNT_DETACH if lazy else 0)
    except OSError as error:
        raise _still_mounted(target, error.strerror or "", error.errno == errno.EBUSY) from None


def _fusermount(target: Path, *, lazy: bool) -> None:
    program = shutil.which("fusermount3")
    if program is None:
        raise LayertoolError("fusermount3 is not installed: apt-get install fuse3")
    done = subprocess.run(
        [program, "-uz" if lazy else "-u", "--", str(resolved(target))],
        capture_output=True,
        text=True,
        check=False,
        timeout=_FUSERMOUNT_SECONDS,
    )
    if done.returncode != 0:
        message = done.stderr.strip().rpartition(": ")[2]
        raise _still_mounted(target, message, "busy" in message)


def _still_mounted(target: Path, why: str, busy: bool) -> LayertoolError:
    if busy:
        return Conflict(f"{target}: is in use: leave it in all shells, or umount --lazy")
    return LayertoolError(f"{target}: cannot unmount: {why}")


def _path(target: str) -> Path:
    name = hashlib.sha256(os.fsencode(target)).hexdigest()[:32]
    return _directory() / f"{name}.json"


def _directory() -> Path:
    return runtime.directory() / "mounts"


def resolved(target: Path) -> Path:
    """Absolute, with the links above it followed; never asks the mount itself, which may hang."""
    absolute = Path(os.path.normpath(target.absolute()))
    return absolute.parent.resolve() / absolute.name


def _mount_table() -> Iterator[tuple[bytes, str, str]]:
    """(mount point, file system type, source) of each mount we see, from mountinfo (proc(5))."""
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields, _, rest = line.partition(b" - ")
            fstype, source = (os.fsdecode(field_) for field_ in rest.split()[:2])
            yield _unescape(fields.split()[4]), fstype, source


def _unescape(field_: bytes) -> bytes:
    """The kernel writes blanks and backslashes as `\\040`."""
    head, *parts = field_.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts)
