"""Planted bugs: our driver with one rule broken, to prove that the lab finds such things.

    python mutants.py NAME -o OPTIONS MOUNTPOINT

mounts the mutant NAME. Each is a small patch of one method, applied before the program starts.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import Any

from unionfs import cli, copyup, promote, tree, union, upper

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
    copyup.copy_data = lambda source, target, size, st: original(
        source, target, max(0, size - 1), st
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

    def exchange(self: union.Union, *arguments: Any) -> None:
        node, parent, name, target, other, new = arguments
        original(self, node, parent, name, target, other, new)
        if not target.is_dir:
            self.unlink(parent, name)

    union.Union._exchange = exchange  # type: ignore[method-assign]


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
    )
}


if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    sys.exit(cli.main(sys.argv[2:]))
