"""Which files a COPY or ADD takes, and where each goes: the same list is hashed and written."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from layertool.build.filehash import FileHashes
from layertool.build.gopath import clean
from layertool.build.ignore import Ignore
from layertool.build.modes import Chmod
from layertool.build.tree import Entry, Match, Tree


@dataclass(frozen=True, slots=True)
class Item:
    """One file to write.

    `target` is relative to the destination; "" is the destination itself. `named` marks a file
    given as a source: it goes *into* the destination when that turns out to be a directory, under
    `name`. `implied` marks a directory made only to hold something, whose attributes stay as they
    are when it exists.
    """

    entry: Entry
    target: str
    name: str = ""
    named: bool = False
    implied: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """All files of one instruction from one tree."""

    tree: Tree
    items: tuple[Item, ...]
    into_directory: bool  # the destination is a directory whether it exists or not
    empty_patterns: tuple[str, ...] = ()  # wildcards that matched nothing

    def inputs(self, hashes: FileHashes, chmod: Chmod | None) -> Iterator[tuple[str, str]]:
        """(name, everything that the layer will depend on) for each file. No times."""
        for item in self.items:
            yield item.target or item.name, _fingerprint(self.tree, item, hashes, chmod)


def names_directory(dest: str) -> bool:
    """Whether a destination says itself that it is a directory."""
    return dest.endswith("/") or dest.rpartition("/")[2] in (".", "..", "")


def select(
    tree: Tree,
    sources: Sequence[str],
    dest: str,
    *,
    parents: bool = False,
    exclude: Iterable[str] = (),
) -> Selection:
    """Resolve sources in a tree. Raises NotFound, BadPattern."""
    excluded = Ignore.of_patterns(exclude, "--exclude")
    items: list[Item] = []
    empty: list[str] = []
    count = 0
    for source in sources:
        found = _with_parents(tree, source) if parents else _plain(tree, source)
        count += len(found)
        if not found:
            empty.append(source)
        for match, base in found:
            items += _take(tree, match, base, excluded)
    into_directory = parents or count > 1 or names_directory(dest)
    return Selection(tree, tuple(_unique(items)), into_directory, tuple(empty))


def _plain(tree: Tree, source: str) -> list[tuple[Match, str | None]]:
    """Matches that go to the destination itself."""
    return [(match, None) for match in tree.glob(source)]


def _with_parents(tree: Tree, source: str) -> list[tuple[Match, str | None]]:
    """Matches that keep their path, from `/./` on where the source has one; `**` spans parts."""
    base, pivot, pattern = source.partition("/./")
    if not pivot:
        base, pattern = "", source
    prefix = clean("/" + base)[1:]
    pattern = clean("/" + pattern)[1:]
    if "**" not in pattern.split("/"):
        joined = f"{prefix}/{pattern}" if prefix else pattern
        return [(match, prefix) for match in tree.glob(joined)]
    rule = Ignore.of_patterns([pattern], source).rules[0]
    top = tree.find(prefix)
    cut = len(top.path) + 1 if top.path else 0
    return [
        (Match(entry.path, entry), top.path)
        for entry in tree.walk(top)
        if not entry.is_dir and rule.matches(entry.path[cut:])
    ]


def _take(tree: Tree, match: Match, base: str | None, excluded: Ignore) -> Iterator[Item]:
    """The items of one match. `base` is what to cut off the path when parents are kept."""
    if base is not None:
        yield from _kept_parents(tree, match, base)
    prefix = "" if base is None else match.path[len(base) :].strip("/")
    if not match.entry.is_dir:
        if not excluded.verdict(prefix or match.name).ignored:
            yield Item(match.entry, prefix, match.name, named=base is None)
        return
    yield Item(match.entry, prefix)
    cut = len(match.entry.path) + 1 if match.entry.path else 0
    # Each directory's verdict is needed below it, parents come first.
    verdicts = {"": excluded.root if base is None else excluded.verdict(prefix)}

    def skip(entry: Entry) -> bool:
        relative = entry.path[cut:]
        parent = verdicts.get(relative.rpartition("/")[0], excluded.root)
        shown = f"{prefix}/{relative}" if prefix else relative
        verdicts[relative] = excluded.step(shown, parent)
        return verdicts[relative].ignored and (not entry.is_dir or excluded.can_skip(shown))

    for entry in tree.walk(match.entry, skip):
        relative = entry.path[cut:]
        if not verdicts[relative].ignored:
            yield Item(entry, f"{prefix}/{relative}" if prefix else relative)


def _kept_parents(tree: Tree, match: Match, base: str) -> Iterator[Item]:
    parts = match.path[len(base) :].strip("/").split("/")[:-1]
    for end in range(1, len(parts) + 1):
        path = "/".join(parts[:end])
        yield Item(tree.find(f"{base}/{path}" if base else path), path, implied=True)


def _unique(items: Iterable[Item]) -> Iterator[Item]:
    """Parents that several sources share come once."""
    seen: set[str] = set()
    for item in items:
        if item.implied:
            if item.target in seen:
                continue
            seen.add(item.target)
        yield item


def _fingerprint(tree: Tree, item: Item, hashes: FileHashes, chmod: Chmod | None) -> str:
    info = item.entry.info
    mode = stat.S_IMODE(info.st_mode)
    if chmod is not None and not stat.S_ISLNK(info.st_mode):
        # The mode that the layer will have: the host's own must not decide about the cache
        # (buildx #1311).
        mode = chmod(mode, item.entry.is_dir)
    ids = " {}:{}".format(*tree.owner(item.entry)) if tree.keep_ids else ""
    if stat.S_ISLNK(info.st_mode):
        return f"link{ids} -> {tree.read_link(item.entry.path)}"
    if stat.S_ISREG(info.st_mode):
        attributes = "".join(
            f" {name}={value.hex()}" for name, value in tree.xattrs(item.entry.path).items()
        )
        content = hashes.of(tree, item.entry)
        return f"file {mode:o}{ids} {info.st_size} {content}{attributes}"
    kind = "dir" if item.entry.is_dir else f"special {stat.S_IFMT(info.st_mode):o} {info.st_rdev}"
    return f"{kind} {mode:o}{ids}"
