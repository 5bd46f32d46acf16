"""Small lower files that the kernel is given before it asks for them (FUSE_NOTIFY_STORE).

That spares the request for the data, and often one for the attributes: the kernel forgets the
access time of what it had to ask for.

A page that is being read is locked, and the kernel would wait for our answer while we wait for the
page. So a file is given once, before or while it is opened for the first time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import cast

from .tree import Node, Tree

STORE_BYTES = 128 << 10
"""What is larger is left to the kernel's read-ahead."""

Put = Callable[[int, int, bytes], None]
"""Put data into the kernel's cache of an inode, at an offset; may raise OSError."""


class PageCache:
    """What the kernel holds of the lower files of *tree*."""

    def __init__(self, tree: Tree, put: Put) -> None:
        self._tree = tree
        self._put = put
        self._buffer = memoryview(bytearray(STORE_BYTES))

    def takes(self, node: Node) -> bool:
        """Whether *node* is small enough."""
        return self._tree.size(node) <= STORE_BYTES

    def opening(self, node: Node) -> None:
        """The lower file *node* is open for us and about to be for the caller."""
        if node.stored:
            return
        node.stored = True
        if node.opens == 1:
            self._store(node, node.fd)

    def expected(self, node: Node) -> None:
        """The file *node* will probably be opened soon.

        Raises OSError when we cannot open it, or not without moving its access time: perhaps nobody
        will read it.
        """
        if node.stored or node.opens or node.upper or node.metacopy:
            return
        node.stored = True
        dir_fd, name, layer = self._tree.place(node)
        fd = layer.open_unnoticed(dir_fd, name)
        try:
            self._store(node, fd)
        finally:
            os.close(fd)

    def _store(self, node: Node, fd: int) -> None:
        size = self._tree.size(node)
        if not 0 < size <= STORE_BYTES:
            return
        data = self._buffer[:size]
        # For want of memory, say: then the kernel will ask.
        with contextlib.suppress(OSError):
            if os.preadv(fd, (data,), 0) == size:
                self._put(node.nid, 0, cast(bytes, data))
