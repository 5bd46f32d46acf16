"""Unpacking a layer into a directory, as if the archive wanted to break out of it.

Every entry is placed by descriptor: its parent directory is found inside the root, and the last
component is made by a call that never follows a symlink. Deletions and the attributes of
directories wait until all entries are there, so that the order in the archive does not matter.
(image-spec layer.md; images.md 1.5 is the list of what others got wrong)
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, NamedTuple, Protocol

from layertool.archive import headers, inside, whiteouts
from layertool.archive.attributes import Attributes
from layertool.archive.headers import Entry, shown
from layertool.archive.index import IndexEntry, IndexWriter, Kind
from layertool.archive.inside import Inside, Key
from layertool.archive.limits import DEFAULT_LIMITS, MAX_PATH, Limits
from layertool.archive.owner import Owner
from layertool.archive.reader import TarReader
from layertool.errors import BadArchive
from layertool.oci.digest import Digest

Format = Literal["kernel", "aufs", "apply"]
Paths = list[bytes]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ZEROS = bytes(1 << 20)
_NO_TIME = 0  # of directories that no entry describes: the same tree each time it is unpacked
_MAX_DEPTH = 256  # of a tree whose deleted parts are looked for; real ones reach about 60


class Entries(Protocol):
    """The entries of a layer, in order: those of an archive, or of a tree that becomes one."""

    def __iter__(self) -> Iterator[Entry]: ...

    def view(self, most: int) -> memoryview:
        """Up to `most` bytes of the current entry's data that lie together in memory."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What was made on disk."""

    bytes: int
    """Logical bytes of the files."""
    implicit: Paths = field(default_factory=list)
    """The directories of a layer that its entries need and that no entry describes; b"" is the
    root. What they look like is for the layers below to say."""
    warnings: list[str] = field(default_factory=list)
    """What could not be represented here, one line each."""


@dataclass(frozen=True, slots=True)
class Extracted(Placed):
    """What came out of an archive."""

    diff_id: Digest = field(kw_only=True)
    """Of the whole uncompressed archive."""
    entries: int = field(kw_only=True)
    size: int = field(kw_only=True)
    """Bytes of the uncompressed archive."""


def extract_layer(
    stream: BinaryIO,
    root_fd: int,
    *,
    format: Format,
    limits: Limits = DEFAULT_LIMITS,
    owner: Owner = Owner.KEEP,
    index: IndexWriter | None = None,
) -> Extracted:
    """Unpack a layer, compressed or not, below the directory `root_fd`.

    `format` says what becomes of deletions: "kernel" and "aufs" write the marks that unions read,
    into a directory that holds nothing else; "apply" carries them out on an existing root file
    system. The stream is read to its end and left open; the index is left to be closed by the
    caller. Raises `BadArchive`, naming the entry, and `OSError` with its path. After an error the
    directory holds a part of the layer: the caller removes it.
    """
    with TarReader(stream, limits) as reader:
        placed = place(
            reader, root_fd, format=format, max_path=limits.path, owner=owner, index=index
        )
        return Extracted(
            placed.bytes,
            placed.implicit,
            placed.warnings,
            diff_id=reader.finish(),
            entries=reader.entries,
            size=reader.size,
        )


def place(
    source: Entries,
    root_fd: int,
    *,
    format: Format,
    max_path: int = MAX_PATH,
    owner: Owner = Owner.KEEP,
    index: IndexWriter | None = None,
) -> Placed:
    """Make what the entries of a layer describe; the part of `extract_layer` after the archive."""
    extraction = _Extraction(source, root_fd, format, max_path, owner, index)
    try:
        return extraction.run()
    finally:
        extraction.close()


class _Directory(NamedTuple):
    """Attributes that wait for the last pass, and which directory they are for."""

    key: Key
    entry: Entry


class _Extraction:
    def __init__(
        self,
        source: Entries,
        root_fd: int,
        format: Format,
        max_path: int,
        owner: Owner,
        index: IndexWriter | None,
    ) -> None:
        self._source = source
        self._inside = Inside(root_fd)
        self._max_path = max_path
        self._owner = owner
        self._index = index
        self._is_layer = format != "apply"
        self._markers: whiteouts.Markers = (
            whiteouts.AufsMarkers() if format == "aufs" else whiteouts.KernelMarkers()
        )
        self._attributes = Attributes(owner, escaped=self._is_layer, warn=self._warn)
        self._directories: dict[bytes, _Directory] = {}
        self._whiteouts: dict[bytes, None] = {}
        self._opaques: dict[bytes, None] = {}
        # What this layer wrote, by identity of the parent: deletions spare it. In a layer
        # directory that is simply everything that exists.
        self._written: set[tuple[Key, bytes]] = set()
        # Directories of a root file system with their time before this layer came, a way to each.
        self._times: dict[Key, tuple[bytes, int]] = {}
        self._timed: set[bytes] = set()
        self._bytes = 0
        self._warnings: dict[str, str] = {}

    def run(self) -> Placed:
        for entry in self._source:
            try:
                self._one(entry)
            except (OSError, BadArchive) as error:
                raise _named(error, entry) from None
        self._delete()
        self._finish_parents()
        self._finish_directories()
        return Placed(self._bytes, self._implicit(), list(self._warnings.values()))

    def close(self) -> None:
        self._inside.close()

    def _one(self, entry: Entry) -> None:
        path = inside.clean(entry.name, self._max_path)
        if not path:
            self._root(entry)
        elif whiteouts.PREFIX not in path or not self._is_marker(path, entry):
            self._place(path, entry)

    def _root(self, entry: Entry) -> None:
        """The root may change its attributes, never its type (CVE-2021-29136)."""
        if entry.type != headers.DIRECTORY:
            raise BadArchive(f"{shown(entry.name)}: the root entry is not a directory")
        _, key = self._inside.directory(b"", create=False)
        self._directories[b""] = _Directory(key, entry)
        self._record(b"", entry)

    def _is_marker(self, path: bytes, entry: Entry) -> bool:
        """Take note of a deletion; True when the entry is one, or is aufs's own business."""
        *above, name = path.split(b"/")
        for part in above:
            if whiteouts.is_meta(part):
                return True
            if part.startswith(whiteouts.PREFIX):
                raise BadArchive(f"{shown(entry.name)}: a whiteout cannot be a directory")
        if not name.startswith(whiteouts.PREFIX):
            return False
        parent = b"/".join(above)
        if name == whiteouts.OPAQUE_NAME:
            self._inside.directory(parent, create=True)
            self._opaques[parent] = None
        elif not whiteouts.is_meta(name):
            target = name[len(whiteouts.PREFIX) :]
            if target in (b"", b".", b".."):
                raise BadArchive(f"{shown(entry.name)}: whiteout of nothing")
            self._inside.directory(parent, create=True)
            self._whiteouts[b"/".join([*above, target])] = None
        return True

    def _place(self, path: bytes, entry: Entry) -> None:
        kind = entry.type
        if kind == headers.FILE:
            self._file(path, entry)
        elif kind == headers.DIRECTORY:
            self._directory(path, entry)
        elif kind == headers.SYMLINK:
            self._symlink(path, entry)
        elif kind == headers.HARDLINK:
            self._hardlink(path, entry)
        else:
            self._special(path, entry)

    def _file(self, path: bytes, entry: Entry) -> None:
        _, fd = self._make(path, _new_file)
        try:
            digest = self._write(fd, entry)
            self._attributes.to_open(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        self._bytes += entry.logical_size
        self._record(path, entry, sha256=digest)

    def _directory(self, path: bytes, entry: Entry) -> None:
        # Owner only until the last pass sets the mode: its children must be writable meanwhile.
        parent, name = inside.split(path)
        parent_fd, key = self._parent(parent)
        if not _is_directory(parent_fd, name):
            parent_fd, _ = self._make(path, _new_directory)
        else:
            self._written.add((key, name))
        info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if path in self._directories and self._index is not None:
            self._index.replaced(path)
        made = (info.st_dev, info.st_ino)
        self._inside.made.pop(made, None)
        self._directories[path] = _Directory(made, entry)
        self._record(path, entry)

    def _symlink(self, path: bytes, entry: Entry) -> None:
        target = entry.link
        if not target or b"\0" in target or len(target) >= self._max_path:
            raise BadArchive(f"{shown(entry.name)}: symlink with a target that cannot be one")
        parent_fd, _ = self._make(path, lambda fd, name: os.symlink(target, name, dir_fd=fd))
        self._attributes.to_name(parent_fd, inside.split(path)[1], entry)
        self._record(path, entry, link=target)

    def _hardlink(self, path: bytes, entry: Entry) -> None:
        target = inside.clean(entry.link, self._max_path)
        if target == path or not target:
            raise BadArchive(f"{shown(entry.name)}: hard link to itself or to the root")
        source_path, source_name = inside.split(target)
        source_fd, _ = self._inside.directory(source_path, create=False)
        try:
            info = os.stat(source_name, dir_fd=source_fd, follow_symlinks=False)
        except FileNotFoundError:
            raise BadArchive(
                f"{shown(entry.name)}: hard link to {shown(target)}, which is not in this layer"
            ) from None
        if stat.S_ISDIR(info.st_mode):
            raise BadArchive(f"{shown(entry.name)}: hard link to the directory {shown(target)}")

        def link(parent_fd: int, name: bytes) -> None:
            source, _ = self._inside.directory(source_path, create=False)
            os.link(
                source_name, name, src_dir_fd=source, dst_dir_fd=parent_fd, follow_symlinks=False
            )

        self._make(path, link)
        self._record(path, entry, link=target)

    def _special(self, path: bytes, entry: Entry) -> None:
        if entry.type == headers.FIFO:
            kind, device = stat.S_IFIFO, 0
        else:
            kind = stat.S_IFCHR if entry.type == headers.CHARACTER else stat.S_IFBLK
            device = os.makedev(entry.major, entry.minor)
            if self._is_layer and kind == stat.S_IFCHR and device == 0:
                # On disk it would be a whiteout, and delete a file of another layer.
                self._placeholder(path, entry)
                return
        try:
            parent_fd, _ = self._make(
                path, lambda fd, name: os.mknod(name, kind | 0o600, device, dir_fd=fd)
            )
        except PermissionError:
            if self._owner is Owner.KEEP:
                raise
            self._placeholder(path, entry)
            return
        self._attributes.to_name(parent_fd, inside.split(path)[1], entry)
        self._record(path, entry)

    def _placeholder(self, path: bytes, entry: Entry) -> None:
        self._warn(
            "device",
            f"{shown(entry.name)}: a device that cannot be made here; an empty file stands for it",
        )
        _, fd = self._make(path, _new_file)
        try:
            self._attributes.placeholder(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        self._record(path, entry)

    def _make(self, path: bytes, create: Callable[[int, bytes], int | None]) -> tuple[int, int]:
        """Create at `path`, in place of what may be there; the parent's descriptor and the result.

        `create` must fail with EEXIST for whatever exists, and follow nothing.
        """
        parent, name = inside.split(path)
        parent_fd, key = self._parent(parent)
        try:
            made = create(parent_fd, name)
        except FileExistsError:
            inside.remove(parent_fd, name)
            # A cached way may have led through what is gone.
            self._inside.forget()
            if self._index is not None:
                self._index.removed(path)
            parent_fd, key = self._inside.directory(parent, create=True)
            made = create(parent_fd, name)
        if not self._is_layer:
            self._written.add((key, name))
        return parent_fd, made or 0

    def _parent(self, path: bytes) -> tuple[int, Key]:
        """The directory to change something in, made if it is missing."""
        if not self._is_layer and path not in self._timed:
            self._remember_times(path)
        return self._inside.directory(path, create=True)

    def _remember_times(self, path: bytes) -> None:
        """Of the directory and those above it, as far as they exist."""
        parts = path.split(b"/") if path else []
        for depth in range(len(parts) + 1):
            above = b"/".join(parts[:depth])
            if above in self._timed:
                continue
            try:
                fd, key = self._inside.directory(above, create=False)
            except BadArchive:
                return
            self._timed.add(above)
            self._times.setdefault(key, (above, os.fstat(fd).st_mtime_ns))

    def _write(self, fd: int, entry: Entry) -> bytes:
        """Write the data; its SHA-256 when there is an index to keep it."""
        digest = hashlib.sha256() if self._index is not None else None
        extents = [(0, entry.size)] if entry.sparse is None else entry.sparse
        position = 0
        for offset, length in extents:
            if offset > position:
                _hash_hole(digest, offset - position)
                os.lseek(fd, offset, os.SEEK_SET)
            self._write_extent(fd, length, digest)
            position = offset + length
        if entry.sparse is not None:
            _hash_hole(digest, entry.logical_size - position)
            os.ftruncate(fd, entry.logical_size)
        return digest.digest() if digest is not None else b""

    def _write_extent(self, fd: int, length: int, digest: hashlib._Hash | None) -> None:
        while length:
            view = self._source.view(length)
            length -= len(view)
            if digest is not None:
                digest.update(view)
            while view:
                view = view[os.write(fd, view) :]

    def _delete(self) -> None:
        """Carry out, or mark, the deletions; none of them touches what this layer brought."""
        for path in self._whiteouts:
            parent, name = inside.split(path)
            parent_fd, key = self._parent(parent)
            if self._is_layer:
                made = _directory_key(parent_fd, name)
                if made is not None:
                    # Deleted and made anew: a directory that shows nothing of the one below.
                    self._opaques[path] = None
                    self._inside.made.pop(made, None)
                    continue
                if not _exists(parent_fd, name):
                    self._markers.whiteout(parent_fd, name)
                    self._record_mark(path, "w")
            else:
                self._purge(parent_fd, key, name, 0)
                self._inside.forget()
        for path in self._opaques:
            directory_fd, key = self._parent(path)
            if self._is_layer:
                self._markers.opaque(directory_fd)
            else:
                self._purge_children(directory_fd, key, 0)
                self._inside.forget()
            self._record_mark(path, "o")

    def _purge(self, parent_fd: int, key: Key, name: bytes, depth: int) -> None:
        """Remove `name`, sparing what this layer wrote and the directories that lead to it."""
        written = (key, name) in self._written
        if not _is_directory(parent_fd, name):
            if not written:
                inside.remove(parent_fd, name)
            return
        if depth > _MAX_DEPTH:
            raise BadArchive(f"{shown(name)}: a directory more than {_MAX_DEPTH} levels deep")
        fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
        try:
            info = os.fstat(fd)
            self._purge_children(fd, (info.st_dev, info.st_ino), depth + 1)
            empty = not os.listdir(fd)
        finally:
            os.close(fd)
        if empty and not written:
            os.rmdir(name, dir_fd=parent_fd)

    def _purge_children(self, fd: int, key: Key, depth: int) -> None:
        for name in os.listdir(fd):
            self._purge(fd, key, os.fsencode(name), depth)

    def _implicit(self) -> list[bytes]:
        """Parents first."""
        root = [] if b"" in self._directories else [b""]
        return [*root, *sorted(self._inside.made.values())] if self._is_layer else []

    def _finish_parents(self) -> None:
        """Directories without an entry keep their time; those made for others have one for all."""
        made = {key: (path, _NO_TIME) for key, path in self._inside.made.items()}
        for key, (path, time) in (self._times | made).items():
            try:
                fd, found = self._inside.directory(path, create=False)
            except BadArchive:
                continue  # replaced by a later entry, or deleted
            if found == key:
                os.utime(fd, ns=(time, time))

    def _finish_directories(self) -> None:
        """Deepest first: a parent may get a mode that keeps us out of it."""
        for path in sorted(self._directories, reverse=True):
            key, entry = self._directories[path]
            fd = self._reopen(path)
            if fd is None:
                continue
            try:
                info = os.fstat(fd)
                # A later entry may have put another directory, or a way to one, at this path.
                if (info.st_dev, info.st_ino) == key:
                    if not self._is_layer:
                        self._attributes.clear(fd)
                    self._attributes.to_open(fd, entry)
                    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            except OSError as error:
                raise _named(error, entry) from None
            finally:
                os.close(fd)

    def _reopen(self, path: bytes) -> int | None:
        if not path:
            return os.dup(self._inside.fd)
        parent, name = inside.split(path)
        try:
            parent_fd, _ = self._inside.directory(parent, create=False)
            return os.open(name, _DIRECTORY, dir_fd=parent_fd)
        except (BadArchive, FileNotFoundError, NotADirectoryError):
            return None  # replaced by a later entry
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None
            raise

    def _record(self, path: bytes, entry: Entry, *, sha256: bytes = b"", link: bytes = b"") -> None:
        if self._index is not None:
            self._index.add(IndexEntry.of(path, entry, sha256=sha256, link=link))

    def _record_mark(self, path: bytes, kind: Kind) -> None:
        if self._index is not None:
            self._index.add(IndexEntry(path, kind))

    def _warn(self, kind: str, message: str) -> None:
        self._warnings.setdefault(kind, message)


def _new_file(parent_fd: int, name: bytes) -> int:
    return os.open(name, _NEW_FILE, 0o600, dir_fd=parent_fd)


def _new_directory(parent_fd: int, name: bytes) -> None:
    os.mkdir(name, 0o700, dir_fd=parent_fd)


def _exists(parent_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_directory(parent_fd: int, name: bytes) -> bool:
    return _directory_key(parent_fd, name) is not None


def _directory_key(parent_fd: int, name: bytes) -> Key | None:
    """None for what is no directory, or does not exist."""
    try:
        info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return (info.st_dev, info.st_ino) if stat.S_ISDIR(info.st_mode) else None


def _hash_hole(digest: hashlib._Hash | None, length: int) -> None:
    """A hole reads as zeros."""
    if digest is None:
        return
    while length > 0:
        digest.update(memoryview(_ZEROS)[:length])
        length -= len(_ZEROS)


def _named(error: OSError | BadArchive, entry: Entry) -> OSError | BadArchive:
    """The error with the entry's name: what raised it knew only a part of the path."""
    name = shown(entry.name)
    if isinstance(error, BadArchive):
        return error if str(error).startswith(name) else BadArchive(f"{name}: {error}")
    if error.errno == errno.ENAMETOOLONG:
        return BadArchive(f"{name}: name too long")
    return OSError(error.errno, error.strerror, name)
