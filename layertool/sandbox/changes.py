"""What a container changed, read from its upper: docker's A, C and D.

Every entry of the upper is looked up once in the layers below; those are never walked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layertool.sandbox import lookup
from layertool.sandbox.lookup import Found

Kind = Literal["A", "C", "D"]


@dataclass(frozen=True, slots=True)
class Change:
    """One path, absolute, that was added, changed or deleted."""

    kind: Kind
    path: bytes


def changes(upper: Path, lowers: Sequence[Path]) -> list[Change]:
    """All changes in `upper` against the stack `lowers` (top first), sorted by path.

    A directory counts as changed when something in it changed, or its own mode, owner or time did.
    """
    with ExitStack() as opened:
        top = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, top)
        below = opened.enter_context(lookup.stack(lowers))
        return sorted(_inside(top, b"/", below), key=lambda change: change.path)


def _inside(upper_fd: int, path: bytes, below: Found | None) -> Iterator[Change]:
    """Changes below directory `path`, whose upper part is `upper_fd`."""
    names = set()
    with os.scandir(upper_fd) as entries:
        found = [(os.fsencode(e.name), e.stat(follow_symlinks=False)) for e in entries]
    for name, info in found:
        names.add(name)
        yield from _entry(upper_fd, path, name, info, below)
    if below is not None and lookup.is_opaque(upper_fd):
        # The directory was deleted and made again: what it held is gone.
        for name in below.names() - names:
            yield Change("D", os.path.join(path, name))


def _entry(
    upper_fd: int, parent: bytes, name: bytes, info: os.stat_result, below: Found | None
) -> Iterator[Change]:
    if name.startswith(lookup.WHITEOUT_PREFIX):
        yield from _marker(parent, name, below)
        return
    path = os.path.join(parent, name)
    old = lookup.child(below, name) if below is not None else None
    try:
        if lookup.is_whiteout(info):
            if old is not None:
                yield Change("D", path)
        elif stat.S_ISDIR(info.st_mode):
            yield from _directory(upper_fd, path, name, info, old)
        else:
            yield Change("A" if old is None else "C", path)
    finally:
        if old is not None:
            old.close()


def _marker(parent: bytes, name: bytes, below: Found | None) -> Iterator[Change]:
    """A `.wh.NAME` whiteout, written where the kernel's form cannot be."""
    hidden = name[len(lookup.WHITEOUT_PREFIX) :]
    old = lookup.child(below, hidden) if below is not None and hidden else None
    if old is not None and not hidden.startswith(lookup.WHITEOUT_PREFIX):
        old.close()
        yield Change("D", os.path.join(parent, hidden))


def _directory(
    upper_fd: int, path: bytes, name: bytes, info: os.stat_result, old: Found | None
) -> Iterator[Change]:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=upper_fd)
    try:
        merges = old if old is not None and old.is_dir else None
        inner = list(_inside(fd, path, merges))
    finally:
        os.close(fd)
    if old is None:
        yield Change("A", path)
    elif inner or merges is None or not _same(info, old.info):
        yield Change("C", path)
    yield from inner


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    """A directory that was only copied up, not changed."""
    return (one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns) == (
        other.st_mode,
        other.st_uid,
        other.st_gid,
        other.st_mtime_ns,
    )
