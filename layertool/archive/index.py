"""The per-layer file index: what a layer holds, written while it is unpacked or packed.

Later questions (sizes, diff, blame, wasted bytes) are answered from it without touching the tree.

File format: the line `layertool index 1`, then blocks: 4 bytes of length, little endian, and a
msgpack list of records, each one the fields of `IndexEntry` in order. Each path occurs once (an
opaque directory twice: as itself and as the mark), as it is after the whole layer is applied.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from layertool.archive import headers
from layertool.archive.headers import Entry
from layertool.errors import StoreError

_MAGIC = b"layertool index 1\n"
_LENGTH = struct.Struct("<I")
_BLOCK_RECORDS = 512
_MAX_BLOCK = 64 << 20

Kind = Literal["f", "d", "l", "h", "c", "b", "p", "w", "o"]
"""file, directory, symlink, hard link, character and block device, fifo, whiteout (the path is
deleted from the layers below), opaque (what the layers below have in this directory is hidden)."""


_KINDS: dict[bytes, Kind] = {
    headers.FILE: "f",
    headers.DIRECTORY: "d",
    headers.SYMLINK: "l",
    headers.HARDLINK: "h",
    headers.CHARACTER: "c",
    headers.BLOCK_DEVICE: "b",
    headers.FIFO: "p",
}


class IndexEntry(msgspec.Struct, array_like=True, frozen=True):
    """One path of a layer. `path` has no leading slash; the root directory is `b""`."""

    path: bytes
    type: Kind
    mode: int = 0
    """Permission bits only."""
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Logical bytes of a file; 0 for everything else."""
    mtime_ns: int = 0
    sha256: bytes = b""
    """Of a file's content, 32 bytes; empty for everything else."""
    link: bytes = b""
    """A symlink's target as it is; a hard link's as a path like `path`."""
    xattrs: bytes = b""
    """A hash over names and values of the extended attributes; empty when there are none."""
    device: tuple[int, int] | None = None
    """Major and minor number of a device."""

    @classmethod
    def of(cls, path: bytes, entry: Entry, *, sha256: bytes = b"", link: bytes = b"") -> IndexEntry:
        """The record of a member of an archive."""
        kind = _KINDS[entry.type]
        return cls(
            path=path,
            type=kind,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            size=entry.logical_size if kind == "f" else 0,
            mtime_ns=entry.mtime_ns,
            sha256=sha256,
            link=link,
            xattrs=xattrs_hash(entry.xattrs),
            device=(entry.major, entry.minor) if kind in ("c", "b") else None,
        )


class _Removal(NamedTuple):
    position: int
    """Entries before this one are meant."""
    path: bytes
    below: bool


class IndexWriter:
    """Writes the index of one layer to a file open for reading and writing (`w+b`)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.write(_MAGIC)
        self._records: list[IndexEntry] = []
        self._count = 0
        self._removed: list[_Removal] = []

    def add(self, entry: IndexEntry) -> None:
        """Record one path."""
        self._records.append(entry)
        self._count += 1
        if len(self._records) == _BLOCK_RECORDS:
            self._flush()

    def removed(self, path: bytes) -> None:
        """What was recorded so far at and below `path` was replaced by something else."""
        self._removed.append(_Removal(self._count, path, below=True))

    def replaced(self, path: bytes) -> None:
        """A directory that was recorded comes again with other attributes, children kept."""
        self._removed.append(_Removal(self._count, path, below=False))

    def close(self) -> None:
        """Finish the index; leaves the file open, to be synced by its owner."""
        self._flush()
        if self._removed:
            self._rewrite()
        self._file.flush()

    def _flush(self) -> None:
        if self._records:
            block = msgspec.msgpack.encode(self._records)
            self._file.write(_LENGTH.pack(len(block)) + block)
            self._records.clear()

    def _rewrite(self) -> None:
        """Drop what was replaced. Rare: archives seldom name a path twice."""
        self._file.flush()
        self._file.seek(0)
        survivors = _survivors(list(read_index(self._file)), self._removed)
        self._removed.clear()
        self._file.seek(0)
        self._file.truncate()
        self._file.write(_MAGIC)
        for entry in survivors:
            self.add(entry)
        self._flush()


def read_index(file: BinaryIO) -> Iterator[IndexEntry]:
    """The entries of an index, in the order of the archive. Raises `StoreError` for damage."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise StoreError("layer index: not an index, or of a version unknown here")
    decoder = msgspec.msgpack.Decoder(list[IndexEntry])
    while length := file.read(_LENGTH.size):
        if len(length) < _LENGTH.size:
            raise StoreError("layer index: truncated")
        (size,) = _LENGTH.unpack(length)
        block = file.read(size) if size <= _MAX_BLOCK else b""
        if len(block) != size:
            raise StoreError("layer index: truncated or damaged")
        try:
            yield from decoder.decode(block)
        except msgspec.DecodeError as error:
            raise StoreError(f"layer index: damaged: {error}") from None


def xattrs_hash(xattrs: Mapping[bytes, bytes]) -> bytes:
    """A hash over all names and values; b"" for none."""
    if not xattrs:
        return b""
    digest = hashlib.sha256()
    for name, value in sorted(xattrs.items()):
        digest.update(b"%d:%s%d:%s" % (len(name), name, len(value), value))
    return digest.digest()


def _survivors(entries: list[IndexEntry], removals: list[_Removal]) -> Iterator[IndexEntry]:
    """The entries not removed after they were recorded; going backwards sees removals first."""
    trees: set[bytes] = set()
    singles: set[bytes] = set()
    kept: list[IndexEntry] = []
    pending = list(removals)
    for position in range(len(entries) - 1, -1, -1):
        while pending and pending[-1].position > position:
            removal = pending.pop()
            (trees if removal.below else singles).add(removal.path)
        entry = entries[position]
        if entry.path not in singles and not _is_at_or_below(entry.path, trees):
            kept.append(entry)
    return reversed(kept)


def _is_at_or_below(path: bytes, tops: set[bytes]) -> bool:
    while path not in tops:
        path = path.rpartition(b"/")[0]
        if not path:
            return False
    return True
