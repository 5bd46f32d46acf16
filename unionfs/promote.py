"""Copy-up of nodes: bringing a lower object into the upper before it is changed.

Each object appears in the upper complete or not at all. Nothing of a copy-up shows in the merged
view: names, numbers, times and attributes stay as they were.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from . import copyup, syscalls
from .tree import Dir, Node, Tree, path_of
from .upper import Upper

_PROC_NAME = b"/proc/self/fd/%d/%s"
_FROZEN = syscalls.FS_IMMUTABLE_FL | syscalls.FS_APPEND_FL


@dataclass(slots=True)
class Transfer:
    """A regular file on its way up: *source* and *target* are open, *size* bytes are to be copied."""

    node: Node
    st: os.stat_result
    source: int
    target: int
    temp: bytes | None
    size: int

    @property
    def cut(self) -> bool:
        """Whether the copy is a truncation too."""
        return self.size < self.st.st_size

    def run(self, *, sync: bool) -> None:
        """Copy the data. Touches nothing but its two descriptors, so any thread may do it."""
        copyup.copy_data(self.source, self.target, self.size, self.st, sync=sync)
        if sync and self.size:
            os.fsync(self.target)


class Promoter:
    """Copies nodes of *tree* into *upper*. Raises OSError; then nothing has changed."""

    def __init__(self, tree: Tree, upper: Upper) -> None:
        self._tree = tree
        self._upper = upper

    # --- directories ---

    def directory(self, node: Dir) -> int:
        """Make sure that *node* and all above it are in the upper; returns its upper descriptor."""
        if not node.upper:
            missing = [node]
            while (parent := missing[-1].parent) is not None and not parent.upper:
                missing.append(parent)
            if parent is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), node.name)
            for step in reversed(missing):
                self._one_directory(step)
        return self._tree.upper_dir_fd(node)

    def _one_directory(self, node: Dir) -> None:
        upper, parent = self._upper, node.parent
        assert parent is not None
        st = self._tree.stat(node)
        source_dir, source, layer = self._tree.place(node)
        source_fd = layer.open_dir(source_dir, source)
        try:
            _refuse_frozen(source_fd)
        finally:
            os.close(source_fd)
        temp = upper.temp_name()
        os.mkdir(temp, 0o700, dir_fd=upper.work_fd)
        try:
            self._dress(node, st, temp)
            with self._entering(parent) as fd:
                upper.rename(upper.work_fd, temp, fd, node.name, syscalls.RENAME_NOREPLACE)
        except OSError:
            upper.scrub(temp)
            raise
        node.upper = True
        node.xattrs = None
        node.attr = None
        upper.settle(self._tree.upper_dir_fd(node))
        upper.settle(self._tree.upper_dir_fd(parent))

    @contextmanager
    def _entering(self, parent: Dir) -> Iterator[int]:
        """The upper descriptor of *parent*, in which a copied-up child is to appear unnoticed."""
        fd = self._tree.upper_dir_fd(parent)
        self.mark_impure(parent, fd)
        times = os.fstat(fd)
        with self._upper.lifted(fd, times.st_mode):
            yield fd
        self._upper.keep_times(fd, times)

    def _dress(self, node: Node, st: os.stat_result, temp: bytes) -> None:
        """Give the new object *temp* everything that *node*'s lower object has but its content."""
        upper = self._upper
        source_dir, source, _ = self._tree.place(node)
        work = upper.work_fd
        os.chown(temp, st.st_uid, st.st_gid, dir_fd=work, follow_symlinks=False)
        copyup.copy_xattrs(source_dir, source, _PROC_NAME % (work, temp))
        self._set_origin(source_dir, source, temp)
        # The mode comes last: user.* xattrs need write permission, which it may take away.
        if not stat.S_ISLNK(st.st_mode):
            os.chmod(temp, stat.S_IMODE(st.st_mode), dir_fd=work)
        os.utime(temp, ns=(st.st_atime_ns, st.st_mtime_ns), dir_fd=work, follow_symlinks=False)

    def _set_origin(self, source_dir: int, source: bytes, temp: bytes) -> None:
        try:
            origin = self._upper.origin_value(source_dir, source)
            self._upper.set_mark(self._upper.work_fd, temp, b"origin", origin)
        except OSError as error:
            # Symlinks and devices hold no user.* xattrs; some uppers hold no xattrs at all.
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                raise

    def mark_impure(self, parent: Dir, parent_fd: int) -> None:
        """Mark the directory *parent*, open as *parent_fd*: it gets a child with an origin.

        To be done before: without the mark, readdir tells another number of the child than stat.
        """
        if not parent.impure:
            self._upper.set_impure(parent_fd)
            parent.impure = True

    # --- files ---

    def file(self, node: Node, size: int | None = None) -> bool:
        """Bring the non-directory *node* up at once, keeping only its first *size* bytes if given.

        Answers whether the copy was cut short so, which is all that truncating it would do.
        """
        if node.upper and not node.metacopy:
            return False
        if stat.S_ISREG(node.mode):
            transfer = self.begin(node, size)
            try:
                transfer.run(sync=self._upper.sync)
            except OSError:
                self.abandon(transfer)
                raise
            self.finish(transfer)
            return transfer.cut
        self._special(node)
        return False

    def begin(self, node: Node, size: int | None = None) -> Transfer:
        """Open both ends of a regular file's copy-up; follow with run() and finish() or abandon()."""
        if node.parent is not None:
            self.directory(node.parent)
        st = self._tree.stat(node)
        source = open_source(self._tree, node)
        try:
            _refuse_frozen(source)
            target, temp = self._upper.open_temp()
        except OSError:
            os.close(source)
            raise
        wanted = st.st_size if size is None else min(size, st.st_size)
        return Transfer(node, st, source, target, temp, wanted)

    def abandon(self, transfer: Transfer) -> None:
        """Throw away a copy-up that failed."""
        os.close(transfer.source)
        self._upper.discard_temp(transfer.target, transfer.temp)

    def finish(self, transfer: Transfer) -> None:
        """Give the copied file its metadata and its name, and turn the node's handles to it."""
        node, target = transfer.node, transfer.target
        try:
            names = self._known_names(node, transfer.st)
            self._dress_file(transfer, len(names))
            self._upper.settle(target)
            if names:
                self._enter(node, transfer, names)
        except OSError:
            self.abandon(transfer)
            raise
        os.close(transfer.source)
        if node.fd >= 0:
            os.close(node.fd)
        node.fd = -1
        node.upper = True
        node.metacopy = False
        node.source = node.data = None
        node.xattrs = None
        node.attr = None
        if node.opens or not names:
            node.fd, node.writable = target, True
        else:
            os.close(target)
        self._settle_parents(names)

    def _settle_parents(self, names: list[tuple[Dir, bytes]]) -> None:
        """With fsync=strict: what was entered under these names is on disk under them."""
        for parent, _ in names:
            self._upper.settle(self._tree.upper_dir_fd(parent))

    def _dress_file(self, transfer: Transfer, names: int) -> None:
        """Metadata of a regular file that is to get *names* names; the mode last, as in _dress."""
        node, st, target = transfer.node, transfer.st, transfer.target
        # By descriptor, unless that is of the data alone.
        source, name = transfer.source, b""
        if node.metacopy:
            source, name, _ = self._tree.place(node)
        os.fchown(target, st.st_uid, st.st_gid)
        copyup.copy_xattrs(source, name, target)
        # A number shared by several names cannot be kept by some of them only.
        if st.st_nlink <= max(names, 1) and not node.upper:
            try:
                origin = self._upper.origin_value(source, name)
                os.setxattr(target, self._upper.family + b"origin", origin)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
                    raise
        os.fchmod(target, stat.S_IMODE(st.st_mode))
        mtime_ns = st.st_mtime_ns
        if transfer.cut:
            # Truncated before it has its name, with all that truncation does to times and
            # capabilities: no later step can fail and leave the file short but otherwise as it was.
            os.ftruncate(target, transfer.size)
            mtime_ns = os.fstat(target).st_mtime_ns
        os.utime(target, ns=(st.st_atime_ns, mtime_ns))

    def _known_names(self, node: Node, st: os.stat_result) -> list[tuple[Dir, bytes]]:
        """Every name that must follow the copy, so that hard links stay links.

        The lower layer is searched for names nobody has looked up yet.
        """
        names = self._tree.names(node)
        if names and st.st_nlink > len(names) and not node.upper:
            self._tree.find_links(node, st)
            names = self._tree.names(node)
        return names

    def _enter(self, node: Node, transfer: Transfer, names: list[tuple[Dir, bytes]]) -> None:
        """Give the finished file all its names, or none of them."""
        upper = self._upper
        for parent, _ in names:
            self.directory(parent)
        if node.upper:
            self._replace_metacopies(transfer, names)
        elif len(names) > 1:
            temp = upper.links_name()
            upper.name_temp(transfer.target, transfer.temp, temp)
            transfer.temp = temp
            self._enter_linked(temp, names)
        else:
            ((parent, name),) = names
            with self._entering(parent) as fd:
                upper.link_temp(transfer.target, transfer.temp, fd, name)
        if len(names) > 1:
            node.real = os.fstat(transfer.target).st_ino
            self._tree.links[node.real] = node

    def _enter_linked(self, temp: bytes, names: list[tuple[Dir, bytes]]) -> None:
        """Give *temp*, of links_name(), all these names.

        They come one by one. As long as the name in the work directory is there, they are not
        complete, and after a crash the next mount takes them back (stack._take_back).
        """
        upper = self._upper
        made: list[tuple[Dir, bytes]] = []
        try:
            for parent, name in names:
                with self._entering(parent) as fd:
                    upper.link(upper.work_fd, temp, fd, name)
                    made.append((parent, name))
            os.unlink(temp, dir_fd=upper.work_fd)
        except OSError:
            for parent, name in made:
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._tree.upper_dir_fd(parent))
            raise

    def _replace_metacopies(self, transfer: Transfer, names: list[tuple[Dir, bytes]]) -> None:
        """Put the complete file over every name of the metadata-only one."""
        (first_parent, first), *more = names
        first_fd = self._tree.upper_dir_fd(first_parent)
        with self._entering(first_parent):
            self._replace_metacopy(transfer, first_fd, first)
        for parent, name in more:
            with self._entering(parent) as fd:
                self._upper.link(first_fd, first, fd, name)

    def _replace_metacopy(self, transfer: Transfer, dir_fd: int, name: bytes) -> None:
        """Put the complete file over the metadata-only one."""
        upper, temp = self._upper, transfer.temp
        if temp is None:
            temp = upper.temp_name()
            upper.name_temp(transfer.target, None, temp)
        os.rename(temp, name, src_dir_fd=upper.work_fd, dst_dir_fd=dir_fd)

    def _special(self, node: Node) -> None:
        """Bring up a symlink, fifo, socket or device as what it is."""
        upper = self._upper
        st = self._tree.stat(node)
        source_dir, source, _ = self._tree.place(node)
        names = self._known_names(node, st)
        temp = upper.links_name() if len(names) > 1 else upper.temp_name()
        if stat.S_ISLNK(st.st_mode):
            os.symlink(os.readlink(source, dir_fd=source_dir), temp, dir_fd=upper.work_fd)
        else:
            os.mknod(temp, stat.S_IFMT(st.st_mode) | 0o600, st.st_rdev, dir_fd=upper.work_fd)
        try:
            self._dress(node, st, temp)
            self._enter_special(node, temp, names)
        except OSError:
            upper.scrub(temp)
            raise
        node.upper = True
        node.source = None
        node.xattrs = None
        node.attr = None
        self._settle_parents(names)

    def _enter_special(self, node: Node, temp: bytes, names: list[tuple[Dir, bytes]]) -> None:
        """Give the finished *temp* its names; one that has lost all of them is kept open."""
        upper = self._upper
        for parent, _ in names:
            self.directory(parent)
        if not names:
            node.fd = os.open(temp, os.O_PATH | os.O_NOFOLLOW, dir_fd=upper.work_fd)
            upper.scrub(temp)
        elif len(names) > 1:
            self._enter_linked(temp, names)
        else:
            ((parent, name),) = names
            with self._entering(parent) as fd:
                upper.publish(temp, fd, name)

    # --- subtrees ---

    def subtree(self, node: Dir) -> None:
        """Bring up all that *node* shows, and make it opaque: it then needs no layer below it.

        For a rename of a merged directory where the kernel would not follow a redirect. Until the
        opaque mark is set the merged view is unchanged, and the mark is one step.
        """
        self.directory(node)
        for name in list(self._tree.children(node)):
            child = self._tree.lookup(node, name)
            if isinstance(child, Dir):
                self.subtree(child)
            elif child is not None:
                self.file(child)
        self.make_opaque(node)

    def make_opaque(self, node: Dir) -> None:
        """Cut the upper directory *node* off from what is below it."""
        if not node.parts or node.parent is None:
            return
        parent_fd = self._tree.upper_dir_fd(node.parent)
        self._upper.set_opaque(parent_fd, node.name)
        self._tree.children(node)
        node.parts = ()
        node.xattrs = None
        node.attr = None


def open_source(tree: Tree, node: Node) -> int:
    """A fresh O_RDONLY descriptor of the file that holds *node*'s data.

    Raises EPERM for a metadata-only file when these are not to be followed, EIO when its data is
    in no layer: never zeros.
    """
    if node.metacopy:
        if not tree.follow_metacopy:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path_of(node))
        if node.data is None:
            raise OSError(
                errno.EIO, "no layer has the data of this metadata-only file", path_of(node)
            )
        part, name = node.data
        return part.layer.open_file(part.dir_fd(), name, os.O_RDONLY)
    fd, name, layer = tree.place(node)
    return layer.open_file(fd, name, os.O_RDONLY)


def _refuse_frozen(fd: int) -> None:
    """A file made immutable with chattr(1) stays as it is also under a union."""
    if syscalls.inode_flags(fd) & _FROZEN:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
