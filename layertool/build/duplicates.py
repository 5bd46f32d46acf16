"""Files that a step stored again although only their owner, mode or times changed.

An image cannot express a change of attributes alone: the whole file goes into the new layer. A
`RUN chown -R` so doubles an image, and nobody notices until it is pulled.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layertool.build.text import human_bytes
from layertool.sandbox import lookup

_CHUNK = 1 << 20
# Below this, a warning costs more attention than it saves.
WORTH_A_WARNING = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What was stored twice. `example` is the largest file."""

    files: int
    size: int  # bytes
    example: str
    owner_changed: bool
    mode_changed: bool

    def describe(self) -> str:
        """The finding, without a fix."""
        causes = [
            word
            for word, is_so in (("owner", self.owner_changed), ("mode", self.mode_changed))
            if is_so
        ]
        what = " and ".join(causes) or "times"
        count = "1 file" if self.files == 1 else f"{self.files} files"
        return (
            f"{human_bytes(self.size)} stored again: this step changed only the {what} of"
            f" {count} (/{self.example})"
        )


def find_duplicates(
    upper: Path, lowers: Sequence[Path], threshold: int = WORTH_A_WARNING
) -> Duplicates | None:
    """Compare an upper's files with those they replace; None below `threshold` bytes.

    Reads only files whose size is unchanged, and no more of them than is equal.
    """
    if not lowers:
        return None
    found: list[tuple[int, str, os.stat_result, os.stat_result]] = []
    with lookup.stack(lowers) as root:
        for directory, names, entries in _files(upper):
            below = _descend(root, names)
            if below is None:
                continue
            try:
                found += _equal(directory, below[-1], "/".join(names), entries)
            finally:
                for opened in below[1:]:
                    opened.close()
    size = sum(item[0] for item in found)
    if size < threshold or not found:
        return None
    return Duplicates(
        files=len(found),
        size=size,
        example=max(found)[1],
        owner_changed=any(_ids(new) != _ids(old) for _, _, new, old in found),
        mode_changed=any(new.st_mode != old.st_mode for _, _, new, old in found),
    )


def _files(upper: Path) -> list[tuple[Path, list[str], list[os.DirEntry[str]]]]:
    """(directory, its path parts, its regular files) for each directory that has any."""
    result = []
    stack: list[tuple[Path, list[str]]] = [(upper, [])]
    while stack:
        directory, parts = stack.pop()
        files = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append((directory / entry.name, [*parts, entry.name]))
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry)
        if files:
            result.append((directory, parts, files))
    return result


def _descend(root: lookup.Found, names: Sequence[str]) -> list[lookup.Found] | None:
    """The directories of the lowers on the way to a path; None when they have no such one."""
    way = [root]
    for name in names:
        child = lookup.child(way[-1], os.fsencode(name))
        if child is not None:
            way.append(child)
        if child is None or not child.is_dir:
            for opened in way[1:]:
                opened.close()
            return None
    return way


def _equal(
    directory: Path, below: lookup.Found, prefix: str, entries: Sequence[os.DirEntry[str]]
) -> list[tuple[int, str, os.stat_result, os.stat_result]]:
    equal = []
    for entry in entries:
        new = entry.stat(follow_symlinks=False)
        old = lookup.child(below, os.fsencode(entry.name))
        if old is None:
            continue
        try:
            same_kind = stat.S_ISREG(old.info.st_mode) and old.info.st_size == new.st_size
            if same_kind and new.st_size and _same_content(directory / entry.name, below, entry):
                path = f"{prefix}/{entry.name}" if prefix else entry.name
                equal.append((new.st_size, path, new, old.info))
        finally:
            old.close()
    return equal


def _same_content(upper_file: Path, below: lookup.Found, entry: os.DirEntry[str]) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    fds: list[int] = []
    try:
        fds.append(os.open(upper_file, flags))
        for directory in below.directories:
            try:
                fds.append(os.open(entry.name, flags, dir_fd=directory))
                break
            except FileNotFoundError:
                continue
        return len(fds) == 2 and _equal_bytes(*fds)
    except OSError:
        return False
    finally:
        for fd in fds:
            os.close(fd)


def _equal_bytes(one: int, other: int) -> bool:
    while True:
        chunk = os.read(one, _CHUNK)
        if chunk != os.read(other, _CHUNK):
            return False
        if not chunk:
            return True


def _ids(info: os.stat_result) -> tuple[int, int]:
    return info.st_uid, info.st_gid
