"""Random stacks and sequences, as hypothesis strategies that shrink towards short plain ones.

Names come from a small pool, for most bugs need several operations on one name. A `Picture` of what
probably exists makes most operations meet something; it is a guess, never a judgement. What the
two drivers cannot both do is left out (`features`), so that every example compares something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from unionfs.testing import language as op
from unionfs.testing.compare import Case
from unionfs.testing.drivers import Driver
from unionfs.testing.language import Operation
from unionfs.testing.layers import (
    Entry,
    Layer,
    Layers,
    directory,
    file,
    hardlink,
    merged,
    symlink,
    whiteout,
)
from unionfs.testing.rules import RECENT_NS

POOL = (
    "a", "b", "new", "d", "d/a", "d/b", "d/new", "d/e", "d/e/a", "d/e/new", "p", "p/a", "dnew",
    "dnew/a", "link", "fifo",
)  # fmt: skip
SLOTS = st.integers(0, 2)
TEXTS = st.sampled_from(("x", "hello\n", "0123456789abcdef", ""))
TIMES = st.sampled_from((1, 3, 700, 5000))
SIZES = st.sampled_from((0, 1, 5, 100, 4096, 70_000))
MODES = st.sampled_from((0o644, 0o755, 0o600, 0o4755, 0o2750, 0o1777))
IDS = st.sampled_from((0, 1000, 1001))
ACTORS = st.sampled_from((0, 0, 0, 0, 0, 0, 2, 3, 1))
STAMPS = st.integers(0, RECENT_NS - 1)
XATTRS = st.sampled_from(("user.a", "user.bb", "trusted.a"))
LOCKS = st.sampled_from(("shared", "exclusive", "unlock"))
BITS = st.integers(0, 7)
OPEN_FLAGS = st.sampled_from(
    ("RDONLY", "RDWR", "WRONLY", "RDWR|CREAT", "RDWR|CREAT|EXCL", "WRONLY|TRUNC", "RDWR|APPEND",
     "RDONLY|NOFOLLOW", "RDONLY|TRUNC")
)  # fmt: skip

# Arguments that depend on the picture: a path that exists, one of a file or a directory, a free
# name in an existing directory, an open descriptor, stream or mapping of the actor.
PATH, FILE, DIRECTORY, FREE, FD, STREAM, AREA = (
    "path",
    "file",
    "dir",
    "free",
    "fd",
    "stream",
    "area",
)

Argument = str | st.SearchStrategy[Any]

# Every operation of the generator: how often, and its arguments in order.
TABLE: tuple[tuple[type[Operation], int, tuple[Argument, ...]], ...] = (
    (op.Stat, 1, (PATH,)),
    (op.ReadFile, 1, (FILE,)),
    (op.ListDir, 1, (DIRECTORY,)),
    (op.WriteFile, 3, (FILE, TEXTS, TIMES, st.sampled_from(("truncate", "append", "inside")))),
    (op.Create, 3, (FREE, MODES)),
    (op.Mkdir, 4, (FREE, MODES)),
    (op.Unlink, 4, (FILE,)),
    (op.Rmdir, 3, (DIRECTORY,)),
    (op.RemoveTree, 2, (DIRECTORY,)),
    (op.Rename, 4, (PATH, FREE, st.sampled_from(("", "", "noreplace")))),
    (op.Rename, 3, (PATH, PATH, st.sampled_from(("", "", "exchange")))),
    (op.Link, 2, (FILE, FREE)),
    (op.Symlink, 1, (PATH, FREE)),
    (op.Readlink, 1, (PATH,)),
    (op.Mknod, 2, (FREE, st.sampled_from(("fifo", "socket", "char", "block", "file")), MODES,
                   st.integers(0, 1), st.integers(0, 3))),
    (op.Chmod, 2, (PATH, MODES)),
    (op.Chown, 2, (PATH, IDS, IDS)),
    (op.Utimens, 2, (PATH, STAMPS, STAMPS)),
    (op.Truncate, 2, (FILE, SIZES)),
    (op.Access, 1, (PATH, st.sampled_from(("exists", "read", "write", "execute")))),
    (op.SetXattr, 2, (PATH, XATTRS, TEXTS, st.sampled_from(("any", "create", "replace")))),
    (op.GetXattr, 1, (PATH, XATTRS)),
    (op.RemoveXattr, 1, (PATH, XATTRS)),
    (op.ListXattrs, 1, (PATH,)),
    (op.SetDefaultAcl, 1, (DIRECTORY, BITS, BITS, BITS)),
    (op.Umask, 1, (st.sampled_from((0o022, 0o077, 0)),)),
    (op.Open, 5, (SLOTS, FILE, OPEN_FLAGS, MODES)),
    (op.Open, 2, (SLOTS, FREE, st.sampled_from(("RDWR|CREAT", "RDWR|CREAT|EXCL")), MODES)),
    (op.Close, 1, (FD,)),
    (op.Read, 2, (FD, SIZES, st.none() | SIZES)),
    (op.Write, 3, (FD, TEXTS, TIMES, st.none() | SIZES)),
    (op.Seek, 1, (FD, SIZES, st.sampled_from(("set", "cur", "end")))),
    (op.Ftruncate, 1, (FD, SIZES)),
    (op.Fstat, 2, (FD,)),
    (op.Fsync, 1, (FD,)),
    (op.Fchmod, 1, (FD, MODES)),
    (op.Fchown, 1, (FD, IDS, IDS)),
    (op.Futimens, 1, (FD, STAMPS, STAMPS)),
    (op.Fsetxattr, 1, (FD, XATTRS, TEXTS)),
    (op.Reopen, 1, (SLOTS, FD, st.sampled_from(("RDONLY", "RDWR")))),
    (op.LinkFd, 1, (FD, FREE)),
    (op.CopyRange, 1, (FD, FD, SIZES)),
    (op.Map, 1, (SLOTS, FD, st.just(4096), st.sampled_from(("read", "write")))),
    (op.MapWrite, 1, (AREA, st.just(0), TEXTS)),
    (op.Unmap, 1, (AREA,)),
    (op.Flock, 1, (FD, LOCKS)),
    (op.PosixLock, 1, (FD, LOCKS, st.just(0), st.just(10))),
    (op.OpenDir, 2, (SLOTS, DIRECTORY)),
    (op.ReadDir, 2, (STREAM, st.just(1000))),
    (op.RewindDir, 1, (STREAM,)),
    (op.CloseDir, 1, (STREAM,)),
    (op.Remount, 1, ()),
)  # fmt: skip


@dataclass
class Picture:
    """What probably exists while a sequence is made up: path to kind, and the slots in use."""

    kinds: dict[str, str]
    slots: dict[str, set[tuple[int, int]]] = field(
        default_factory=lambda: {FD: set(), STREAM: set(), AREA: set()}
    )

    def choices(self, role: str, who: int) -> list[Any]:
        """The values that an argument can have, likely ones first; empty when there are none."""
        if role in self.slots:
            return sorted(slot for actor, slot in self.slots[role] if actor == who)
        if role == FREE:
            return [p for p in POOL if p not in self.kinds and self.is_dir(p.rpartition("/")[0])]
        if role == DIRECTORY:
            return [".", *(p for p, kind in self.kinds.items() if kind == "dir")]
        if role == FILE:
            return [p for p, kind in self.kinds.items() if kind != "dir"]
        return list(self.kinds)

    def is_dir(self, path: str) -> bool:
        """Whether names can be made there."""
        return not path or self.kinds.get(path) == "dir"

    def note(self, operation: Operation) -> None:
        """Believe that the operation succeeded."""
        who = operation.who
        match operation:
            case op.Create(path=p) | op.Mknod(path=p) | op.Symlink(path=p) | op.WriteFile(path=p):
                self.kinds.setdefault(p, "file")
            case op.Link(target=p) | op.LinkFd(path=p):
                self.kinds.setdefault(p, "file")
            case op.Mkdir(path=p):
                self.kinds.setdefault(p, "dir")
            case op.Unlink(path=p) | op.Rmdir(path=p) | op.RemoveTree(path=p):
                self.remove(p)
            case op.Rename(source=a, target=b, flags=""):
                self.move(a, b)
            case op.Open(fd=n, path=p):
                self.kinds.setdefault(p, "file")
                self.slots[FD].add((who, n))
            case op.Reopen(fd=n):
                self.slots[FD].add((who, n))
            case op.Close(fd=n):
                self.slots[FD].discard((who, n))
            case op.Map(area=n):
                self.slots[AREA].add((who, n))
            case op.Unmap(area=n):
                self.slots[AREA].discard((who, n))
            case op.OpenDir(stream=n):
                self.slots[STREAM].add((who, n))
            case op.CloseDir(stream=n):
                self.slots[STREAM].discard((who, n))
            case op.Remount():
                for used in self.slots.values():
                    used.clear()

    def remove(self, path: str) -> None:
        """Take a path and what is below it out."""
        self.kinds = {p: k for p, k in self.kinds.items() if not f"{p}/".startswith(f"{path}/")}

    def move(self, source: str, target: str) -> None:
        """Rename a path and what is below it."""
        moved = {p: k for p, k in self.kinds.items() if f"{p}/".startswith(f"{source}/")}
        self.remove(source)
        self.remove(target)
        self.kinds.update({target + p[len(source) :]: k for p, k in moved.items()})


def features(left: Driver, right: Driver) -> frozenset[str]:
    """What may be generated for these two."""
    found = set()
    if "coherent-hardlinks" in left.traits & right.traits:
        # Kernel overlayfs with index=off breaks a lower hard link at the first write.
        found.add("lower-hardlinks")
    if "userns" not in (left.place, right.place):
        found.add("devices")  # a user namespace may make none
    return frozenset(found)


@st.composite
def sequences(draw: st.DrawFn, layers: Layers, allowed: frozenset[str], longest: int) -> Any:
    """A tuple of operations for a stack."""
    picture = Picture({entry.path: entry.kind for entry in merged(layers)})
    made = []
    for _ in range(draw(st.integers(1, longest))):
        operation = draw(steps(picture, allowed, draw(ACTORS)))
        picture.note(operation)
        made.append(operation)
    return tuple(made)


def steps(picture: Picture, allowed: frozenset[str], who: int) -> st.SearchStrategy[Operation]:
    """One operation of an actor that makes sense in the picture."""
    rows: list[int] = []
    for number, (kind, weight, arguments) in enumerate(TABLE):
        feasible = all(picture.choices(a, who) for a in arguments if isinstance(a, str))
        if feasible and (kind is not op.Mknod or "devices" in allowed):
            rows += [number] * weight
    return st.sampled_from(rows).flatmap(lambda number: build(picture, number, who))


def build(picture: Picture, row: int, who: int) -> st.SearchStrategy[Operation]:
    """One operation of a row of the table."""
    kind, _, arguments = TABLE[row]
    values = [argument(picture, a, who) if isinstance(a, str) else a for a in arguments]
    if issubclass(kind, op.BenchOperation):
        return st.builds(kind, *values)
    return st.builds(kind, *values, who=st.just(who))


def argument(picture: Picture, role: str, who: int) -> st.SearchStrategy[Any]:
    """A likely value; now and then, for a path, any of the pool."""
    likely = st.sampled_from(picture.choices(role, who))
    if role in picture.slots:
        return likely
    return st.integers(0, 9).flatmap(lambda n: likely if n else st.sampled_from(POOL))


BASE: Layer = (
    file("a", "lower a\n"),
    file("b", "lower b\n", mode=0o4755, uid=1000, gid=1000),
    directory("d", mode=0o2775, gid=1000),
    file("d/a", "0123456789", times=2000, mode=0o600, uid=1000),
    file("d/b", "sparse", size=300_000, xattrs={"user.a": "1", "trusted.a": "2"}),
    directory("d/e"),
    file("d/e/a", "deep\n"),
    directory("p", mode=0o1777),
    file("p/a", "sticky\n", uid=1001),
    symlink("link", "d/a"),
    Entry("fifo", "fifo", mode=0o644),
)
MIDDLE: Layer = (
    whiteout("b"),
    directory("d", mode=0o755),
    file("d/a", "middle\n", uid=1001, gid=1001),
    directory("d/e", opaque=True),
    file("d/e/b", "above the opaque mark\n"),
)
TOP: Layer = (directory("d"), whiteout("d/e"), file("p", "a file over a directory\n"))
HARDLINKS: Layer = (*BASE, hardlink("d/new", "a"), hardlink("p/b", "d/b"))
# A directory, over a file, over a directory: the file ends the merge.
OVER: Layer = (directory("p"), file("p/new", "above the file\n"))
FIXED: tuple[Layers, ...] = (
    (BASE,),
    (MIDDLE, BASE),
    (TOP, BASE),
    (TOP, MIDDLE, BASE),
    (OVER, TOP, BASE),
)
LINKED: tuple[Layers, ...] = ((HARDLINKS,), (MIDDLE, HARDLINKS))

ENTRY_MAKERS: tuple[Callable[[str], Entry], ...] = (
    lambda path: file(path, "random\n"),
    lambda path: directory(path),
    lambda path: file(path, "", mode=0o6755),
    lambda path: file(path, "sparse", size=300_000),
    lambda path: symlink(path, "a"),
    lambda path: directory(path, mode=0o2755, opaque=True),
)


@st.composite
def random_layers(draw: st.DrawFn) -> Layers:
    """One to three layers over the names of the pool; parents are made as needed."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        layer: dict[str, Entry] = {}
        for path in draw(st.lists(st.sampled_from(POOL), max_size=6, unique=True)):
            above = parents(path)
            if path in layer or any(layer[p].kind != "dir" for p in above if p in layer):
                continue
            for parent in above:
                layer.setdefault(parent, directory(parent))
            layer[path] = draw(st.sampled_from(ENTRY_MAKERS))(path)
        made.append(tuple(sorted(layer.values(), key=lambda e: e.path)))
    return tuple(made)


def parents(path: str) -> list[str]:
    """The directories above a path."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def cases(left: Driver, right: Driver, longest: int = 20) -> st.SearchStrategy[Case]:
    """Cases for two drivers."""
    allowed = features(left, right)
    fixed = (*FIXED, *LINKED) if "lower-hardlinks" in allowed else FIXED
    stacks = st.sampled_from(fixed) | st.sampled_from(fixed) | random_layers()
    return stacks.flatmap(
        lambda layers: st.builds(Case, st.just(layers), sequences(layers, allowed, longest))
    )
