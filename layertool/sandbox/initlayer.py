"""The layer between an image and its container: what every container needs and images lack.

A file system can only be mounted on something that exists, and /etc/hostname must say the
container's name. Writing either into the container's upper would show in `diff` and end in
`commit`. So they are written into a small layer of their own, directly below the upper: it is part
of what is seen, never of what is packed. A change that the container makes to one of its files is
copied up like any other, and shows.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from layertool.archive.directories import copy_attributes
from layertool.errors import LayertoolError
from layertool.sandbox import hostfiles, lookup
from layertool.sandbox.process import FAILED, Bind, Network, Tmpfs

#: Where the sandbox always mounts, with the mode of a directory made for it.
DIRECTORIES: Final[Mapping[str, int]] = {"/proc": 0o555, "/sys": 0o555, "/dev": 0o755}
_MAX_LINKS: Final = 40

Kind = Literal["directory", "file"]


@dataclass(frozen=True, slots=True)
class InitLayer:
    """What the layer must hold: files with their content, and places to mount on."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    mountpoints: Mapping[str, Kind] = field(default_factory=dict)

    @classmethod
    def standard(
        cls,
        *,
        hostname: str | None = None,
        network: Network = "host",
        mounts: Iterable[Bind | Tmpfs] = (),
    ) -> InitLayer:
        """The layer for a sandboxed process with these settings."""
        files = hostfiles.contents(hostname or hostfiles.default_hostname(), network)
        return cls(files, {mount.target: _kind(mount) for mount in mounts})


def _kind(mount: Bind | Tmpfs) -> Kind:
    if isinstance(mount, Bind) and not mount.source.is_dir():
        return "file"
    return "directory"


def build(at: Path, spec: InitLayer, lowers: Sequence[Path]) -> Path:
    """Make directory `at` hold what `spec` asks for and the stack `lowers` (top first) lacks.

    Replaces what an earlier run left there. Directories that exist below keep their owner, mode,
    times and attributes: this layer must not be noticed. Links on the way are followed inside the
    stack. Raises LayertoolError if /proc, /sys or /dev is something other than a directory there.
    """
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(mode=0o755)
    with lookup.stack(lowers) as root:
        if lowers:
            copy_attributes(root.directories[0], at)
        builder = _Builder(at, root)
        for path, mode in DIRECTORIES.items():
            builder.refuse_link(path)
            builder.add_directory(path, mode, required=True)
        builder.add_directory("/tmp", 0o1777, required=False)
        for path, kind in spec.mountpoints.items():
            if kind == "directory":
                builder.add_directory(path, 0o755, required=True)
            else:
                builder.add_file(path, b"", only_if_missing=True)
        for path, content in spec.files.items():
            builder.add_file(path, content, only_if_missing=False)
        builder.finish()
    return at


class _Builder:
    """Grows one init layer. Paths are absolute, as seen inside."""

    def __init__(self, at: Path, root: lookup.Found) -> None:
        self._at = at
        self._root = root
        self._copied: list[tuple[Path, os.stat_result]] = [(at, root.info)]

    def refuse_link(self, path: str) -> None:
        """For the three that runc refuses too: a link there is an attack, no layout of anyone."""
        if self._look([], path.lstrip("/"))[1] is not None:
            raise LayertoolError(
                f"{path}: is a symbolic link in the image; refusing to mount through it",
                exit_code=FAILED,
            )

    def add_directory(self, path: str, mode: int, *, required: bool) -> None:
        place, existing = self._resolve(path)
        if existing is None:
            self._make_directory(place, mode)
        elif not stat.S_ISDIR(existing.st_mode) and required:
            raise LayertoolError(
                f"{path}: is not a directory in the image, so nothing can be mounted on it",
                exit_code=FAILED,
            )

    def add_file(self, path: str, content: bytes, *, only_if_missing: bool) -> None:
        place, existing = self._resolve(path)
        if existing is not None and (only_if_missing or not stat.S_ISREG(existing.st_mode)):
            return
        target = self._inside(place)
        if target.exists():
            return
        self._make_parents(place)
        target.write_bytes(content)
        target.chmod(0o644)

    def finish(self) -> None:
        """Give copied directories their times again, deepest first: making entries changed them."""
        for path, info in reversed(self._copied):
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    def _inside(self, place: str) -> Path:
        return self._at / place.lstrip("/")

    def _resolve(self, path: str) -> tuple[str, os.stat_result | None]:
        """(path without links, its stat in the stack or None). Links are followed in the stack."""
        pending = [part for part in path.split("/") if part not in ("", ".")]
        place: list[str] = []
        links = 0
        while pending:
            name = pending.pop(0)
            if name == "..":
                place = place[:-1]
                continue
            info, target = self._look(place, name)
            if target is not None:
                links += 1
                if links > _MAX_LINKS:
                    raise LayertoolError(
                        f"{path}: too many symbolic links in the image", exit_code=FAILED
                    )
                if target.startswith("/"):
                    place = []
                pending = [part for part in target.split("/") if part not in ("", ".")] + pending
                continue
            place.append(name)
            if info is None:
                return posixpath.normpath("/" + "/".join(place + pending)), None
            if pending and not stat.S_ISDIR(info.st_mode):
                raise LayertoolError(
                    f"{path}: /{'/'.join(place)} is not a directory in the image",
                    exit_code=FAILED,
                )
        return "/" + "/".join(place), self._stat(place)

    def _stat(self, place: Sequence[str]) -> os.stat_result | None:
        if not place:
            return self._root.info
        return self._look(place[:-1], place[-1])[0]

    def _look(
        self, directory: Sequence[str], name: str
    ) -> tuple[os.stat_result | None, str | None]:
        """(stat, link target) of `directory`/`name`, which has no links on its way."""
        opened: list[lookup.Found] = []
        current: lookup.Found | None = self._root
        try:
            for part in [*directory, name]:
                holder = current
                current = lookup.child(holder, os.fsencode(part)) if holder else None
                if current is None:
                    return None, None
                opened.append(current)
            assert current is not None
            if stat.S_ISLNK(current.info.st_mode):
                holder = opened[-2] if len(opened) > 1 else self._root
                return current.info, _read_link(holder, os.fsencode(name))
            return current.info, None
        finally:
            for found in opened:
                found.close()

    def _make_directory(self, place: str, mode: int) -> None:
        self._make_parents(place)
        path = self._inside(place)
        if not path.exists():
            path.mkdir()
            path.chmod(mode)

    def _make_parents(self, place: str) -> None:
        """The directories above `place`: a copy of the one below, or a plain new one."""
        parts = [part for part in place.split("/") if part][:-1]
        for depth in range(1, len(parts) + 1):
            path = self._inside("/".join(parts[:depth]))
            if path.exists():
                continue
            path.mkdir(mode=0o755)
            self._copy_from_stack(parts[:depth], path)

    def _copy_from_stack(self, parts: Sequence[str], to: Path) -> None:
        current: lookup.Found | None = self._root
        opened: list[lookup.Found] = []
        try:
            for part in parts:
                current = lookup.child(current, os.fsencode(part)) if current else None
                if current is None:
                    return
                opened.append(current)
            assert current is not None
            copy_attributes(current.directories[0], to)
            self._copied.append((to, current.info))
        finally:
            for found in opened:
                found.close()


def _read_link(holder: lookup.Found, name: bytes) -> str:
    for fd in holder.directories:
        try:
            return os.fsdecode(os.readlink(name, dir_fd=fd))
        except FileNotFoundError:
            continue
    raise FileNotFoundError(os.fsdecode(name))
