"""Planted bugs: our driver with one rule broken, to prove that the lab finds such things.

`plant(name)` is the prelude that a worker of the lab runs before it mounts our driver:
``unionfs-lab fuzz --prelude tests/unionfs/testing/mutants.py:plant,no_setgid``. Each is a small
patch of one method.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

from unionfs import copyup, promote, tree, union, upper

Patch = Callable[[], None]


def no_opaque_over_whiteout() -> None:
    """mkdir over a whiteout forgets the opaque mark: the lower's children reappear."""
    upper.Upper.set_opaque = lambda self, dir_fd, name: None  # type: ignore[method-assign]


def no_whiteout_on_rename() -> None:
    """A rename leaves no whiteout: the lower file shows again under its old name."""

    def move(
        self: upper.Upper, old_dir: int, old: bytes, new_dir: int, new: bytes, **_: bool
    ) -> None:
        os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)

    upper.Upper.move = move  # type: ignore[method-assign]


def no_whiteout_on_unlink() -> None:
    """unlink of a copied-up file removes only the copy."""

    def unlink(self: upper.Upper, dir_fd: int, name: bytes, *, whiteout: bool) -> None:
        os.unlink(name, dir_fd=dir_fd)

    upper.Upper.unlink = unlink  # type: ignore[method-assign]


def no_setgid() -> None:
    """A setgid parent does not pass its bit on."""

    def birth(self: union.Union, parent: tree.Dir, mode: int, caller: Any) -> upper.Birth:
        return upper.Birth(stat.S_IMODE(mode) & ~caller.umask & 0o777, caller.uid, caller.gid)

    union.Union._birth = birth  # type: ignore[method-assign]


def lost_mode() -> None:
    """Copy-up forgets the setuid bit."""
    original = promote.Promoter._dress_file

    def dress(self: promote.Promoter, transfer: promote.Transfer, names: int) -> None:
        original(self, transfer, names)
        os.fchmod(transfer.target, stat.S_IMODE(transfer.st.st_mode) & 0o777)

    promote.Promoter._dress_file = dress  # type: ignore[method-assign]


def short_copy() -> None:
    """Copy-up loses the last byte."""
    original = copyup.copy_data
    copyup.copy_data = lambda source, target, size, st, *, sync=False: original(
        source, target, max(0, size - 1), st, sync=sync
    )


def no_redirect() -> None:
    """The redirect of a renamed merged directory is not written: its lower part is lost."""
    original = upper.Upper.set_mark

    def set_mark(self: upper.Upper, dir_fd: int, name: bytes, mark: bytes, value: bytes) -> None:
        if mark != b"redirect":
            original(self, dir_fd, name, mark, value)

    upper.Upper.set_mark = set_mark  # type: ignore[method-assign]


def rmdir_of_anything() -> None:
    """rmdir does not look whether the directory is empty."""
    union.Union._shows_something = lambda self, node: False  # type: ignore[method-assign]


def stale_children() -> None:
    """A removed name stays in the merged directory."""

    def remove(self: tree.Tree, node: tree.Node, parent: tree.Dir, name: bytes) -> None:
        node.parent = None

    tree.Tree.remove = remove  # type: ignore[method-assign]


def files_merge_directories() -> None:
    """A file between two directories does not end their merge."""
    original = tree.Tree._merge

    def merge(self: tree.Tree, node: tree.Dir) -> dict[bytes, tree.Child]:
        found = original(self, node)
        for name, child in found.items():
            if isinstance(child, tuple):
                places = [p for p in self.places(node) if self._is_dir_at(node, p, name)]  # type: ignore[attr-defined]
                found[name] = tuple(places)
        return found

    def is_dir_at(self: tree.Tree, node: tree.Dir, place: int, name: bytes) -> bool:
        fd, _ = self.dir_at(node, place)
        try:
            return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
        except OSError:
            return False

    tree.Tree._merge = merge  # type: ignore[method-assign]
    tree.Tree._is_dir_at = is_dir_at  # type: ignore[attr-defined]


def exchange_renames() -> None:
    """RENAME_EXCHANGE only renames."""
    original = union.Union._exchange

    def exchange(
        self: union.Union,
        one: tree.Node,
        one_parent: tree.Dir,
        one_name: bytes,
        two: tree.Node,
        two_parent: tree.Dir,
        two_name: bytes,
    ) -> None:
        original(self, one, one_parent, one_name, two, two_parent, two_name)
        if not two.is_dir:
            self.unlink(one_parent, one_name)

    union.Union._exchange = exchange  # type: ignore[method-assign]


def broken_hard_links() -> None:
    """Only the name that was written to gets the copy; the other names keep the lower file."""
    original = promote.Promoter._known_names

    def known(
        self: promote.Promoter, node: tree.Node, st: os.stat_result
    ) -> list[tuple[tree.Dir, bytes]]:
        return original(self, node, st)[:1]

    promote.Promoter._known_names = known  # type: ignore[method-assign]


def filled_holes() -> None:
    """Copy-up writes the holes of a sparse file as zeros."""

    def copy(
        source: int, target: int, size: int, st: os.stat_result, *, sync: bool = False
    ) -> None:
        position = 0
        while data := os.pread(source, min(1 << 20, size - position), position):
            position += copyup.write_all(target, data, position)

    copyup.copy_data = copy


def stale_descriptor() -> None:
    """A file that was open before its copy-up goes on reading the lower one."""
    original = promote.Promoter.finish

    def finish(self: promote.Promoter, transfer: promote.Transfer) -> None:
        node = transfer.node
        kept = os.dup(node.fd) if node.fd >= 0 else -1
        original(self, transfer)
        if kept >= 0 and node.fd >= 0:
            os.dup2(kept, node.fd)
            os.close(kept)

    promote.Promoter.finish = finish  # type: ignore[method-assign]


def whiteout_after_rename() -> None:
    """A rename and its whiteout are two steps, between which the lower file shows."""

    def move(
        self: upper.KernelWhiteouts, old_dir: int, old: bytes, new_dir: int, new: bytes
    ) -> None:
        os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)
        self.create(old_dir, old)

    upper.KernelWhiteouts.move = move  # type: ignore[method-assign]


def touched_parent() -> None:
    """A child's copy-up changes the modification time of its directory."""
    upper.Upper.keep_times = lambda self, dir_fd, st: None  # type: ignore[method-assign]


def lost_xattrs() -> None:
    """Copy-up forgets extended attributes."""
    copyup.copy_xattrs = lambda dir_fd, name, target: None


MUTANTS: dict[str, Patch] = {
    patch.__name__: patch
    for patch in (
        no_opaque_over_whiteout,
        no_whiteout_on_rename,
        no_whiteout_on_unlink,
        no_setgid,
        lost_mode,
        short_copy,
        no_redirect,
        rmdir_of_anything,
        stale_children,
        files_merge_directories,
        exchange_renames,
        broken_hard_links,
        filled_holes,
        stale_descriptor,
        whiteout_after_rename,
        touched_parent,
        lost_xattrs,
    )
}


def plant(name: str) -> None:
    """Break one rule."""
    MUTANTS[name]()
