"""The same work twice: on a mount, and on a plain copy of what the mount starts from."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from . import drivers, trees
from .drivers import Mounted

Work = Callable[[Path], object]


class Twins:
    """`plain` lies on the backing file system, `mounted` shows the same tree at first."""

    def __init__(self, plain: Path, mounted: Mounted) -> None:
        self.plain = plain
        self.mounted = mounted

    def do(self, work: Work) -> None:
        """Run WORK on both; what it returns must be equal."""
        ours = work(self.mounted.point)
        theirs = work(self.plain)
        assert ours == theirs

    def compare(
        self,
        ignore: Collection[str] = ("mtime_ns",),
        exclude: Callable[[bytes], bool] = lambda _path: False,
    ) -> None:
        """The mount equals the plain tree; so do the remounted one, and the kernel's view."""
        plain = trees.snapshot(self.plain, exclude=exclude)
        trees.assert_same(trees.snapshot(self.mounted, exclude=exclude), plain, ignore=ignore)
        self.mounted.remount()
        trees.assert_same(trees.snapshot(self.mounted, exclude=exclude), plain, ignore=ignore)
        self.mounted.unmount()
        # redirect_dir: as root we rename merged directories by a redirect, which it must follow.
        kernel = drivers.Stack(
            self.mounted.stack.lowers,
            self.mounted.stack.upper,
            self.mounted.stack.work,
            ("redirect_dir=on",),
        )
        with drivers.mount(drivers.KERNEL, kernel, self.mounted.point) as view:
            # A hard link's count is the upper inode's there, when lower names of it are left.
            ignored = {*ignore, "nlink"}
            trees.assert_same(trees.snapshot(view, exclude=exclude), plain, ignore=ignored)
        self.mounted.remount()
