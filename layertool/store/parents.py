"""Directories that a layer needs but does not describe take after the layers below.

An archive may hold `a/b/c` and no entry for `a` or `a/b` (umoci writes such layers). Unpacked by
itself the layer must have these directories, and in a union they would hide owner, mode and times
that the layers below gave them. So they are copied from there once the layers below are known.
(containerd does the same while it unpacks, `mkparent` in its archive package)
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from layertool.archive import whiteouts
from layertool.archive.directories import copy_attributes
from layertool.store.trees import allocated

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Missing(Enum):
    """Why a layer has no such directory: it says nothing about it, or hides those below."""

    ABSENT = "absent"
    HIDDEN = "hidden"


def inherit(tree: Path, below: Sequence[Path], implicit: Sequence[bytes]) -> int:
    """Give the `implicit` directories of `tree` what they have in the layers `below`, top first.

    Returns the bytes on disk that this took. Raises OSError.
    """
    grown = 0
    # Deepest first: a parent may get a mode that keeps us out.
    for path in sorted(implicit, reverse=True):
        target = _find(tree, path, for_change=True)
        if isinstance(target, _Missing):
            continue
        try:
            before = allocated(os.fstat(target))
            _take_after(target, below, path)
            grown += allocated(os.fstat(target)) - before
        finally:
            os.close(target)
    return grown


def _take_after(target: int, below: Sequence[Path], path: bytes) -> None:
    for layer in below:
        source = _find(layer, path)
        if source is _Missing.HIDDEN:
            return
        if isinstance(source, int):
            try:
                copy_attributes(source, target)
            finally:
                os.close(source)
            return


def _find(layer: Path, path: bytes, *, for_change: bool = False) -> int | _Missing:
    """A descriptor of the directory in one layer.

    `for_change`: the layer's own directory, which below an opaque one has nothing to take after.
    """
    fd = os.open(layer, _DIRECTORY)
    is_opaque = False
    for name in path.split(b"/") if path else []:
        is_opaque = is_opaque or _is_opaque(fd)
        try:
            down = _enter(fd, name)
        finally:
            os.close(fd)
        if isinstance(down, _Missing):
            return _Missing.HIDDEN if is_opaque else down
        fd = down
    if for_change and is_opaque:
        os.close(fd)
        return _Missing.HIDDEN
    return fd


def _enter(parent: int, name: bytes) -> int | _Missing:
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        is_deleted = _exists(parent, whiteouts.PREFIX + name)
        return _Missing.HIDDEN if is_deleted else _Missing.ABSENT
    if not stat.S_ISDIR(info.st_mode):
        return _Missing.HIDDEN
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _is_opaque(fd: int) -> bool:
    return whiteouts.is_opaque(fd) or _exists(fd, whiteouts.OPAQUE_NAME)


def _exists(parent: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:  # also a name that the prefix makes too long
        return False
    return True
