"""The pyfuse3 adapter: decode a request, ask the union, encode the answer.

No exception but FUSEError may leave a handler, for any other would take the whole mount down:
``guarded`` turns OSError into its errno and everything unexpected into EIO and one log line.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext, SetattrFields

from .copyup import write_all
from .foresight import Foresight
from .formats import NAME_MAX
from .ids import IdMap
from .pagecache import PageCache
from .passthrough import Passthrough
from .replies import (
    CACHE_SYMLINKS,
    FOPEN_CACHE_DIR,
    FOPEN_KEEP_CACHE,
    FOPEN_PASSTHROUGH,
    HANDLE_KILLPRIV_V2,
    PASSTHROUGH,
    Replies,
    init_change,
    keeps_symlinks,
    open_change,
)
from .tree import Dir, Node, Tree, path_of
from .union import Changes, Union, without_setuid

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

THREAD_COPY_BYTES = 4 << 20
"""A copy-up of more than this goes to a thread, so that other requests go on meanwhile."""
MAX_READ = 1 << 20
"""What the kernel asks for at most in one request (FUSE_MAX_MAX_PAGES)."""
_SMALL_READ = 16 << 10
_BATCH = 64
"""So many names of a listing are looked up in one go."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
_KEEP_LISTING = open_change(FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR)


def guarded(handler: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Let only FUSEError out of a request handler."""

    @functools.wraps(handler)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except FUSEError:
            raise
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None
        except Exception:
            log.exception("%s%r failed", handler.__name__, args[1:])
            raise FUSEError(errno.EIO) from None

    return wrapper


class Operations(pyfuse3.Operations):
    """Request handlers. A file's handle is its inode number; a directory's is a listing.

    With *ahead* the kernel may be given what it has not asked for, by others than the handlers.
    """

    supports_dot_lookup = False

    def __init__(
        self,
        union: Union,
        *,
        timeout: float,
        writeback: bool,
        acls: bool,
        sync: bool,
        ids: tuple[IdMap, IdMap],
        replies: Replies,
        ahead: bool = True,
    ) -> None:
        super().__init__()
        self._replies = replies
        self._ahead = ahead
        self._passed: Passthrough | None = None
        self.enable_writeback_cache = writeback
        self.enable_acl = acls
        self._union = union
        self._tree: Tree = union.tree
        self._pages = PageCache(union.tree, pyfuse3.notify_store)
        self.foresight = Foresight(union.tree, self._pages.expected, active=ahead)
        self._nodes = union.tree.nodes
        self._sync = sync
        self._uids, self._gids = ids
        self._listings: dict[int, tuple[Dir, list[bytes]]] = {}
        self._next_listing = 1
        self._copying: dict[Node, trio.Lock] = {}
        self._told: dict[Node, int] = {}
        """mtime (ns) that the kernel has for a file it writes back, until it sets another."""
        self._buffer = memoryview(bytearray(MAX_READ))
        self._absent = EntryAttributes()
        self._absent.st_ino = 0
        self._absent.entry_timeout = timeout

    def pass_through(self, device: int, *, lower: bool) -> None:
        """Let the kernel read and write files of the mount on *device* by itself, *lower* ones too."""
        self._passed = Passthrough(device, lower=lower)
        self.enable_writeback_cache = False

    def init(self) -> None:
        """The answer to INIT comes next."""
        # A symbolic link is what it is as long as its inode lives.
        flags = CACHE_SYMLINKS if self._ahead and keeps_symlinks() else 0
        if self._passed is not None:
            flags |= PASSTHROUGH | HANDLE_KILLPRIV_V2
        if flags:
            depth = 1 if self._passed is not None else 0
            self._replies.amend(init_change(flags, stack_depth=depth))

    # --- names ---

    def _entry(self, node: Node) -> EntryAttributes:
        return cast(EntryAttributes, node.attr or self._tree.refresh(node))

    def _given(self, node: Node) -> EntryAttributes:
        """The answer that hands *node* to the kernel, which counts it."""
        entry = cast(EntryAttributes, node.attr or self._tree.refresh(node))
        node.lookups += 1
        return entry

    @guarded
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._union.dir(parent_inode)
        if name == b".":
            return self._given(parent)
        if name == b"..":
            return self._given(parent.parent or parent)
        node = self._tree.lookup(parent, name)
        if node is not None:
            return self._given(node)
        if len(name) > NAME_MAX:
            raise FUSEError(errno.ENAMETOOLONG)
        return self._absent

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for nid, count in inode_list:
            try:
                self._tree.forget(nid, count)
            except Exception:
                log.exception("forget(%d) failed", nid)

    @guarded
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._union.dir(parent_inode)
        return self._given(self._union.mknod(parent, name, mode, rdev, self._caller(ctx)))

    @guarded
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._union.dir(parent_inode)
        return self._given(self._union.mkdir(parent, name, mode, self._caller(ctx)))

    @guarded
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._union.dir(parent_inode)
        return self._given(self._union.symlink(parent, name, target, self._caller(ctx)))

    @guarded
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        parent = self._union.dir(parent_inode)
        node = self._union.create(parent, name, mode, self._caller(ctx))
        return self._opened(node, flags, ctx), self._given(node)

    @guarded
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        node = self._tree.get(inode)
        await self._bring_up_large(node)
        return self._given(self._union.link(node, self._union.dir(new_parent_inode), new_name))

    @guarded
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._union.unlink(self._union.dir(parent_inode), name)

    @guarded
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._union.rmdir(self._union.dir(parent_inode), name)

    @guarded
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        old_parent = self._union.dir(parent_inode_old)
        new_parent = self._union.dir(parent_inode_new)
        node = self._tree.lookup(old_parent, name_old)
        if node is not None:
            await self._bring_up_large(node)
        self._union.rename(old_parent, name_old, new_parent, name_new, flags)

    # --- attributes ---

    @guarded
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._entry(self._tree.get(inode))

    @guarded
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        node = self._tree.get(inode)
        changes = Changes(
            mode=attr.st_mode if fields.update_mode else None,
            uid=self._uids.store(attr.st_uid) if fields.update_uid else None,
            gid=self._gids.store(attr.st_gid) if fields.update_gid else None,
            size=attr.st_size if fields.update_size else None,
            atime_ns=attr.st_atime_ns if fields.update_atime else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        )
        if changes.mtime_ns is not None:
            self._told.pop(node, None)
        if changes.size is not None and self._passed is not None:
            self._part_from_lower(node, self._passed)
            if changes.mode is None and ctx.uid:
                bits = without_setuid(self._tree.stat(node).st_mode)
                changes = dataclasses.replace(changes, mode=bits)
        await self._bring_up_large(node, changes.size)
        self._union.setattr(node, changes)
        return self._entry(node)

    @guarded
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self._union.readlink(self._tree.get(inode))

    @guarded
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        found = self._union.statvfs()
        data = pyfuse3.StatvfsData()
        data.f_bsize = found.f_bsize
        data.f_frsize = found.f_frsize
        data.f_blocks = found.f_blocks
        data.f_bfree = found.f_bfree
        data.f_bavail = found.f_bavail
        data.f_files = found.f_files
        data.f_ffree = found.f_ffree
        data.f_favail = found.f_favail
        data.f_namemax = found.f_namemax
        return data

    # --- xattrs ---

    @guarded
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        node = self._tree.get(inode)
        # Asked before each write(2) for security.capability, and hardly ever there.
        if node.xattrs is not None and not node.xattrs:
            raise FUSEError(errno.ENODATA)
        return self._union.getxattr(node, name)

    @guarded
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        names = self._union.listxattr(self._tree.get(inode))
        if ctx.uid:
            # xattr(7): trusted.* is listed only for those who may read it.
            names = [name for name in names if not name.startswith(b"trusted.")]
        return names

    @guarded
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        node = self._tree.get(inode)
        await self._bring_up_large(node)
        self._union.setxattr(node, name, value)

    @guarded
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        node = self._tree.get(inode)
        await self._bring_up_large(node)
        self._union.removexattr(node, name)

    # --- files ---

    @guarded
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        node = self._tree.get(inode)
        if flags & _WRITING:
            if self._passed is not None:
                self._part_from_lower(node, self._passed)
            if not flags & os.O_TRUNC:
                await self._bring_up_large(node)
        self._union.open(node, flags, privileged=ctx.uid == 0)
        try:
            return self._opened(node, flags, ctx)
        except OSError:
            self._closed(node)
            raise

    def _opened(self, node: Node, flags: int, ctx: RequestContext) -> FileInfo:
        """Answer that *node* is open, for the kernel to read and write by itself where it can."""
        passed = self._passed
        if passed is None:
            self._opened_lower(node)
            return FileInfo(fh=node.nid, keep_cache=True)
        cached = not node.upper and self._ahead and self._pages.takes(node)
        guarded = bool(flags & _WRITING and ctx.uid)
        backing = passed.opened(node, guarded=guarded, cached=cached)
        if not backing:
            self._opened_lower(node)
            # What the kernel cached of an upper file is old if it wrote past us since.
            return FileInfo(fh=node.nid, keep_cache=not node.upper)
        if node.upper and flags & os.O_ACCMODE == os.O_RDWR:
            self._expect_mapping(node)
        self._replies.amend(open_change(FOPEN_PASSTHROUGH, backing))
        return FileInfo(fh=node.nid)

    def _opened_lower(self, node: Node) -> None:
        """The kernel will ask for what it reads of a lower file, unless it is given it now."""
        if not node.upper and self._ahead:
            self._pages.opening(node)
            self.foresight.reading(node)

    def _expect_mapping(self, node: Node) -> None:
        """A write through a mapping changes attributes without a word to anybody."""
        if not node.mapped:
            node.mapped = True
            if node.lookups:
                pyfuse3.invalidate_inode(node.nid, attr_only=True)

    def _part_from_lower(self, node: Node, passed: Passthrough) -> None:
        """Let a lower file that the kernel reads by itself be changed, under a new number.

        The kernel cannot read one inode from two files. ESTALE makes it look the name up again.
        """
        if passed.shows_lower(node):
            if node.parent is not None:
                passed.part(node, self._tree)
            raise FUSEError(errno.ESTALE)

    @guarded
    async def read(self, fh: int, off: int, size: int) -> bytes:
        node = self._nodes[fh]
        if size <= _SMALL_READ:
            return os.pread(node.fd, size, off)
        if not node.upper and self._ahead and self._replies.holds(size):
            # What is lower has the size it had, and a reply must tell its length first.
            size = min(size, self._tree.size(node) - off)
            if size > 0:
                self._replies.answer_read(node.fd, off, size)
            return b""
        # One buffer for all: pyfuse3 sends it before anybody else runs, and it stays in the cache.
        view = self._buffer[:size]
        return cast(bytes, view[: os.preadv(node.fd, (view,), off)])

    @guarded
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        node = self._nodes[fh]
        if self._passed is not None and self._passed.clears_setuid(node):
            self._union.drop_setuid(node)
        if node.attr is not None:
            if self.enable_writeback_cache and node not in self._told:
                self._told[node] = cast(EntryAttributes, node.attr).st_mtime_ns
            node.attr = None
        done = os.pwrite(node.fd, buf, off)
        if done < len(buf):
            done += write_all(node.fd, buf[done:], off + done)
        return done

    async def flush(self, fh: int) -> None:
        # Written data is in the upper already. The kernel remembers ENOSYS and never asks again.
        raise FUSEError(errno.ENOSYS)

    @guarded
    async def release(self, fh: int) -> None:
        self._closed(self._nodes[fh])

    def _closed(self, node: Node) -> None:
        """One handle of *node* is gone, or never came to be."""
        if node.opens == 1:
            if self._passed is None:
                self._settle_mtime(node)
            else:
                self._passed.closed(node)
        self._union.release(node)

    def _settle_mtime(self, node: Node) -> None:
        """With write-back the kernel's mtime counts, and our pwrite(2) has moved the file's.

        It sends its own when that changed; a write within the tick of its clock in which the file
        was made changes nothing, and then the file must say what the kernel says.
        """
        told = self._told.pop(node, None)
        if told is not None and node.writable:
            os.utime(node.fd, ns=(os.fstat(node.fd).st_atime_ns, told))
            node.attr = None

    @guarded
    async def fsync(self, fh: int, datasync: bool) -> None:
        if self._sync:
            call = os.fdatasync if datasync else os.fsync
            await trio.to_thread.run_sync(call, self._nodes[fh].fd)

    # --- directories ---

    @guarded
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        node = self._union.dir(inode)
        fh = self._next_listing
        self._next_listing += 1
        # Not left to the first readdir: the kernel may answer the beginning from its own cache, lose
        # that cache, and ask us for the rest.
        names = self._names(node)
        self._listings[fh] = (node, names)
        self.foresight.opened(node, names, 2)
        if not node.changed:
            # It finds its place in a cached listing by our place numbers, whoever had them: they
            # must mean the same in every listing.
            self._replies.amend(_KEEP_LISTING)
        return fh

    @guarded
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        node, names = self._listings[fh]
        if not start_id:
            # A listing stays what it was when it began; rewinddir(3) begins it anew.
            names = self._names(node)
            self._listings[fh] = (node, names)
        reply, tree, children = pyfuse3.readdir_reply, self._tree, self._tree.children(node)
        for place in range(start_id, len(names)):
            name = names[place]
            if not place % _BATCH:
                tree.fetch(node, names[place : place + _BATCH])
            if place > 1:
                child = children.get(name)
                try:
                    if not isinstance(child, Node):
                        child = None if child is None else tree.lookup(node, name)
                        if child is None:
                            continue
                    entry = child.attr or tree.refresh(child)
                except OSError:
                    continue  # a stale entry must not hide its neighbours; stat(2) tells its error
                if not reply(token, name, cast(EntryAttributes, entry), place + 1):
                    self.foresight.listed(node, names, place)
                    return
                child.lookups += 1
            elif not reply(token, name, self._entry((node, node.parent or node)[place]), place + 1):
                return
        self.foresight.listed(node, names, len(names))

    def _names(self, node: Dir) -> list[bytes]:
        return [b".", b"..", *self._tree.children(node)]

    @guarded
    async def releasedir(self, fh: int) -> None:
        self._listings.pop(fh, None)

    @guarded
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        node, _ = self._listings[fh]
        removed = node.parent is None and node is not self._tree.root
        if self._sync and node.upper and not removed:
            await trio.to_thread.run_sync(os.fsync, self._tree.upper_dir_fd(node))

    # --- helpers ---

    def _caller(self, ctx: RequestContext) -> RequestContext | MappedCaller:
        if self._uids.identity and self._gids.identity:
            return ctx
        return MappedCaller(self._uids.store(ctx.uid), self._gids.store(ctx.gid), ctx.umask)

    async def _bring_up_large(self, node: Node, size: int | None = None) -> None:
        """Copy a large lower file up in a thread before the change that needs it.

        One copy at a time for a node; whoever waits finds the work done.
        """
        promoter = self._union.promoter
        if promoter is None or (node.upper and not node.metacopy) or not stat.S_ISREG(node.mode):
            return
        bytes_needed = self._tree.size(node) if size is None else size
        if bytes_needed <= THREAD_COPY_BYTES:
            return
        lock = self._copying.setdefault(node, trio.Lock())
        async with lock:
            if node.upper and not node.metacopy:
                return
            transfer = promoter.begin(node, size)
            try:
                await trio.to_thread.run_sync(functools.partial(transfer.run, sync=self._sync))
            except BaseException:
                promoter.abandon(transfer)
                raise
            finally:
                self._copying.pop(node, None)
            promoter.finish(transfer)
            log.debug("copied up %r, %d bytes", path_of(node), transfer.size)


class MappedCaller:
    """A caller with its ids as they are on disk."""

    __slots__ = ("gid", "uid", "umask")

    def __init__(self, uid: int, gid: int, umask: int) -> None:
        self.uid = uid
        self.gid = gid
        self.umask = umask
