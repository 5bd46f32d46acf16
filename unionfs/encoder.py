"""What the kernel gets for a node: pyfuse3's attributes, made from a stat result."""

from __future__ import annotations

import os

import pyfuse3
from pyfuse3 import EntryAttributes

from .ids import IdMap
from .passthrough import SETID
from .tree import Dir, Node

_BLOCK = 4096


class Encoder:
    """Builds what the kernel gets for a node, once; it is kept on the node until it is stale."""

    def __init__(self, *, timeout: float, static_nlink: bool, uids: IdMap, gids: IdMap) -> None:
        self._timeout = timeout
        self._static_nlink = static_nlink
        self._uids = uids
        self._gids = gids
        self._mapped = not (uids.identity and gids.identity)

    def __call__(self, node: Node, st: os.stat_result) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = node.nid
        entry.st_mode = st.st_mode
        entry.st_nlink = self._links(node, st)
        entry.st_size = st.st_size
        entry.st_blocks = st.st_blocks
        entry.st_blksize = _BLOCK
        entry.st_rdev = st.st_rdev
        entry.st_atime_ns = st.st_atime_ns
        entry.st_mtime_ns = st.st_mtime_ns
        entry.st_ctime_ns = st.st_ctime_ns
        if self._mapped:
            entry.st_uid = self._uids.show(st.st_uid)
            entry.st_gid = self._gids.show(st.st_gid)
        else:
            entry.st_uid = st.st_uid
            entry.st_gid = st.st_gid
        # Nothing but this mount changes what it shows, so the kernel may trust it for good. What it
        # writes by itself it also notes, except through a mapping and where setuid goes with it.
        entry.entry_timeout = self._timeout
        fleeting = node.mapped or (node.backing and st.st_mode & SETID)
        entry.attr_timeout = 0 if fleeting else self._timeout
        return entry

    def _links(self, node: Node, st: os.stat_result) -> int:
        if node.parent is None and node.nid != pyfuse3.ROOT_INODE:
            return 0
        # A merged directory's real links cannot be counted without reading every layer; 1 is what
        # kernel overlayfs says, and find(1) takes it for "unknown".
        if isinstance(node, Dir) and (self._static_nlink or node.merged):
            return 1
        return st.st_nlink
