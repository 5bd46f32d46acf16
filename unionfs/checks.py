"""What must hold of the directories before a mount is tried; every refusal names path and remedy.

The rules are those of kernel overlayfs (fs/overlayfs/super.c, ovl_get_workdir and
ovl_check_overlapping_layers), less strict where nothing can go wrong: a lower layer may lie inside
another one. Nothing is created or changed here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from unionfs.errors import UnionError, printable

if TYPE_CHECKING:
    from unionfs.options import MountOptions

_ST_RDONLY = 1


class Place(NamedTuple):
    """A directory that an option names, and which one it really is."""

    option: str
    path: bytes
    chain: tuple[tuple[int, int], ...]
    """(st_dev, st_ino) of the directory itself, then of each one above it up to the root."""

    def __str__(self) -> str:
        return f"{self.option} {printable(self.path)}"

    def is_same(self, other: Place) -> bool:
        """Whether both are one directory, by whatever names."""
        return self.chain[0] == other.chain[0]

    def is_within(self, other: Place) -> bool:
        """Whether this one is *other* or lies below it."""
        return other.chain[0] in self.chain


def check(options: MountOptions) -> None:
    """Refuse a mount whose directories are missing, unusable or in each other's way.

    Raises:
        UnionError: one line with the path and what to do.
    """
    mountpoint = _place("mountpoint", options.mountpoint)
    lowers = [_readable(*named) for named in _lower_paths(options)]
    upper = _upper(options)
    work = _work(options, upper)
    _check_hidden(mountpoint, [*lowers, *(place for place in (upper, work) if place)])
    for lower in lowers:
        _check_overlap(lower, upper, work)


def _lower_paths(options: MountOptions) -> Iterator[tuple[str, bytes]]:
    for path in options.lowers:
        yield "lowerdir", path
    for path in options.data_lowers:
        yield "data-only lowerdir", path


def _upper(options: MountOptions) -> Place | None:
    if options.upper is None:
        return None
    place = _readable("upperdir", options.upper)
    if not options.read_only:
        _check_writable(place)
    return place


def _work(options: MountOptions, upper: Place | None) -> Place | None:
    if upper is None or options.read_only:
        return None
    if options.work is None:
        beside = printable(os.path.join(os.path.dirname(upper.path.rstrip(b"/")), b"work"))
        raise UnionError(
            f"{upper} has no workdir; name an empty directory on the same mount, "
            f"for example workdir={beside}"
        )
    work = _readable("workdir", options.work)
    _check_writable(work)
    if work.is_within(upper) or upper.is_within(work):
        relation = "is the same directory as" if work.is_same(upper) else "overlaps"
        raise UnionError(
            f"{work} {relation} {upper}; use a directory beside it, neither inside the other"
        )
    _check_one_mount(work, upper)
    return work


def _check_one_mount(work: Place, upper: Place) -> None:
    """Changes are prepared in work and renamed into upper, and rename(2) stays within a mount."""
    if work.chain[0][0] != upper.chain[0][0]:
        where = "file system"
    elif _mount_id(work.path) != _mount_id(upper.path):
        where = "mount"
    else:
        return
    raise UnionError(f"{work} is on another {where} than {upper}; put it beside {upper.option}")


def _check_hidden(mountpoint: Place, layers: list[Place]) -> None:
    """Mounting over a layer is fine, since layers are held open; a layer below is out of reach."""
    for layer in layers:
        if layer.is_within(mountpoint) and not layer.is_same(mountpoint):
            raise UnionError(
                f"{layer} lies below the mountpoint {printable(mountpoint.path)}, which would "
                "hide it; mount elsewhere or move the layer out"
            )


def _check_overlap(lower: Place, upper: Place | None, work: Place | None) -> None:
    """Lower layers never change while mounted, so none may lie where changes go."""
    for changing in (upper, work):
        if changing is None or not lower.is_within(changing):
            continue
        relation = "is the same directory as" if lower.is_same(changing) else "lies inside"
        raise UnionError(
            f"{lower} {relation} {changing}, where changes go; use separate directories"
        )


def _readable(option: str, path: bytes) -> Place:
    place = _place(option, path)
    if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        raise UnionError(
            f"{place}: permission denied; give this user read and search permission: "
            f"chmod u+rx {printable(path)}"
        )
    return place


def _check_writable(place: Place) -> None:
    if os.statvfs(place.path).f_flag & _ST_RDONLY:
        raise UnionError(
            f"{place} is on a read-only file system; choose another place, or mount with ro"
        )
    if not os.access(place.path, os.W_OK, effective_ids=True):
        raise UnionError(
            f"{place} is not writable by this user; change its owner or mode, or mount with ro"
        )


def _place(option: str, path: bytes) -> Place:
    try:
        chain = tuple(_chain(path))
    except OSError as error:
        raise UnionError(f"{option} {printable(path)}: {_remedy(error, option, path)}") from None
    return Place(option, path, chain)


def _chain(path: bytes) -> Iterator[tuple[int, int]]:
    os.statvfs(path)  # a dead FUSE mount may still answer stat(2), from the kernel's cache
    st = os.stat(path)
    if not stat.S_ISDIR(st.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    yield st.st_dev, st.st_ino
    real = os.path.realpath(path)
    while real != b"/":
        real = os.path.dirname(real)
        above = os.stat(real)
        yield above.st_dev, above.st_ino


def _remedy(error: OSError, option: str, path: bytes) -> str:
    shown = printable(path)
    match error.errno:
        case errno.ENOENT:
            return f"no such directory; create it (mkdir -p {shown}) or correct the path"
        case errno.ENOTDIR:
            return f"not a directory; {option} must name one"
        case errno.EACCES:
            return "permission denied; give this user search permission on each directory above it"
        case errno.ENOTCONN:
            return f"a dead FUSE mount is there; remove it first: fusermount3 -u {shown}"
        case errno.ELOOP:
            return "a loop of symbolic links; correct the path"
        case _:
            return f"{error.strerror}; correct the path"


def _mount_id(path: bytes) -> bytes:
    """Which mount a directory is reached through: bind mounts of one file system differ in it."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as info:
            return next((line for line in info if line.startswith(b"mnt_id:")), b"")
    except OSError:
        return b""  # without /proc: rename(2) itself will tell
    finally:
        os.close(fd)
