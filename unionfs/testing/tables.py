"""What is mounted: a layer as a table, and how it is made on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["file", "dir", "symlink", "fifo", "whiteout", "opaque", "link"]


@dataclass(frozen=True, slots=True)
class Thing:
    """One entry: *text* is a file's content, a symlink's target, or a hard link's earlier path."""

    kind: Kind
    text: str = ""
    mode: int = 0o644


Layer = Mapping[str, Thing]


def build(base: Path, layers: Sequence[Layer]) -> tuple[Path, ...]:
    """Make the layers below *base* as overlayfs itself could have written them; top first.

    A whiteout is placed only where it hides something: elsewhere the kernel lists a name that it
    then cannot stat, which is no difference worth finding.
    """
    roots = tuple(base / f"lower{place}" for place in range(len(layers)))
    for root, layer in zip(roots, layers, strict=True):
        root.mkdir(parents=True)
        for path, thing in layer.items():
            if thing.kind != "whiteout":
                _place(root, path, thing)
    for place, layer in enumerate(layers):
        for path, thing in layer.items():
            if thing.kind == "whiteout" and _hides_something(roots[place:], path):
                _place(roots[place], path, thing)
    for root in roots:
        for directory, _, _ in os.walk(root):
            os.utime(directory, (10**9, 10**9))
    return roots


def _place(root: Path, path: str, thing: Thing) -> None:
    """Make one entry; what stands in its way stays (an earlier entry of the table)."""
    target = root / path
    if os.path.lexists(target):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _make(root, target, thing)
    except OSError:
        return


def _make(root: Path, target: Path, thing: Thing) -> None:
    if thing.kind == "file":
        target.write_text(thing.text)
        target.chmod(thing.mode)
    elif thing.kind == "dir":
        target.mkdir()
        target.chmod(thing.mode | 0o111)
    elif thing.kind == "symlink":
        target.symlink_to(thing.text or "a")
    elif thing.kind == "fifo":
        os.mkfifo(target)
    elif thing.kind == "whiteout":
        os.mknod(target, stat.S_IFCHR, 0)
    elif thing.kind == "opaque":
        target.mkdir()
        os.setxattr(target, "trusted.overlay.opaque", b"y")
    elif (root / thing.text).is_file():
        os.link(root / thing.text, target, follow_symlinks=False)


def _hides_something(stack: Sequence[Path], path: str) -> bool:
    if len(stack) < 2 or not os.path.lexists(stack[1] / path):
        return False
    for parent in Path(path).parents:
        mine, below = stack[0] / parent, stack[1] / parent
        if below.is_symlink() or not below.is_dir():
            return False
        if mine.is_dir() and "trusted.overlay.opaque" in os.listxattr(mine):
            return False
    return True
