"""What the layers of an image hold, hide and repeat, simulated from their indexes.

The layers are laid over each other in memory, base first, as a union would: an entry replaces what
is below its path, a whiteout hides it, an opaque directory hides what is below it in lower layers.
Sizes are logical bytes of file content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from layertool.archive import IndexEntry


class Fate(StrEnum):
    """What became of a file that no container of the image can see the bytes of."""

    DELETED = "deleted"
    REPLACED = "replaced"
    COPIED = "copied"
    """The same content again in a higher layer: only mode, owner or times changed."""


@dataclass(frozen=True, slots=True)
class Version:
    """A path as one layer has it; `layer` counts from 0, the base."""

    layer: int
    entry: IndexEntry


@dataclass(frozen=True, slots=True)
class Waste:
    """Bytes in `layer` at `path` that a higher layer, `by`, hides."""

    path: bytes
    layer: int
    by: int
    bytes: int
    fate: Fate


@dataclass(slots=True)
class LayerContent:
    """The sums of one layer: all its file bytes, those hidden above, those copied from below."""

    files: int = 0
    bytes: int = 0
    hidden: int = 0
    copied: int = 0


@dataclass(slots=True)
class Content:
    """A stack of layers: what is visible, and what is wasted."""

    layers: list[LayerContent] = field(default_factory=list)
    visible: dict[bytes, Version] = field(default_factory=dict)
    wasted: list[Waste] = field(default_factory=list)

    @property
    def efficiency(self) -> float:
        """The share of the file bytes that a container can see, 1.0 for an image of none."""
        total = sum(layer.bytes for layer in self.layers)
        return 1.0 - sum(waste.bytes for waste in self.wasted) / total if total else 1.0


def stack(indexes: Iterable[Iterable[IndexEntry]]) -> Content:
    """Lay layers over each other, base first."""
    content = Content()
    for number, index in enumerate(indexes):
        content.layers.append(LayerContent())
        _lay(content, number, _with_link_targets(index))
    return content


def _with_link_targets(index: Iterable[IndexEntry]) -> list[IndexEntry]:
    """The entries of a layer; hard links have size and content of the file that they are."""
    entries = list(index)
    files = {entry.path: entry for entry in entries if entry.type == "f"}
    return [
        msgspec.structs.replace(entry, size=file.size, sha256=file.sha256, link=b"")
        if entry.type == "h" and (file := files.get(entry.link)) is not None
        else entry
        for entry in entries
    ]


def _lay(content: Content, number: int, entries: list[IndexEntry]) -> None:
    """Hide first what this layer hides; its own entries are never hidden by itself."""
    # Marks last: what is deleted and made again was replaced, in whichever order it is written.
    for entry in sorted(entries, key=lambda entry: entry.type in ("w", "o")):
        if entry.type == "w":
            _hide_deleted(content, number, entry.path)
        elif entry.type == "o":
            _hide(content, number, entry.path, Fate.DELETED, itself=False)
        elif entry.type != "d":
            _hide_replaced(content, number, entry)
    layer = content.layers[number]
    for entry in entries:
        if entry.type in ("w", "o"):
            continue
        below = content.visible.get(entry.path)
        if entry.type == "d" and below is not None and below.entry.type != "d":
            _hide(content, number, entry.path, Fate.REPLACED, itself=True)
        content.visible[entry.path] = Version(number, entry)
        if entry.type == "f":
            layer.files += 1
            layer.bytes += entry.size


def _hide_deleted(content: Content, number: int, path: bytes) -> None:
    version = content.visible.get(path)
    if version is not None:
        below = version.entry.type == "d"
        _hide(content, number, path, Fate.DELETED, itself=True, below=below)


def _hide_replaced(content: Content, number: int, entry: IndexEntry) -> None:
    below = content.visible.get(entry.path)
    if below is None:
        return
    is_copy = entry.type == below.entry.type == "f" and entry.sha256 == below.entry.sha256
    if is_copy:
        content.layers[number].copied += entry.size
    fate = Fate.COPIED if is_copy else Fate.REPLACED
    _hide(content, number, entry.path, fate, itself=True, below=below.entry.type == "d")


def _hide(
    content: Content, number: int, path: bytes, fate: Fate, *, itself: bool, below: bool = True
) -> None:
    found = [path] if itself and path in content.visible else []
    if below:
        prefix = path + b"/" if path else b""
        found += [each for each in content.visible if each.startswith(prefix) and each != path]
    for each in found:
        version = content.visible.pop(each)
        if version.entry.type == "f" and version.entry.size:
            content.layers[version.layer].hidden += version.entry.size
            content.wasted.append(Waste(each, version.layer, number, version.entry.size, fate))


class Change(StrEnum):
    """What a layer did to a path."""

    ADDED = "added"
    CHANGED = "changed"
    METADATA = "metadata"
    """The same content with another mode, owner, time or attribute."""
    DELETED = "deleted"
    HIDDEN = "hidden"
    """A directory above it was deleted, replaced or made opaque."""


@dataclass(frozen=True, slots=True)
class Touch:
    """One layer that had a hand in a path."""

    layer: int
    change: Change
    entry: IndexEntry | None
    """The path in that layer; None where it was deleted or hidden."""


def blame(indexes: Iterable[Iterable[IndexEntry]], path: bytes) -> list[Touch]:
    """The layers that touched `path`, base first; empty when no layer ever had it."""
    touches: list[Touch] = []
    for number, index in enumerate(indexes):
        found, is_deleted, is_hidden = _in_layer(_with_link_targets(index), path)
        before = touches[-1].entry if touches else None
        if before is not None and (is_deleted or is_hidden) and found is None:
            change = Change.DELETED if is_deleted else Change.HIDDEN
            touches.append(Touch(number, change, None))
        elif found is not None:
            touches.append(Touch(number, _change(before, found), found))
    return touches


def _in_layer(index: Iterable[IndexEntry], path: bytes) -> tuple[IndexEntry | None, bool, bool]:
    """The path's own entry, whether it is deleted, whether something above hides it."""
    found, is_deleted, is_hidden = None, False, False
    above = set(_parents(path))
    for entry in index:
        if entry.path == path:
            if entry.type == "w":
                is_deleted = True
            elif entry.type != "o":
                found = entry
        elif entry.path in above and entry.type != "d":
            is_hidden = True
    return found, is_deleted, is_hidden


def _change(before: IndexEntry | None, now: IndexEntry) -> Change:
    if before is None:
        return Change.ADDED
    return Change.METADATA if _substance(before) == _substance(now) else Change.CHANGED


def _substance(entry: IndexEntry) -> tuple[object, ...]:
    """What a path is, apart from its metadata. A hard link is a file like its other names."""
    kind = "f" if entry.type == "h" else entry.type
    return (kind, entry.sha256, entry.link, entry.device)


def _parents(path: bytes) -> Iterator[bytes]:
    while path:
        path = path.rpartition(b"/")[0]
        yield path


@dataclass(frozen=True, slots=True)
class Difference:
    """A path that two images do not have alike; None where one lacks it."""

    path: bytes
    left: IndexEntry | None
    right: IndexEntry | None

    @property
    def kind(self) -> str:
        """`A` only right, `D` only left, `C` other content or type, `M` other metadata."""
        if self.left is None:
            return "A"
        if self.right is None:
            return "D"
        return "M" if _change(self.left, self.right) is Change.METADATA else "C"


def compare(left: Content, right: Content, *, times: bool = False) -> list[Difference]:
    """The paths that differ, in order. Times of change only count with `times`."""
    key = _with_times if times else _without_times
    found = []
    for path in sorted(left.visible.keys() | right.visible.keys()):
        one, other = left.visible.get(path), right.visible.get(path)
        if one is None or other is None or key(one.entry) != key(other.entry):
            found.append(
                Difference(path, one.entry if one else None, other.entry if other else None)
            )
    return found


def _without_times(entry: IndexEntry) -> tuple[object, ...]:
    return (*_substance(entry), entry.mode, entry.uid, entry.gid, entry.xattrs)


def _with_times(entry: IndexEntry) -> tuple[object, ...]:
    return (*_without_times(entry), entry.mtime_ns)
