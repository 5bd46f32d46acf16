"""Power loss: what is on the disk at the moment when the daemon is killed, and nothing else.

An ext4 lies in a file and is mounted by a loop device. A copy of that file holds what the disk has
got so far: what waits in the page cache, as after a power cut, is not in it. The ext4 is mounted with
data=writeback and its journal is committed at the moment of the cut, so that a name is on the disk
and the data behind it only if somebody saw to that: the worst order that a disk may choose.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence

from unionfs import syscalls
from unionfs.errors import UnionError
from unionfs.testing.bench import Bench, Lab
from unionfs.testing.crash import TOUCHED, Matrix, Trial
from unionfs.testing.drivers import Stack
from unionfs.testing.language import Fsync
from unionfs.testing.mutations import Mutation

DISK_BYTES = 48 << 20
DISK_OPTIONS = "loop,data=writeback"


class Disk:
    """An ext4 in a file below *directory*, mounted at `root`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.image = os.path.join(directory, "disk.img")
        self.root = os.path.join(directory, "disk")

    def __enter__(self) -> Disk:
        os.mkdir(self.root)
        with open(self.image, "xb") as image:
            image.truncate(DISK_BYTES)
        run("mkfs.ext4", "-q", "-F", self.image)
        run("mount", "-o", DISK_OPTIONS, self.image, self.root)
        return self

    def __exit__(self, *error: object) -> None:
        run("umount", self.root)
        os.unlink(self.image)
        os.rmdir(self.root)

    def settle(self) -> None:
        """Put everything on the disk."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syscalls.syncfs(fd)
        finally:
            os.close(fd)

    def cut(self, copy: str) -> None:
        """Copy what the disk would hold after a power cut now, in the worst order."""
        # fsync(2) of one file commits ext4's journal with the names of all, and only its own data.
        with open(os.path.join(self.root, "other"), "w", encoding="ascii") as other:
            other.write("x")
            other.flush()
            os.fsync(other.fileno())
        run("cp", "--sparse=always", self.image, copy)


class PowerTrial(Trial):
    """A mutation on a disk that loses power when the daemon is killed."""

    def __init__(
        self,
        lab: Lab,
        disk: Disk,
        mutation: Mutation,
        matrix: Matrix,
        driver: str = "unionfs",
    ) -> None:
        self.disk = disk
        super().__init__(lab, mutation, matrix, driver)

    def bench(self, rule: str = "") -> Bench:
        """As without a power cut; what is there beforehand is on the disk."""
        bench = super().bench(rule)
        self.disk.settle()
        return bench

    def inspect(self, crashed: Bench, rule: str, position: int) -> None:
        """Cut the power, and look at the disk through a fresh mount of ours."""
        image, root = (os.path.join(self.disk.directory, name) for name in ("cut.img", "cut"))
        self.disk.cut(image)
        mount = ["mount", "-o", DISK_OPTIONS, image, root]
        crashed.place.call("make_dirs", paths=[root])
        crashed.place.call("mount_program", argv=mount, mountpoint=root)
        try:
            self.look_at(self.moved(crashed, root), rule, position)
        finally:
            crashed.place.call("unmount", mountpoint=root)
            os.rmdir(root)
            os.unlink(image)

    def moved(self, crashed: Bench, root: str) -> Bench:
        """A mount of what *crashed* was mounted on, on the disk that is now at *root*."""
        bench = Bench(self.lab, self.ours, self.layers, upper_from=crashed)
        left = crashed.stack
        assert left.upper is not None and left.work is not None

        def move(path: str) -> str:
            return os.path.join(root, os.path.relpath(path, self.disk.root))

        bench.stack = Stack(
            tuple(map(move, left.lowers)),
            move(left.upper),
            move(left.work),
            bench.stack.mountpoint,
        )
        return bench

    def look_at(self, bench: Bench, rule: str, position: int) -> None:
        """The disk must show a state that nobody was told is over."""
        try:
            with bench:
                tree = bench.tree()
        except (UnionError, OSError) as error:
            self.wrong(rule, f"after the power cut: {error}")
            return
        allowed = self.states.trees[self.synced(position) : position + 2]
        # The time of a write that was under way may be there before its data.
        touched = (*TOUCHED, "file") if self.states.unsynced(position) else TOUCHED
        self.expect(rule, "after the power cut", tree, allowed, touched)

    def synced(self, position: int) -> int:
        """The state that the last fsync(2) before *position* has promised to keep."""
        done = self.mutation.operations[:position]
        return max((n for n, step in enumerate(done, 1) if isinstance(step, Fsync)), default=0)


def power_matrix(
    disk: Disk,
    mutations: Sequence[Mutation],
    driver: str = "unionfs",
    *,
    prelude: str = "",
    progress: Callable[[Mutation, Matrix], None] = lambda mutation, matrix: None,
) -> Matrix:
    """Cut the power after every system call of every mutation; *driver* is ours."""
    matrix = Matrix()
    with Lab(disk.root, prelude=prelude) as lab:
        for mutation in mutations:
            trial = PowerTrial(lab, disk, mutation, matrix, driver)
            matrix.points[mutation.name] = trial.kill_everywhere("after")
            progress(mutation, matrix)
    return matrix


def run(*command: str) -> None:
    """Run a program of the system; UnionError with what it said when it fails."""
    if shutil.which(command[0]) is None:
        raise UnionError(f"{command[0]} is not installed; it is part of e2fsprogs or util-linux")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnionError(f"{' '.join(command)}: {done.stderr.strip()}")
