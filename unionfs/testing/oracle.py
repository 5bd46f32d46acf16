"""The comparison: the same case on two drivers, answer by answer and tree by tree."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import tables
from .drivers import Driver, mounted
from .operations import Answer, Operation, errno_name, run, script
from .tables import Layer

QUIRKS: dict[str, str] = {
    "link count of directories": "a union cannot count subdirectories without reading every layer",
    "times": "two runs are not at the same moment",
    "inode numbers": "only their equality classes mean anything, and those are hard links",
    "private xattrs": "trusted.overlay.*, user.overlay.* and user.fuseoverlayfs.* are the format",
}
"""What is not compared, each with its reason."""


@dataclass(frozen=True, slots=True)
class Case:
    """Layers (top first) and what is done on them."""

    layers: tuple[Layer, ...]
    operations: tuple[Operation, ...]

    def as_script(self) -> str:
        """The case as something a person can run."""
        lines = ["# layers, top first:"]
        for place, layer in enumerate(self.layers):
            lines += [f"#   lower{place}: {path} = {thing}" for path, thing in layer.items()]
        return "\n".join([*lines, script(self.operations)])


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two drivers part: *stage*, what it is about, and what each has."""

    stage: str
    about: str
    left: Any
    right: Any

    def __str__(self) -> str:
        return f"{self.stage}: {self.about}\n    left  {self.left}\n    right {self.right}"


Entry = tuple[Any, ...]
Tree = dict[str, Entry]


def snapshot(root: Path) -> Tree:
    """Type, mode, owner, size, device, content, target, xattrs and hard links of everything below.

    A name that is listed and then cannot be asked or read has that as its entry.
    """
    stats: dict[str, os.stat_result] = {}
    broken: list[str] = []
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            with contextlib.suppress(OSError):
                stats[os.path.relpath(path, root)] = os.lstat(path)
                continue
            broken.append(os.path.relpath(path, root))
    groups: dict[int, list[str]] = {}
    for path, st in stats.items():
        if not stat.S_ISDIR(st.st_mode):
            groups.setdefault(st.st_ino, []).append(path)
    found: Tree = dict.fromkeys(broken, ("cannot be asked",))
    for path, st in stats.items():
        try:
            found[path] = _entry(root / path, st, groups)
        except OSError as error:
            found[path] = (oct(st.st_mode), f"errno {errno_name(error.errno or 0)}")
    return found


def _entry(path: Path, st: os.stat_result, groups: dict[int, list[str]]) -> Entry:
    directory = stat.S_ISDIR(st.st_mode)
    content = ""
    if stat.S_ISREG(st.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(st.st_mode):
        content = os.readlink(path)
    xattrs = [
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(os.listxattr(path, follow_symlinks=False))
        if not name.startswith(("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."))
    ]
    same = () if directory else tuple(sorted(groups[st.st_ino]))
    size = 0 if directory else st.st_size
    return (oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev, size, content, xattrs, same)


def compare(case: Case, left: Driver, right: Driver, *, cross: bool = True) -> list[Difference]:
    """Run *case* on both; the differences of answers, trees, remounts and crossed uppers.

    With *cross* each driver also mounts the other's upper. Stops at the first stage that differs.
    Raises UnionError when a driver cannot mount.
    """
    base = Path(tempfile.mkdtemp(prefix="unionfs-lab-"))
    try:
        for found in _stages(case, left, right, base, cross=cross):
            if found:
                return found
        return []
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _stages(
    case: Case, left: Driver, right: Driver, base: Path, *, cross: bool
) -> Iterator[list[Difference]]:
    lowers = tables.build(base, case.layers)
    answers, trees = [], []
    for side, driver in (("left", left), ("right", right)):
        with mounted(driver, lowers, *_room(base, side)) as point:
            answers.append(run(str(point), case.operations))
            trees.append(snapshot(point))
    yield _unequal_answers(case.operations, answers[0], answers[1])
    yield _unequal_trees("merged view", trees[0], trees[1])
    for side, driver, tree in (("left", left, trees[0]), ("right", right, trees[1])):
        with mounted(driver, lowers, *_room(base, side)) as point:
            yield _unequal_trees(f"{driver.name} after a remount", tree, snapshot(point))
    if not cross or left.is_directory or right.is_directory:
        return
    for side, driver in (("right", left), ("left", right)):
        with mounted(driver, lowers, *_room(base, side)) as point:
            stage = f"{driver.name} on the other's upper"
            yield _unequal_trees(stage, trees[0], snapshot(point))


def _room(base: Path, side: str) -> tuple[Path, Path, Path]:
    return base / side / "upper", base / side / "work", base / "mnt"


def _unequal_answers(
    operations: Sequence[Operation], left: Sequence[Answer], right: Sequence[Answer]
) -> list[Difference]:
    return [
        Difference("answers", str(operation), one, two)
        for operation, one, two in zip(operations, left, right, strict=True)
        if one != two
    ]


def _unequal_trees(stage: str, left: Tree, right: Tree) -> list[Difference]:
    return [
        Difference(stage, path, left.get(path), right.get(path))
        for path in sorted({*left, *right})
        if left.get(path) != right.get(path)
    ]
