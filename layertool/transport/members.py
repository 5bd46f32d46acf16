"""A tar file as a directory of blobs: where each member lies, read at any offset.

docker-archive and oci-archive files name their members from each other, in any order, through
symlinks and hard links: so the headers are read once, data is sought. Links are resolved inside
the archive only, by name; nothing is ever unpacked.
"""

from __future__ import annotations

import io
import os
import posixpath
import threading
from dataclasses import dataclass
from typing import BinaryIO, cast

from layertool.archive import headers
from layertool.archive.headers import BLOCK, Entry
from layertool.archive.limits import DEFAULT_LIMITS, Limits
from layertool.errors import BadArchive, NotFound

_MAX_HOPS = 40  # as the kernel's for symlinks, path_resolution(7)


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of the archive."""

    offset: int
    size: int


class Members:
    """The regular files of an uncompressed tar. Owns `file`; its streams may be used in threads."""

    def __init__(self, file: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> None:
        self._file = file
        self._limits = limits
        self._end = file.seek(0, os.SEEK_END)
        self._files: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._lock = threading.Lock()
        self._scan()

    def __contains__(self, name: str) -> bool:
        try:
            self.find(name)
        except (BadArchive, NotFound):
            return False
        return True

    def find(self, name: str) -> Member:
        """The file that `name` means. Raises `NotFound`, or `BadArchive` for a link loop."""
        path = _clean(name)
        for _ in range(_MAX_HOPS):
            member = self._files.get(path)
            if member is not None:
                return member
            if path not in self._links:
                raise NotFound(f"{headers.shown(os.fsencode(name))}: not in the archive")
            path = self._links[path]
        raise BadArchive(f"{headers.shown(os.fsencode(name))}: too many links, or a loop of them")

    def open(self, name: str) -> BinaryIO:
        """The content of a file."""
        return cast(BinaryIO, io.BufferedReader(_Part(self, self.find(name)), 1 << 20))

    def read(self, name: str, limit: int) -> bytes:
        """The whole of a small file. Raises `BadArchive` when it is larger than `limit` bytes."""
        member = self.find(name)
        if member.size > limit:
            raise BadArchive(f"{name}: {member.size} bytes, more than the limit of {limit}")
        return self.read_at(member.offset, member.size)

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer at the end."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)

    def close(self) -> None:
        self._file.close()

    def _scan(self) -> None:
        position, count = 0, 0
        pending: list[tuple[bytes, bytes]] = []
        long_name = long_link = b""
        while len(header := self.read_at(position, BLOCK)) == BLOCK and any(header):
            entry = headers.decode(header)
            position += BLOCK
            if entry.type in headers.PAX_NEXT:
                pending += headers.pax_records(self._extension(entry, position))
            elif entry.type == headers.GNU_LONG_NAME:
                long_name = self._extension(entry, position).partition(b"\0")[0]
            elif entry.type == headers.GNU_LONG_LINK:
                long_link = self._extension(entry, position).partition(b"\0")[0]
            elif entry.type != headers.PAX_GLOBAL:
                entry.name, entry.link = long_name or entry.name, long_link or entry.link
                headers.apply_pax(entry, pending)
                headers.finish(entry)
                self._add(entry, position)
                pending, long_name, long_link = [], b"", b""
                count += 1
            if not 0 <= entry.size <= self._end - position or count > self._limits.entries:
                raise BadArchive(
                    f"{headers.shown(entry.name)}: archive is truncated, or has too many entries"
                )
            position += entry.size + headers.padding(entry.size)

    def _extension(self, entry: Entry, position: int) -> bytes:
        if not 0 <= entry.size <= self._limits.pax_record:
            raise BadArchive(
                f"{headers.shown(entry.name)}: extended header of {entry.size} bytes, "
                f"the limit is {self._limits.pax_record}"
            )
        return self.read_at(position, entry.size)

    def _add(self, entry: Entry, position: int) -> None:
        path = _clean(os.fsdecode(entry.name))
        self._files.pop(path, None)  # the last of a name counts, as tar has it
        self._links.pop(path, None)
        if entry.type == headers.FILE:
            self._files[path] = Member(position, entry.size)
        elif entry.type == headers.SYMLINK:
            target = os.fsdecode(entry.link)
            self._links[path] = _clean(posixpath.join(posixpath.dirname(path), target))
        elif entry.type == headers.HARDLINK:
            self._links[path] = _clean(os.fsdecode(entry.link))


class _Part(io.RawIOBase):
    """One member as a stream."""

    def __init__(self, members: Members, member: Member) -> None:
        super().__init__()
        self._members = members
        self._position = member.offset
        self._end = member.offset + member.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._end - self._position)
        data = self._members.read_at(self._position, size)
        if len(data) < size:
            raise BadArchive("archive was cut while it was read")
        buffer[:size] = data
        self._position += size
        return size


def _clean(name: str) -> str:
    """The name from the top of the archive; `..` stops there, so that no link leads out."""
    return posixpath.normpath("/" + name).lstrip("/")
