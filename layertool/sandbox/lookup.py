"""What a name means in a stack of layers, without mounting it.

The rules are those of overlayfs (Documentation/filesystems/overlayfs.rst): the topmost entry
decides; a whiteout ends the search; directories merge downwards until one is opaque or something
that is not a directory lies in the way. Symlinks are never followed: a name is one component.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

_OPAQUE: Final = (b"trusted.overlay.opaque", b"user.overlay.opaque", b"user.fuseoverlayfs.opaque")
_OPAQUE_MARKER: Final = b".wh..wh..opq"
WHITEOUT_PREFIX: Final = b".wh."


def is_whiteout(info: os.stat_result) -> bool:
    """The kernel's whiteout: a character device 0:0."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(fd: int) -> bool:
    """Whether the directory behind `fd` (not O_PATH) hides those below it, in any family."""
    for name in _OPAQUE:
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError:
            continue
    try:
        os.stat(_OPAQUE_MARKER, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Found:
    """A visible entry: its topmost `stat`, and for a directory all that merge into it, top first.

    Close it when done; `directories` are open descriptors.
    """

    info: os.stat_result
    directories: list[int]

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.info.st_mode)

    def names(self) -> set[bytes]:
        """The visible names in a merged directory."""
        visible: set[bytes] = set()
        hidden: set[bytes] = set()
        for fd in self.directories:
            shown, whiteouts = _split(fd)
            visible |= shown - hidden
            # Only now: a whiteout hides what is below its layer, not what is beside it.
            hidden |= whiteouts | shown
        return visible

    def close(self) -> None:
        for fd in self.directories:
            os.close(fd)
        self.directories = []


@contextmanager
def stack(layers: Sequence[os.PathLike[str] | str]) -> Iterator[Found]:
    """The root of a stack of layer directories, top first."""
    fds: list[int] = []
    try:
        for layer in layers:
            fds.append(os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        root = Found(os.fstat(fds[0]) if fds else os.stat("/"), fds)
        yield root
    finally:
        for fd in fds:
            os.close(fd)


def child(parent: Found, name: bytes) -> Found | None:
    """The visible entry `name` of a merged directory, None if there is none."""
    found: Found | None = None
    for fd in parent.directories:
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            if _has_marker(fd, name):
                break
            continue
        if is_whiteout(info):
            break
        if not stat.S_ISDIR(info.st_mode):
            return found or Found(info, [])
        opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        if found is None:
            found = Found(info, [])
        found.directories.append(opened)
        if is_opaque(opened):
            break
    return found


def _split(fd: int) -> tuple[set[bytes], set[bytes]]:
    """The names in one layer's directory: (entries, names that it whites out)."""
    shown: set[bytes] = set()
    whiteouts: set[bytes] = set()
    for entry in os.scandir(fd):
        name = os.fsencode(entry.name)
        if name.startswith(WHITEOUT_PREFIX):
            whiteouts.add(name[len(WHITEOUT_PREFIX) :])
        elif is_whiteout(entry.stat(follow_symlinks=False)):
            whiteouts.add(name)
        else:
            shown.add(name)
    return shown, whiteouts


def _has_marker(fd: int, name: bytes) -> bool:
    """A `.wh.NAME` file: the form used where the kernel's whiteouts cannot be made."""
    try:
        os.stat(WHITEOUT_PREFIX + name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True
