"""The file system without a transport: what each call means on the merged tree.

Methods are named for their system calls, take nodes, and raise OSError. None of them blocks for
long except on a large copy-up, which a caller may do beforehand in a thread (see Promoter.begin).
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from . import acl, formats, syscalls
from .promote import Promoter, open_source
from .tree import Dir, Node, Tree, as_whiteout
from .upper import Birth, Upper, read_default_acl

_PROC_FD = b"/proc/self/fd/%d"
_PROC_NAME = b"/proc/self/fd/%d/%s"
_WRITABLE = os.O_WRONLY | os.O_RDWR
_CACHED_ACLS = (acl.ACCESS, acl.DEFAULT)


class Caller(Protocol):
    """Who asks: ids and umask of the process."""

    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def umask(self) -> int: ...


class DirRename(Enum):
    """What rename(2) of a merged or lower directory does."""

    REDIRECT = "redirect"
    """Write a redirect that kernel overlayfs follows."""
    COPY = "copy"
    """Copy the subtree up and make it opaque, where the kernel would not follow a redirect."""
    REFUSE = "refuse"
    """EXDEV, as kernel overlayfs without redirect_dir; mv(1) then copies."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a setattr asks for; None leaves alone. Times in ns since the epoch."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


def _truncate_fd(fd: int, size: int, *, resized: bool) -> None:
    """Truncate as truncate(2) does: whether the times of an unchanged size move, the disk decides.

    ftruncate(2) would always move them; a copy-up that was cut short to *size* needs just that.
    """
    if resized:
        os.ftruncate(fd, size)
    else:
        os.truncate(_PROC_FD % fd, size)


def without_setuid(mode: int) -> int | None:
    """The permission bits that a write by an unprivileged caller leaves; None when all of them."""
    kept = mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        kept &= ~stat.S_ISGID
    return stat.S_IMODE(kept) if kept != mode else None


def _fail(code: int, name: bytes | None = None) -> OSError:
    return OSError(code, os.strerror(code), name)


class Union:
    """A merged tree and, when writable, its upper."""

    def __init__(
        self,
        tree: Tree,
        upper: Upper | None,
        *,
        dir_rename: DirRename,
        aufs: bool,
        acls: bool = True,
        last_fd: int,
    ) -> None:
        self.tree = tree
        self.upper = upper
        self.dir_rename = dir_rename
        self._reserve_aufs_names = aufs
        self._acls = acls
        self._last_fd = last_fd
        self._own = (os.geteuid(), os.getegid())
        self.promoter = Promoter(tree, upper) if upper is not None else None

    # --- guards ---

    def writable(self) -> tuple[Upper, Promoter]:
        """The upper and its promoter; EROFS on a read-only union."""
        if self.upper is None or self.promoter is None:
            raise _fail(errno.EROFS)
        return self.upper, self.promoter

    def dir(self, nid: int) -> Dir:
        """The directory with that number; ENOTDIR for another node."""
        node = self.tree.get(nid)
        if not isinstance(node, Dir):
            raise _fail(errno.ENOTDIR)
        return node

    def _prepare(self, parent: Dir, name: bytes) -> tuple[Upper, int]:
        """The upper and the parent's upper descriptor, to make the new child *name*."""
        upper, promoter = self.writable()
        self._check_name(name)
        if self.tree.lookup(parent, name) is not None:
            raise _fail(errno.EEXIST, name)
        return upper, promoter.directory(parent)

    def _check_name(self, name: bytes) -> None:
        if len(name) > formats.NAME_MAX:
            raise _fail(errno.ENAMETOOLONG, name)
        if self._reserve_aufs_names and name.startswith(formats.AUFS_PREFIX):
            # It would be read back as the deletion of another name.
            raise _fail(errno.EINVAL, name)

    def _leave_room(self) -> None:
        """EMFILE for one more open file while there are descriptors left for all other calls.

        The lowest free number is given out, so the table is as full as that number is high.
        """
        if self._next_fd() > self._last_fd:
            self.tree.close_idle_fds()
            if self._next_fd() > self._last_fd:
                raise _fail(errno.EMFILE)

    def _next_fd(self) -> int:
        fd = os.dup(self.tree.stack.lowers[0].root_fd)
        os.close(fd)
        return fd

    def _birth(self, parent: Dir, mode: int, caller: Caller) -> Birth:
        """How a new child of *parent* looks: owner, bits, inherited ACL.

        With a default ACL the umask does not count. A setgid parent passes its group on, and to a
        directory the bit too (inode_init_owner in the kernel).
        """
        default = self._default_acl(parent)
        bits = stat.S_IMODE(mode)
        if not default:
            bits &= ~caller.umask
        setgid = bool(parent.mode & stat.S_ISGID)
        if setgid and stat.S_ISDIR(mode):
            bits |= stat.S_ISGID
        # Not in a setgid directory: a name that is a whiteout is made in the work directory first,
        # where the kernel gives another group.
        if (caller.uid, caller.gid) == self._own and not setgid:
            return Birth(bits, default_acl=default)
        gid = self.tree.stat(parent).st_gid if setgid else caller.gid
        return Birth(bits, caller.uid, gid, default)

    def _default_acl(self, node: Dir) -> bytes:
        if not self._acls:
            return b""
        if node.default_acl is None:
            if node.xattrs is not None and acl.DEFAULT not in node.xattrs:
                node.default_acl = b""
            else:
                fd, _ = self.tree.dir_at(node, self.tree.places(node)[0])
                node.default_acl = read_default_acl(fd)
        return node.default_acl

    # --- making ---

    def create(self, parent: Dir, name: bytes, mode: int, caller: Caller) -> Node:
        """Make a regular file and open it for reading and writing."""
        upper, dir_fd = self._prepare(parent, name)
        self._leave_room()
        fd = upper.create_file(dir_fd, name, self._birth(parent, stat.S_IFREG | mode, caller))
        node = self._enter(parent, name, os.fstat(fd))
        node.fd, node.writable, node.opens = fd, True, 1
        return node

    def mknod(self, parent: Dir, name: bytes, mode: int, rdev: int, caller: Caller) -> Node:
        """Make a fifo, socket, device or empty file.

        A device 0:0 would be a whiteout: EPERM, as kernel overlayfs answers, except for the
        scratch names of a kernel overlayfs whose workdir is on this mount.
        """
        if stat.S_ISCHR(mode) and rdev == 0:
            if not (name.startswith(b"#") and parent.name == b"work"):
                raise _fail(errno.EPERM, name)
            return self._make_nested_whiteout(parent, name)
        upper, dir_fd = self._prepare(parent, name)
        upper.make_node(dir_fd, name, mode, rdev, self._birth(parent, mode, caller))
        return self._enter(parent, name, os.stat(name, dir_fd=dir_fd, follow_symlinks=False))

    def _make_nested_whiteout(self, parent: Dir, name: bytes) -> Node:
        """Make what a union on top of ours sees as its whiteout (see formats.NESTED_WHITEOUT)."""
        upper, dir_fd = self._prepare(parent, name)
        upper.make_nested_whiteout(dir_fd, name)
        st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        node = self._enter(parent, name, as_whiteout(st))
        node.disguised, node.xattrs = True, None
        return node

    def symlink(self, parent: Dir, name: bytes, target: bytes, caller: Caller) -> Node:
        """Make a symbolic link."""
        upper, dir_fd = self._prepare(parent, name)
        birth = self._birth(parent, stat.S_IFLNK | 0o777, caller)
        upper.make_symlink(dir_fd, name, target, birth)
        return self._enter(parent, name, os.stat(name, dir_fd=dir_fd, follow_symlinks=False))

    def mkdir(self, parent: Dir, name: bytes, mode: int, caller: Caller) -> Node:
        """Make a directory."""
        upper, dir_fd = self._prepare(parent, name)
        upper.make_dir(dir_fd, name, self._birth(parent, stat.S_IFDIR | mode, caller))
        st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        node = Dir(self.tree.free_number(st.st_dev, st.st_ino), st.st_mode, parent, name, True)
        node.children = {}
        return self._announce(node, parent, name, st)

    def _enter(self, parent: Dir, name: bytes, st: os.stat_result) -> Node:
        nid = self.tree.free_number(st.st_dev, st.st_ino)
        return self._announce(Node(nid, st.st_mode, parent, name, True), parent, name, st)

    def _announce(self, node: Node, parent: Dir, name: bytes, st: os.stat_result) -> Node:
        if not self._default_acl(parent):
            node.xattrs = frozenset()
        self.tree.add(node, parent, name)
        node.attr = self.tree.encode(node, st)
        parent.attr = None
        return node

    def link(self, node: Node, parent: Dir, name: bytes) -> Node:
        """Give *node* another name."""
        upper, dir_fd = self._prepare(parent, name)
        self._promote(node)
        if node.parent is None:
            raise _fail(errno.ENOENT, name)
        self._admit(node, parent, dir_fd)
        upper.link(self.tree.upper_dir_fd(node.parent), node.name, dir_fd, name)
        self.tree.add_link(node, parent, name)
        self.tree.add(node, parent, name)
        st = self.tree.stat(node)
        node.real = st.st_ino
        self.tree.links[st.st_ino] = node
        self.tree.note(node, st)
        parent.attr = None
        return node

    # --- removing ---

    def unlink(self, parent: Dir, name: bytes) -> None:
        """Remove a name; the node lives on while it is open."""
        upper, promoter = self.writable()
        node = self._existing(parent, name)
        if node.is_dir:
            raise _fail(errno.EISDIR, name)
        dir_fd = promoter.directory(parent)
        if node.upper:
            self._hold(node, dir_fd, name)
            upper.unlink(dir_fd, name, whiteout=self.tree.lower_has(parent, name))
        else:
            upper.whiteouts.create(dir_fd, name)
        self._removed(node, parent, name)

    def rmdir(self, parent: Dir, name: bytes) -> None:
        """Remove a directory that shows nothing, whatever whiteouts it holds."""
        upper, promoter = self.writable()
        node = self._existing(parent, name)
        if not isinstance(node, Dir):
            raise _fail(errno.ENOTDIR, name)
        if self._shows_something(node):
            raise _fail(errno.ENOTEMPTY, name)
        dir_fd = promoter.directory(parent)
        if node.upper:
            self._hold(node, dir_fd, name)
            upper.rmdir(dir_fd, name, whiteout=self.tree.lower_has(parent, name))
        else:
            upper.whiteouts.create(dir_fd, name)
        self._buried(node, parent, name)

    def _existing(self, parent: Dir, name: bytes) -> Node:
        node = self.tree.lookup(parent, name)
        if node is None:
            raise _fail(errno.ENOENT, name)
        return node

    def _shows_something(self, node: Dir) -> bool:
        """Whether the directory has an entry; looks at each once, for xattr whiteouts are found late."""
        return any(self.tree.lookup(node, name) for name in list(self.tree.children(node)))

    def _hold(self, node: Node, dir_fd: int, name: bytes) -> None:
        """Keep an upper object that loses its last name alive by descriptor, until forgotten."""
        if node.fd < 0 and not node.links:
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            node.fd = os.open(name, flags, dir_fd=dir_fd)

    def _removed(self, node: Node, parent: Dir, name: bytes) -> None:
        self.tree.remove(node, parent, name)
        node.attr = None
        parent.attr = None
        self.tree.drop_unused(node)

    def _buried(self, node: Dir, parent: Dir, name: bytes) -> None:
        """A directory is gone: nothing can be looked up or made in it any more."""
        node.children = {}
        node.parts = node.parts[:1]
        self.tree.forget_fds(node)
        self._removed(node, parent, name)

    # --- rename ---

    def rename(
        self, old_parent: Dir, old: bytes, new_parent: Dir, new: bytes, flags: int = 0
    ) -> None:
        """renameat2(2), all of its flags.

        RENAME_WHITEOUT leaves a whiteout of the union on top of ours: a second step, between which
        and the first a crash leaves the old name merely absent.
        """
        self.writable()
        exchange, whiteout = flags & syscalls.RENAME_EXCHANGE, flags & syscalls.RENAME_WHITEOUT
        known = syscalls.RENAME_NOREPLACE | syscalls.RENAME_EXCHANGE | syscalls.RENAME_WHITEOUT
        if flags & ~known or (exchange and flags != exchange):
            raise _fail(errno.EINVAL)
        node = self._existing(old_parent, old)
        target = self.tree.lookup(new_parent, new)
        self._check_name(new)
        if flags & syscalls.RENAME_EXCHANGE:
            if target is None:
                raise _fail(errno.ENOENT, new)
            self._exchange(node, old_parent, old, target, new_parent, new)
        elif target is not None and flags & syscalls.RENAME_NOREPLACE:
            raise _fail(errno.EEXIST, new)
        elif target is not node:
            self._move(node, old_parent, old, target, new_parent, new)
            if whiteout:
                self._make_nested_whiteout(old_parent, old)

    def _move(
        self,
        node: Node,
        old_parent: Dir,
        old: bytes,
        target: Node | None,
        new_parent: Dir,
        new: bytes,
    ) -> None:
        upper, promoter = self.writable()
        if isinstance(node, Dir) and node.parts and self.dir_rename is DirRename.REFUSE:
            raise _fail(errno.EXDEV)
        self._check_types(node, target, new)
        self._bring_up(node, old_parent, new_parent, new)
        new_fd = promoter.directory(new_parent)
        old_fd = self.tree.upper_dir_fd(old_parent)
        whiteout = self.tree.lower_has(old_parent, old)
        self._admit(node, new_parent, new_fd)
        if target is not None and target.upper:
            self._hold(target, new_fd, new)
        if isinstance(node, Dir):
            self._move_dir(old_fd, old, target, new_fd, new, whiteout=whiteout)
        else:
            upper.move(old_fd, old, new_fd, new, whiteout=whiteout)
        if isinstance(target, Dir):
            self._buried(target, new_parent, new)
        elif target is not None:
            self._removed(target, new_parent, new)
        self._relocate(node, old_parent, old, new_parent, new)

    def _move_dir(
        self,
        old_fd: int,
        old: bytes,
        target: Node | None,
        new_fd: int,
        new: bytes,
        *,
        whiteout: bool,
    ) -> None:
        upper = self.upper
        assert upper is not None
        if target is not None and target.upper:
            try:
                upper.move(old_fd, old, new_fd, new, whiteout=whiteout)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                upper.clear_dir(new_fd, new)
                upper.move(old_fd, old, new_fd, new, whiteout=whiteout)
            return
        try:
            upper.move(old_fd, old, new_fd, new, whiteout=whiteout)
        except NotADirectoryError:
            upper.move_dir_over_whiteout(old_fd, old, new_fd, new, whiteout=whiteout)

    def _check_types(self, node: Node, target: Node | None, new: bytes) -> None:
        if target is None:
            return
        if isinstance(target, Dir):
            if not node.is_dir:
                raise _fail(errno.EISDIR, new)
            if self._shows_something(target):
                raise _fail(errno.ENOTEMPTY, new)
        elif node.is_dir:
            raise _fail(errno.ENOTDIR, new)

    def _bring_up(self, node: Node, parent: Dir, new_parent: Dir, new: bytes) -> None:
        """Make *node* an upper object that may stand at its new name.

        A directory with lower parts takes them along by a redirect; a pure one must be opaque
        where the lower has a directory of the new name.
        """
        _, promoter = self.writable()
        if not isinstance(node, Dir):
            self._promote(node)
            return
        if node.parts:
            self._bring_up_merged(node, parent, new_parent)
        elif self.tree.lower_has(new_parent, new):
            self._make_opaque(node)
        promoter.directory(parent)

    def _bring_up_merged(self, node: Dir, parent: Dir, new_parent: Dir) -> None:
        upper, promoter = self.writable()
        if self.dir_rename is DirRename.REFUSE:
            raise _fail(errno.EXDEV)
        redirect = self._redirect(node, parent, new_parent)
        if self.dir_rename is DirRename.COPY or len(redirect) > formats.REDIRECT_MAX:
            promoter.subtree(node)
            return
        promoter.directory(node)
        upper.set_mark(self.tree.upper_dir_fd(parent), node.name, b"redirect", redirect)
        node.xattrs = None

    def _redirect(self, node: Dir, parent: Dir, new_parent: Dir) -> bytes:
        """Where the lower part of *node* is: a plain name if its parent is the same, else a path."""
        part = node.parts[0]
        base, _, last = part.path.rpartition(b"/")
        if parent is new_parent and any(
            own.layer is part.layer and own.path == base for own in parent.parts
        ):
            return last
        return b"/" + part.path

    def _admit(self, node: Node, parent: Dir, parent_fd: int) -> None:
        """Prepare *parent* for *node*: with a copied-up child the kernel must fix its d_ino."""
        upper, promoter = self.writable()
        if not parent.impure and upper.family + b"origin" in self._xattr_names(node):
            promoter.mark_impure(parent, parent_fd)

    def _make_opaque(self, node: Dir) -> None:
        upper = self.upper
        assert upper is not None and node.parent is not None
        upper.set_opaque(self.tree.upper_dir_fd(node.parent), node.name)
        node.xattrs = None

    def _exchange(
        self,
        one: Node,
        one_parent: Dir,
        one_name: bytes,
        two: Node,
        two_parent: Dir,
        two_name: bytes,
    ) -> None:
        upper, promoter = self.writable()
        if one is two:
            return
        self._bring_up(one, one_parent, two_parent, two_name)
        self._bring_up(two, two_parent, one_parent, one_name)
        one_fd = promoter.directory(one_parent)
        two_fd = promoter.directory(two_parent)
        self._admit(one, two_parent, two_fd)
        self._admit(two, one_parent, one_fd)
        upper.rename(one_fd, one_name, two_fd, two_name, syscalls.RENAME_EXCHANGE)
        self._replace_name(one, one_parent, one_name, two_parent, two_name)
        self._replace_name(two, two_parent, two_name, one_parent, one_name)
        self.tree.children(two_parent)[two_name] = one
        self.tree.children(one_parent)[one_name] = two
        for node in (one, two, one_parent, two_parent):
            node.attr = None

    def _relocate(
        self, node: Node, old_parent: Dir, old: bytes, new_parent: Dir, new: bytes
    ) -> None:
        children = self.tree.children(old_parent)
        if children.get(old) is node:
            del children[old]
        self._replace_name(node, old_parent, old, new_parent, new)
        self.tree.children(new_parent)[new] = node
        old_parent.changed = new_parent.changed = True
        for changed in (node, old_parent, new_parent):
            changed.attr = None

    def _replace_name(
        self, node: Node, old_parent: Dir, old: bytes, new_parent: Dir, new: bytes
    ) -> None:
        if node.parent is old_parent and node.name == old:
            node.parent, node.name = new_parent, new
        elif node.links:
            node.links.discard((old_parent, old))
            node.links.add((new_parent, new))

    # --- attributes ---

    def _promote(self, node: Node, size: int | None = None) -> bool:
        """Bring *node* up; answers whether its copy was cut short to *size*."""
        _, promoter = self.writable()
        if node.upper and not node.metacopy:
            return False
        if isinstance(node, Dir):
            promoter.directory(node)
            return False
        return promoter.file(node, size)

    def _sets_same_times(self, node: Node, changes: Changes) -> bool:
        """Whether only times are set, to what they are.

        With write-back the kernel sends the mtime of an inode whenever its ctime has moved, as when
        one of its names is removed: no reason to copy a lower file up.
        """
        atime_ns, mtime_ns = changes.atime_ns, changes.mtime_ns
        if changes != Changes(atime_ns=atime_ns, mtime_ns=mtime_ns):
            return False
        st = self.tree.stat(node)
        return atime_ns in (None, st.st_atime_ns) and mtime_ns in (None, st.st_mtime_ns)

    def setattr(self, node: Node, changes: Changes) -> None:
        """chmod, chown, truncate and utimensat in one; the owner first, for it clears setuid."""
        if not node.upper and self._sets_same_times(node, changes):
            return
        resized = changes.size is not None and changes.size != self.tree.stat(node).st_size
        cut = self._promote(node, changes.size)
        owned = changes.uid is not None or changes.gid is not None
        if owned:
            self._chown(node, changes.uid, changes.gid)
        if changes.size is not None and not cut:
            self._truncate(node, changes.size, resized=resized)
        if changes.mode is not None:
            bits = stat.S_IMODE(changes.mode)
            # A chown that comes with a mode clears setuid, which the disk has done by now.
            if not owned or stat.S_IMODE(self.tree.stat(node).st_mode) != bits:
                self._chmod(node, bits)
        if changes.atime_ns is not None or changes.mtime_ns is not None:
            try:
                self._utime(node, changes.atime_ns, changes.mtime_ns)
            except OSError:
                # What is truncated is truncated, at about that time: an error would be a lie.
                if changes.size is None:
                    raise
        self.tree.refresh(node)

    def _at(self, node: Node) -> tuple[bytes, int | None, bool]:
        """(path, dir_fd, follow) by which os functions reach the upper object behind *node*."""
        if node.parent is None:
            if node.fd >= 0:
                return _PROC_FD % node.fd, None, True
            if isinstance(node, Dir) and node is self.tree.root:
                return b".", self.tree.dir_at(node, self.tree.places(node)[0])[0], True
        fd, name, _ = self.tree.place(node)
        return name, fd, False

    def _chown(self, node: Node, uid: int | None, gid: int | None) -> None:
        path, dir_fd, follow = self._at(node)
        os.chown(
            path,
            -1 if uid is None else uid,
            -1 if gid is None else gid,
            dir_fd=dir_fd,
            follow_symlinks=follow,
        )

    def _chmod(self, node: Node, bits: int) -> None:
        if stat.S_ISLNK(node.mode):
            raise _fail(errno.EOPNOTSUPP)
        path, dir_fd, _ = self._at(node)
        os.chmod(path, bits, dir_fd=dir_fd)

    def _truncate(self, node: Node, size: int, *, resized: bool) -> None:
        if node.fd >= 0 and node.writable:
            _truncate_fd(node.fd, size, resized=resized)
            return
        fd = self._open_upper(node, os.O_WRONLY)
        try:
            _truncate_fd(fd, size, resized=resized)
        finally:
            os.close(fd)

    def _utime(self, node: Node, atime_ns: int | None, mtime_ns: int | None) -> None:
        if atime_ns is None or mtime_ns is None:
            now = self.tree.stat(node)
            atime_ns = now.st_atime_ns if atime_ns is None else atime_ns
            mtime_ns = now.st_mtime_ns if mtime_ns is None else mtime_ns
        path, dir_fd, follow = self._at(node)
        os.utime(path, ns=(atime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=follow)

    def readlink(self, node: Node) -> bytes:
        """The target of a symlink."""
        if node.parent is None and node.fd >= 0:
            return os.readlink(b"", dir_fd=node.fd)
        fd, name, _ = self.tree.place(node)
        return os.readlink(name, dir_fd=fd)

    def statvfs(self) -> os.statvfs_result:
        """Space of the upper file system, or of the top lower when read-only."""
        stack = self.tree.stack
        return os.fstatvfs((stack.upper or stack.lowers[0]).root_fd)

    # --- xattrs ---

    def _xattr_path(self, node: Node) -> tuple[bytes, bool]:
        path, dir_fd, follow = self._at(node)
        return (path if dir_fd is None else _PROC_NAME % (dir_fd, path)), follow

    def getxattr(self, node: Node, name: bytes) -> bytes:
        """The value of a user's xattr; ENODATA when there is none."""
        raw = formats.escape(name)
        if node.xattrs is not None and raw not in node.xattrs:
            raise _fail(errno.ENODATA)
        if formats.unescape(raw) is None or (not self._acls and raw in _CACHED_ACLS):
            raise _fail(errno.ENODATA)
        if node.xattrs is None and raw not in self._xattr_names(node):
            raise _fail(errno.ENODATA)
        path, follow = self._xattr_path(node)
        return os.getxattr(path, raw, follow_symlinks=follow)

    def _xattr_names(self, node: Node) -> frozenset[bytes]:
        """Raw names, asked once and then remembered: the kernel asks for the same few all the time."""
        if node.xattrs is None:
            path, follow = self._xattr_path(node)
            try:
                found = os.listxattr(path, follow_symlinks=follow)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                found = []
            node.xattrs = frozenset(os.fsencode(item) for item in found)
        return node.xattrs

    def listxattr(self, node: Node) -> list[bytes]:
        """The xattr names a user sees."""
        shown = (formats.unescape(raw) for raw in sorted(self._xattr_names(node)))
        return [name for name in shown if name is not None]

    def setxattr(self, node: Node, name: bytes, value: bytes) -> None:
        """Set a user's xattr."""
        self._check_xattr(name)
        self._promote(node)
        path, follow = self._xattr_path(node)
        os.setxattr(path, formats.escape(name), value, follow_symlinks=follow)
        self._xattrs_changed(node, name)

    def removexattr(self, node: Node, name: bytes) -> None:
        """Remove a user's xattr; ENODATA, and no copy-up, when there is none."""
        self._check_xattr(name)
        self.writable()
        if formats.escape(name) not in self._xattr_names(node):
            raise _fail(errno.ENODATA)
        self._promote(node)
        path, follow = self._xattr_path(node)
        os.removexattr(path, formats.escape(name), follow_symlinks=follow)
        self._xattrs_changed(node, name)

    def _check_xattr(self, name: bytes) -> None:
        if formats.unescape(formats.escape(name)) is None:
            raise _fail(errno.EPERM, name)
        if not self._acls and name in _CACHED_ACLS:
            raise _fail(errno.EOPNOTSUPP, name)

    def _xattrs_changed(self, node: Node, name: bytes) -> None:
        node.xattrs = None
        node.attr = None  # an access ACL changes the mode, and ctime moves
        if isinstance(node, Dir) and name == acl.DEFAULT:
            node.default_acl = None

    # --- file content ---

    def open(self, node: Node, flags: int, *, privileged: bool = True) -> None:
        """Open *node* once more: its shared descriptor then serves what *flags* asks for.

        O_TRUNC of a caller who is not *privileged* clears setuid and setgid, as write(2) does.

        All handles of a node read through one descriptor, so that they see a copy-up at once.
        """
        if node.is_dir:
            raise _fail(errno.EISDIR)
        if not node.opens:
            self._leave_room()
        # Counted beforehand: then a copy-up leaves its descriptor open, and after a copy-up that
        # was cut short by O_TRUNC no further open(2) can fail.
        node.opens += 1
        try:
            cut = self._open_for(node, flags)
            if flags & os.O_TRUNC:
                if not cut:
                    os.ftruncate(node.fd, 0)
                node.attr = None
                if not privileged:
                    self.drop_setuid(node)
        except OSError:
            self.release(node)
            raise

    def _open_for(self, node: Node, flags: int) -> bool:
        """Make the node's descriptor do what *flags* ask for; answers whether it was truncated too."""
        wants_write = bool(flags & (_WRITABLE | os.O_TRUNC))
        lower = not node.upper or node.metacopy
        cut = wants_write and self._promote(node, 0 if flags & os.O_TRUNC else None)
        handed_over = wants_write and lower
        if not handed_over and (node.opens == 1 or (wants_write and not node.writable)):
            # ftruncate(2) wants a writable descriptor, and open(2) lets O_RDONLY truncate too.
            access = flags & _WRITABLE or (os.O_RDWR if wants_write else 0)
            fd = self._open_upper(node, access) if node.upper else self._open_lower(node)
            if node.fd >= 0:
                os.close(node.fd)
            node.fd = fd
            node.writable = wants_write and node.upper
        return cut

    def drop_setuid(self, node: Node) -> None:
        """What a write by an unprivileged caller does to the open *node*'s setuid and setgid."""
        bits = without_setuid(os.fstat(node.fd).st_mode)
        if bits is not None:
            os.fchmod(node.fd, bits)
            node.attr = None

    def _open_lower(self, node: Node) -> int:
        return open_source(self.tree, node)

    def _open_upper(self, node: Node, access: int) -> int:
        """A descriptor of the upper file that can do *access*, and reads too where we may."""
        if not access and (node.metacopy or node.parent is not None):
            return open_source(self.tree, node)
        if node.parent is None and node.fd >= 0:
            path, dir_fd = _PROC_FD % node.fd, None
            follow = 0
        else:
            dir_fd, path, _ = self.tree.place(node)
            follow = os.O_NOFOLLOW
        if access:
            try:
                return os.open(path, os.O_RDWR | os.O_CLOEXEC | follow, dir_fd=dir_fd)
            except PermissionError:
                pass  # without privilege a write-only file can only be opened for writing
        return os.open(path, access | os.O_CLOEXEC | follow, dir_fd=dir_fd)

    def release(self, node: Node) -> None:
        """One handle less; an unlinked node keeps its descriptor until it is forgotten."""
        node.opens -= 1
        if node.opens:
            return
        if node.parent is not None and node.fd >= 0:
            os.close(node.fd)
            node.fd = -1
            node.writable = False
        if node.lookups <= 0:
            self.tree.drop_unused(node)

    def close(self) -> None:
        """Close the descriptors of all nodes; the tree is not to be used any more."""
        for node in self.tree.nodes.values():
            if node.fd >= 0:
                os.close(node.fd)
                node.fd = -1
