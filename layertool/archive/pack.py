"""Packing a directory as a layer: the mirror of `extract`.

One pass: the tree is walked in a fixed order, each file read once, and a thread hashes and
compresses what the walk produces. The output depends on the tree alone: sorted, whole seconds, no
names of owners, times not later than `epoch`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, NamedTuple, cast

from layertool.archive import headers, inside, whiteouts
from layertool.archive.attributes import OF_THE_HOST
from layertool.archive.compress import CHUNK, Compression, open_compressor
from layertool.archive.headers import Entry, shown
from layertool.archive.index import IndexEntry, IndexWriter
from layertool.archive.inside import Inside
from layertool.archive.limits import MAX_PATH
from layertool.archive.owner import OVERRIDE, Override, stands_for_root
from layertool.errors import Unsupported
from layertool.oci.digest import Digest

_AHEAD = 8  # chunks between the walk and the compressor
_NS = 1_000_000_000
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ROOT_MODE = 0o755
_TYPES = {
    stat.S_IFREG: headers.FILE,
    stat.S_IFDIR: headers.DIRECTORY,
    stat.S_IFLNK: headers.SYMLINK,
    stat.S_IFIFO: headers.FIFO,
    stat.S_IFCHR: headers.CHARACTER,
    stat.S_IFBLK: headers.BLOCK_DEVICE,
}
# An opaque value that hides nothing: "deletions in this directory are marked by xattr".
_OPAQUE = b"y"

_NO_XATTRS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM)

Xattrs = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer as written."""

    digest: Digest
    """Of the compressed bytes: the name of the blob."""
    diff_id: Digest
    """Of the uncompressed archive."""
    size: int
    """Bytes written, compressed."""
    entries: int
    bytes: int
    """Logical bytes of the files."""
    warnings: list[str] = field(default_factory=list)
    """What a layer cannot carry, one line each."""


def pack_layer(
    dir_fd: int,
    out: BinaryIO,
    *,
    compression: Compression = Compression.GZIP,
    level: int | None = None,
    epoch: int | None = None,
    whole_tree: bool = False,
    exclude: Callable[[bytes], bool] | None = None,
    index: IndexWriter | None = None,
) -> Packed:
    """Write the directory `dir_fd` to `out` as a layer.

    The directory is an upper: what the kernel's overlayfs, fuse-overlayfs or aufs style mark as
    deleted becomes a whiteout; with `whole_tree` it is a root file system in which nothing has such
    a meaning. A tree without marks packs the same either way. The root has an entry only when it
    differs from 0755, 0:0, no xattrs.

    `epoch`: seconds; later times become this one. `exclude` is asked with each path, no slash in
    front; what it takes out goes with all below it. Raises `Unsupported` for what a layer cannot
    express (renamed directories, names starting with `.wh.`), `OSError` with the path.
    """
    writer = _Writer(out, compression, level)
    packing = _Packing(dir_fd, writer, epoch, whole_tree, exclude, index)
    try:
        packing.run()
        return writer.finish(packing)
    finally:
        writer.stop()
        packing.close()


class _Node(NamedTuple):
    path: bytes
    info: os.stat_result | None
    """None for a whiteout; `path` is then that of what it deletes."""


class _Packing:
    def __init__(
        self,
        dir_fd: int,
        writer: _Writer,
        epoch: int | None,
        whole_tree: bool,
        exclude: Callable[[bytes], bool] | None,
        index: IndexWriter | None,
    ) -> None:
        self._inside = Inside(dir_fd)
        self._writer = writer
        self._epoch = epoch
        self._whole_tree = whole_tree
        self._exclude = exclude
        self._index = index
        # The first entry of each inode that has more names.
        self._linked: dict[tuple[int, int], Entry] = {}
        self.entries = 0
        self.bytes = 0
        self.warnings: list[str] = []

    def run(self) -> None:
        pending = [_Node(b"", os.fstat(self._inside.fd))]
        while pending:
            node = pending.pop()
            try:
                if self._one(node):
                    pending += reversed(self._children(node.path))
            except OSError as error:
                raise OSError(error.errno, error.strerror, shown(node.path)) from None
        self._writer.write(headers.END_OF_ARCHIVE)

    def close(self) -> None:
        self._inside.close()

    def _one(self, node: _Node) -> bool:
        """Write one path; whether there is something below it."""
        if node.info is None:
            self._whiteout(node.path)
            return False
        if stat.S_ISDIR(node.info.st_mode):
            self._directory(node.path, node.info)
            return True
        if stat.S_ISSOCK(node.info.st_mode):
            self.warnings.append(f"{shown(node.path)}: is a socket, which a layer cannot hold")
        elif (first := self._linked.get((node.info.st_dev, node.info.st_ino))) is not None:
            self._hardlink(node.path, first)
        elif stat.S_ISREG(node.info.st_mode):
            self._file(node.path)
        else:
            self._special(node.path, node.info)
        return False

    def _directory(self, path: bytes, info: os.stat_result) -> None:
        fd, _ = self._inside.directory(path, create=False)
        xattrs = _read_xattrs(fd)
        if not self._whole_tree:
            _refuse_references(path, xattrs)
        entry = self._entry(path + b"/", info, xattrs)
        if not path:
            plain = (entry.mode, entry.uid, entry.gid, entry.xattrs) == (_ROOT_MODE, 0, 0, {})
            entry.name = b"./"
            if plain:
                return
        self._emit(path, entry)

    def _file(self, path: bytes) -> None:
        parent, name = inside.split(path)
        parent_fd, _ = self._inside.directory(parent, create=False)
        fd = os.open(name, _READ, dir_fd=parent_fd)
        try:
            info = os.fstat(fd)
            xattrs = _read_xattrs(fd)
            if not self._whole_tree:
                _refuse_references(path, xattrs)
                if info.st_size == 0 and _family_value(xattrs, b"whiteout") is not None:
                    self._whiteout(path)
                    return
            entry = self._entry(path, info, xattrs)
            if entry.type == headers.FILE:
                entry.size = info.st_size
            self._header(entry)
            digest = self._data(fd, entry) if entry.type == headers.FILE else b""
        finally:
            os.close(fd)
        self._record(path, entry, sha256=digest)
        self._remember(info, entry)

    def _remember(self, info: os.stat_result, entry: Entry) -> None:
        if info.st_nlink > 1:
            self._linked[info.st_dev, info.st_ino] = entry

    def _data(self, fd: int, entry: Entry) -> bytes:
        """Copy the file; its SHA-256 when there is an index to keep it."""
        digest = hashlib.sha256() if self._index is not None else None
        left = entry.size
        while left:
            data = os.read(fd, min(left, CHUNK))
            if not data:
                # As tar does: the size is already in the header.
                self.warnings.append(f"{shown(entry.name)}: shrank while it was read")
                data = bytes(min(left, CHUNK))
            left -= len(data)
            if digest is not None:
                digest.update(data)
            self._writer.write(data)
        self._writer.write(bytes(headers.padding(entry.size)))
        self.bytes += entry.size
        return digest.digest() if digest is not None else b""

    def _hardlink(self, path: bytes, first: Entry) -> None:
        link = first.name
        entry = replace(first, name=path, type=headers.HARDLINK, size=0, link=link, xattrs={})
        self._emit(path, entry, link=link)

    def _special(self, path: bytes, info: os.stat_result) -> None:
        parent, name = inside.split(path)
        parent_fd, _ = self._inside.directory(parent, create=False)
        xattrs = _read_xattrs(b"/proc/self/fd/%d/%s" % (parent_fd, name))
        entry = self._entry(path, info, xattrs)
        if entry.type == headers.SYMLINK:
            entry.link = os.readlink(name, dir_fd=parent_fd)
        else:
            entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        self._emit(path, entry, link=entry.link)
        self._remember(info, entry)

    def _whiteout(self, path: bytes) -> None:
        parent, name = inside.split(path)
        mark = whiteouts.PREFIX + name
        self._header(Entry(parent + b"/" + mark if parent else mark, mode=0))
        if self._index is not None:
            self._index.add(IndexEntry(path, "w"))

    def _opaque(self, path: bytes) -> None:
        name = path + b"/" + whiteouts.OPAQUE_NAME if path else whiteouts.OPAQUE_NAME
        self._header(Entry(name, mode=0))
        if self._index is not None:
            self._index.add(IndexEntry(path, "o"))

    def _children(self, path: bytes) -> list[_Node]:
        """What is in a directory: deletions first, as image-spec wishes, then sorted bytewise."""
        fd, _ = self._inside.directory(path, create=False)
        deleted: set[bytes] = set()
        present: list[_Node] = []
        opaque = not self._whole_tree and _is_opaque(fd)
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            child = path + b"/" + name if path else name
            if self._exclude is not None and self._exclude(child):
                continue
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if name.startswith(whiteouts.PREFIX):
                opaque |= self._aufs_mark(path, name, info, deleted)
            elif not self._whole_tree and whiteouts.is_whiteout_device(info):
                deleted.add(child)
            else:
                present.append(_Node(child, info))
        if opaque:
            # Deletions inside would hide nothing that is not hidden already.
            self._opaque(path)
            deleted.clear()
        # Once each, whatever marks it: both formats pack to the same bytes.
        return [_Node(gone, None) for gone in sorted(deleted)] + present

    def _aufs_mark(
        self, parent: bytes, name: bytes, info: os.stat_result, deleted: set[bytes]
    ) -> bool:
        """Read a name starting with `.wh.`; True for the opaque mark."""
        path = parent + b"/" + name if parent else name
        if self._whole_tree:
            raise Unsupported(f"{shown(path)}: a layer cannot hold a file of this name")
        if name == whiteouts.OPAQUE_NAME:
            return True
        target = name[len(whiteouts.PREFIX) :]
        # fuse-overlayfs leaves devices named `.wh..opq` beside the real mark.
        if whiteouts.is_meta(name) or whiteouts.is_whiteout_device(info):
            return False
        if not stat.S_ISREG(info.st_mode) or info.st_size or target in (b"", b".", b".."):
            raise Unsupported(
                f"{shown(path)}: a layer cannot hold a file of this name, and it is no whiteout"
            )
        deleted.add(parent + b"/" + target if parent else target)
        return False

    def _entry(self, name: bytes, info: os.stat_result, xattrs: Xattrs) -> Entry:
        if len(name) > MAX_PATH:
            raise Unsupported(f"{shown(name)}: path of {len(name)} bytes, longer than {MAX_PATH}")
        seconds = info.st_mtime_ns // _NS
        if self._epoch is not None:
            seconds = min(seconds, self._epoch)
        entry = Entry(
            name,
            type=_TYPES[stat.S_IFMT(info.st_mode)],
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            mtime_ns=seconds * _NS,
            xattrs=self._image_xattrs(name, xattrs),
        )
        override = Override.decode(xattrs.get(OVERRIDE, b""))
        if override is not None:
            _apply_override(entry, override)
        elif stands_for_root(info.st_uid, info.st_gid):
            entry.uid = entry.gid = 0
        return entry

    def _image_xattrs(self, path: bytes, xattrs: Xattrs) -> Xattrs:
        """The attributes that belong to the image, under the names they have there."""
        kept = {}
        for on_disk, value in xattrs.items():
            name = whiteouts.unescape(on_disk)
            if name is None or name == OVERRIDE or name in OF_THE_HOST:
                continue
            if b"=" in name:
                self.warnings.append(f"{shown(path)}: tar cannot carry the attribute {shown(name)}")
                continue
            kept[name] = value
        return kept

    def _emit(self, path: bytes, entry: Entry, *, link: bytes = b"") -> None:
        self._header(entry)
        self._record(path, entry, link=link)

    def _header(self, entry: Entry) -> None:
        self._writer.write(headers.encode(entry))
        self.entries += 1

    def _record(self, path: bytes, entry: Entry, *, sha256: bytes = b"", link: bytes = b"") -> None:
        if self._index is not None:
            self._index.add(IndexEntry.of(path, entry, sha256=sha256, link=link))


class _Writer:
    """Hashes and compresses in a thread what the walk hands over."""

    def __init__(self, out: BinaryIO, compression: Compression, level: int | None) -> None:
        self._blob = _Hashing(out)
        self._compressor = open_compressor(cast(BinaryIO, self._blob), compression, level)
        self._diff = hashlib.sha256()
        self._pending = bytearray()
        self._queue: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="compress", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Add to the archive. Raises what compressing or writing raised meanwhile."""
        self._pending += data
        if len(self._pending) >= CHUNK:
            self._hand_over()

    def finish(self, packing: _Packing) -> Packed:
        """Write everything out."""
        self._hand_over()
        self._end_thread()
        self._raise()
        self._compressor.close()
        return Packed(
            digest=Digest.from_hex(self._blob.hash.hexdigest()),
            diff_id=Digest.from_hex(self._diff.hexdigest()),
            size=self._blob.size,
            entries=packing.entries,
            bytes=packing.bytes,
            warnings=packing.warnings,
        )

    def stop(self) -> None:
        """End all threads, whatever has happened; does nothing after `finish`."""
        self._end_thread()
        if not self._compressor.closed:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._compressor.close()

    def _end_thread(self) -> None:
        """Let the thread finish what it already has."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _hand_over(self) -> None:
        self._raise()
        self._queue.put(bytes(self._pending))
        self._pending.clear()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            # After an error only drain, so that the walk is never left waiting.
            if self._error is None:
                try:
                    self._diff.update(data)
                    self._compressor.write(data)
                except BaseException as error:
                    self._error = error


class _Hashing:
    """Counts and hashes what goes to the blob."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""


def _read_xattrs(target: int | bytes) -> Xattrs:
    """All extended attributes, of the link itself when it is one."""
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return {}
        raise
    return {os.fsencode(name): os.getxattr(target, name, follow_symlinks=follow) for name in names}


def _family_value(xattrs: Xattrs, name: bytes) -> bytes | None:
    """The value of an overlay's private attribute, whichever family wrote it."""
    for family in (*whiteouts.FAMILIES, whiteouts.FUSE_OVERLAYFS):
        if family + name in xattrs:
            return xattrs[family + name]
    return None


def _is_opaque(fd: int) -> bool:
    return _family_value(_read_xattrs(fd), b"opaque") == _OPAQUE


def _refuse_references(path: bytes, xattrs: Xattrs) -> None:
    """What lies in another layer cannot be packed from this one."""
    if _family_value(xattrs, b"redirect") is not None:
        raise Unsupported(
            f"{shown(path)}: was renamed in an overlay with redirect_dir, its content is in "
            "another layer: pack the mounted view with --whole"
        )
    if _family_value(xattrs, b"metacopy") is not None:
        raise Unsupported(
            f"{shown(path)}: has only metadata here (metacopy), its content is in another layer: "
            "pack the mounted view with --whole"
        )


def _apply_override(entry: Entry, override: Override) -> None:
    """Restore what could not be set when it was unpacked."""
    entry.uid, entry.gid, entry.mode = override.uid, override.gid, override.mode
    if entry.type == headers.FILE and override.kind:
        entry.type = _TYPES.get(override.kind, headers.FILE)
        entry.major, entry.minor = override.major, override.minor
