"""Reading a directory as the layer it makes: the mirror of `reader`.

The entries come in a fixed order and depend on the tree alone: sorted, whole seconds, no names of
owners, times not later than `epoch`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from layertool.archive import headers, inside, whiteouts
from layertool.archive.attributes import OF_THE_HOST
from layertool.archive.compress import CHUNK
from layertool.archive.headers import Entry, shown
from layertool.archive.inside import Inside
from layertool.archive.limits import MAX_PATH
from layertool.archive.owner import OVERRIDE, Override, stands_for_root
from layertool.errors import Unsupported

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

Xattrs = dict[bytes, bytes]


class _Node(NamedTuple):
    path: bytes
    info: os.stat_result | None
    """None for a whiteout; `path` is then that of what it deletes."""


class _Listing(NamedTuple):
    is_opaque: bool
    children: list[_Node]


class TreeReader:
    """The entries of the layer that a directory makes, in the order of the archive.

    Iterating yields an `Entry`; `view` then gives its data, all of which must be taken before the
    next entry. Call `close` at the end.
    """

    def __init__(
        self,
        dir_fd: int,
        *,
        epoch: int | None = None,
        whole_tree: bool = False,
    ) -> None:
        self._inside = Inside(dir_fd)
        self._epoch = epoch
        self._whole_tree = whole_tree
        # The first entry of each inode that has more names.
        self._linked: dict[tuple[int, int], Entry] = {}
        self._file = -1
        self._current = b""
        self.warnings: list[str] = []
        """What a layer cannot carry, one line each."""

    def close(self) -> None:
        """Close what is cached."""
        self._inside.close()

    def __iter__(self) -> Iterator[Entry]:
        pending = [_Node(b"", os.fstat(self._inside.fd))]
        while pending:
            node = pending.pop()
            try:
                yield from self._one(node)
                if node.info is not None and stat.S_ISDIR(node.info.st_mode):
                    listing = self._list(node.path)
                    if listing.is_opaque:
                        yield _opaque(node.path)
                    pending += reversed(listing.children)
            except OSError as error:
                raise OSError(error.errno, error.strerror, shown(node.path)) from None

    def view(self, most: int) -> memoryview:
        """Up to `most` bytes of the current entry's data, never none."""
        try:
            data = os.read(self._file, min(most, CHUNK))
        except OSError as error:
            raise OSError(error.errno, error.strerror, shown(self._current)) from None
        if not data:
            # As tar does: the size is already in the header.
            self.warnings.append(f"{shown(self._current)}: shrank while it was read")
            data = bytes(min(most, CHUNK))
        return memoryview(data)

    def _one(self, node: _Node) -> Iterator[Entry]:
        """The entry of one path, if it has one."""
        if node.info is None:
            yield _whiteout(node.path)
        elif stat.S_ISDIR(node.info.st_mode):
            yield from self._directory(node.path, node.info)
        elif stat.S_ISSOCK(node.info.st_mode):
            self.warnings.append(f"{shown(node.path)}: is a socket, which a layer cannot hold")
        elif (first := self._linked.get((node.info.st_dev, node.info.st_ino))) is not None:
            yield _hardlink(node.path, first)
        elif stat.S_ISREG(node.info.st_mode):
            yield from self._regular(node.path)
        else:
            yield self._special(node.path, node.info)

    def _directory(self, path: bytes, info: os.stat_result) -> Iterator[Entry]:
        fd, _ = self._inside.directory(path, create=False)
        xattrs = whiteouts.read_xattrs(fd)
        if not self._whole_tree:
            _refuse_references(path, xattrs)
        entry = self._entry(path + b"/", info, xattrs)
        if not path:
            entry.name = b"./"
            if (entry.mode, entry.uid, entry.gid, entry.xattrs) == (_ROOT_MODE, 0, 0, {}):
                return
        yield entry

    def _regular(self, path: bytes) -> Iterator[Entry]:
        parent, name = inside.split(path)
        parent_fd, _ = self._inside.directory(parent, create=False)
        fd = os.open(name, _READ, dir_fd=parent_fd)
        try:
            info = os.fstat(fd)
            xattrs = whiteouts.read_xattrs(fd)
            if not self._whole_tree:
                _refuse_references(path, xattrs)
                if info.st_size == 0 and whiteouts.private_value(xattrs, b"whiteout") is not None:
                    yield _whiteout(path)
                    return
            entry = self._entry(path, info, xattrs)
            if entry.type == headers.FILE:
                entry.size = info.st_size
            self._file, self._current = fd, path
            yield entry
        finally:
            os.close(fd)
        self._remember(info, entry)

    def _special(self, path: bytes, info: os.stat_result) -> Entry:
        parent, name = inside.split(path)
        parent_fd, _ = self._inside.directory(parent, create=False)
        xattrs = whiteouts.read_xattrs(b"/proc/self/fd/%d/%s" % (parent_fd, name))
        entry = self._entry(path, info, xattrs)
        if entry.type == headers.SYMLINK:
            entry.link = os.readlink(name, dir_fd=parent_fd)
        else:
            entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        self._remember(info, entry)
        return entry

    def _remember(self, info: os.stat_result, entry: Entry) -> None:
        if info.st_nlink > 1:
            self._linked[info.st_dev, info.st_ino] = entry

    def _list(self, path: bytes) -> _Listing:
        """What is in a directory: deletions first, as image-spec wishes, then sorted bytewise."""
        fd, _ = self._inside.directory(path, create=False)
        deleted: set[bytes] = set()
        present: list[_Node] = []
        is_opaque = not self._whole_tree and whiteouts.is_opaque(fd)
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            child = path + b"/" + name if path else name
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if name.startswith(whiteouts.PREFIX):
                is_opaque |= self._aufs_mark(path, name, info, deleted)
            elif not self._whole_tree and whiteouts.is_whiteout_device(info):
                deleted.add(child)
            else:
                present.append(_Node(child, info))
        if is_opaque:
            # Deletions inside would hide nothing that is not hidden already.
            deleted.clear()
        # Once each, whatever marks it: both formats pack to the same bytes.
        return _Listing(is_opaque, [_Node(gone, None) for gone in sorted(deleted)] + present)

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


def _hardlink(path: bytes, first: Entry) -> Entry:
    return replace(first, name=path, type=headers.HARDLINK, size=0, link=first.name, xattrs={})


def _whiteout(path: bytes) -> Entry:
    parent, name = inside.split(path)
    mark = whiteouts.PREFIX + name
    return Entry(parent + b"/" + mark if parent else mark, mode=0)


def _opaque(path: bytes) -> Entry:
    return Entry(path + b"/" + whiteouts.OPAQUE_NAME if path else whiteouts.OPAQUE_NAME, mode=0)


def _refuse_references(path: bytes, xattrs: Xattrs) -> None:
    """What lies in another layer cannot be packed from this one."""
    if whiteouts.private_value(xattrs, b"redirect") is not None:
        raise Unsupported(
            f"{shown(path)}: was renamed in an overlay with redirect_dir, its content is in "
            "another layer: pack the mounted view with --whole"
        )
    if whiteouts.private_value(xattrs, b"metacopy") is not None:
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
