"""Files that the kernel reads and writes without asking: FUSE passthrough (Linux 6.9).

The kernel is given the open upper file behind a node and then does read, write and mmap on it by
itself. It needs CAP_SYS_ADMIN in the first user namespace. Rules of the kernel (fs/fuse/iomode.c):
all handles of an inode go through the same file or none does, and no write-back cache.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tree import Node, Tree

SETID = stat.S_ISUID | stat.S_ISGID

_BACKING_OPEN = 0x4010E501
_BACKING_CLOSE = 0x4004E502
_BACKING_MAP = struct.Struct("=iIQ")
_BACKING_ID = struct.Struct("=I")

_CAP_FSETID = 1 << 4
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def supported(device: int) -> bool:
    """Whether the kernel behind the mounted, not yet initialised *device* can pass files through.

    It refuses with EPERM before INIT; a kernel that cannot do it at all has another answer.
    """
    with open("/proc/self/uid_map", encoding="ascii") as table:
        if table.read().split() != ["0", "0", "4294967295"]:
            return False
    try:
        fcntl.ioctl(device, _BACKING_OPEN, _BACKING_MAP.pack(-1, 0, 0))
    except OSError as error:
        return error.errno == errno.EPERM
    return False


class Passthrough:
    """The open files of one mount that the kernel reads and writes by itself.

    *lower* says whether it may be lower files too.
    """

    def __init__(self, device: int, *, lower: bool) -> None:
        self._files = _Files(device)
        self._lower = lower
        self._showing_lower: set[Node] = set()
        self._guarded: set[Node] = set()

    def opened(self, node: Node, *, guarded: bool, cached: bool) -> int:
        """Note one more handle of *node*; the id of the file for the kernel, or 0: ask us.

        *guarded* is one for writing by a caller whose writes clear setuid. *cached* lower files the
        kernel has in its own cache, where it reads them as fast and follows a copy-up.
        A file with setuid or setgid bits is written by us, for its bits go with a write by some
        callers and stay with others.
        """
        if guarded:
            self._guarded.add(node)
        if node.opens == 1 and not node.backing and not node.metacopy:
            if node.upper and not node.mode & SETID:
                node.backing = self._files.give(node.fd)
            elif self._lower and not node.upper and not cached:
                node.backing = self._files.give(node.fd)
                if node.backing:
                    self._showing_lower.add(node)
        if node.backing and node.upper:
            node.attr = None
        return node.backing

    def closed(self, node: Node) -> None:
        """The last handle of *node* is gone."""
        self._guarded.discard(node)
        self._showing_lower.discard(node)
        if node.backing:
            self._files.take_back(node.backing)
            node.backing = 0
            if node.upper:
                node.attr = None

    def clears_setuid(self, node: Node) -> bool:
        """Whether a write that we are asked for may be by a caller whose writes clear setuid."""
        return node in self._guarded

    def shows_lower(self, node: Node) -> bool:
        """Whether the kernel reads a lower file by itself, which keeps *node* from being written."""
        return node in self._showing_lower

    def part(self, node: Node, tree: Tree) -> None:
        """Give such a node another number, under which it can be written; the handles keep the old."""
        number = node.nid
        tree.part(node)
        self._showing_lower.discard(node)
        self._showing_lower.add(tree.nodes[number])


class _Files:
    """The files that the kernel of one mount was given, by id."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._header = struct.pack("=II", _CAPABILITY_VERSION_3, 0)
        self._all = ctypes.create_string_buffer(24)
        if _libc.capget(self._header, self._all) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        effective, *rest = struct.unpack("=6I", self._all.raw)
        self._less = ctypes.create_string_buffer(
            struct.pack("=6I", effective & ~_CAP_FSETID, *rest), 24
        )

    def give(self, fd: int) -> int:
        """Give the file behind *fd* to the kernel; its id, or 0 when that file cannot be given."""
        # A mutable buffer: with bytes, ioctl() returns these and not the id.
        request = bytearray(_BACKING_MAP.pack(fd, 0, 0))
        with self._unprivileged():
            try:
                return int(fcntl.ioctl(self._device, _BACKING_OPEN, request))
            except OSError:
                return 0

    def take_back(self, backing: int) -> None:
        """The kernel needs it no more."""
        fcntl.ioctl(self._device, _BACKING_CLOSE, _BACKING_ID.pack(backing))

    @contextlib.contextmanager
    def _unprivileged(self) -> Iterator[None]:
        """The kernel writes with the rights of this moment: without CAP_FSETID, so that a write
        clears setuid and setgid on disk whoever does it."""
        _libc.capset(self._header, self._less)
        try:
            yield
        finally:
            _libc.capset(self._header, self._all)
