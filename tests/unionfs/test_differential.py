"""The same random calls on kernel overlayfs and on ours: errno by errno, tree by tree.

Each example makes random layers, runs random operations on both, then compares what every call
answered, the merged trees, ours after a remount, the kernel on our upper and ours on the kernel's.
The kernel's own quirks are kept out by construction: whiteouts only where something is below.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fstest import drivers, layers, trees
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytestmark = [pytest.mark.mounted, pytest.mark.differential]

LONG = int(os.environ.get("UNIONFS_FUZZ_EXAMPLES", "0"))
_libc = ctypes.CDLL(None, use_errno=True)

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ENTRIES = st.one_of(
    st.binary(max_size=6).map(layers.File),
    st.sampled_from([layers.File(b"x", mode=0o4755), layers.File(b"", mode=0o600)]),
    st.sampled_from([layers.Directory(), layers.Directory(mode=0o2775), layers.Opaque()]),
    st.sampled_from([layers.Symlink("a"), layers.Symlink("/b"), layers.Fifo(), layers.Whiteout()]),
)
LAYERS = st.lists(st.dictionaries(PATHS, ENTRIES, max_size=7), min_size=1, max_size=3)


@dataclass(frozen=True)
class Op:
    """One call; `number` is whatever the call needs one for."""

    name: str
    path: str
    other: str
    number: int


OPS = st.lists(
    st.builds(
        Op,
        st.sampled_from(
            [
                "create",
                "write",
                "append",
                "mkdir",
                "unlink",
                "rmdir",
                "rename",
                "link",
                "symlink",
                "chmod",
                "chown",
                "truncate",
                "utime",
                "setxattr",
                "removexattr",
                "fifo",
                "exchange",
                "noreplace",
                "rmtree",
                "read",
                "ls",
                "stat",
                "open",
            ]
        ),
        PATHS,
        PATHS,
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=25,
)


class Runner:
    """Carries out operations below one mountpoint and remembers what each answered."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: list[object] = []
        self.open: list[int] = []

    def run(self, ops: list[Op]) -> list[object]:
        for op in ops:
            call: Callable[[str, str, int], object] = getattr(self, f"op_{op.name}")
            try:
                answer = call(f"{self.root}/{op.path}", f"{self.root}/{op.other}", op.number)
            except OSError as error:
                answer = f"errno {error.errno}"
            self.answers.append((op, answer))
        for fd in self.open:
            self.answers.append((os.fstat(fd).st_size, os.pread(fd, 100, 0)))
            os.close(fd)
        return self.answers

    def op_create(self, path: str, other: str, n: int) -> None:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o640 + n % 8)
        os.write(fd, b"new%d" % n)
        os.close(fd)

    def op_write(self, path: str, other: str, n: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.pwrite(fd, b"W%d" % n, n)
        os.close(fd)

    def op_append(self, path: str, other: str, n: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        os.write(fd, b"A%d" % n)
        os.close(fd)

    def op_mkdir(self, path: str, other: str, n: int) -> None:
        os.mkdir(path, 0o2750 if n == 0 else 0o755)

    def op_unlink(self, path: str, other: str, n: int) -> None:
        os.unlink(path)

    def op_rmdir(self, path: str, other: str, n: int) -> None:
        os.rmdir(path)

    def op_rename(self, path: str, other: str, n: int) -> None:
        os.rename(path, other)

    def op_exchange(self, path: str, other: str, n: int) -> None:
        self._renameat2(path, other, 2)

    def op_noreplace(self, path: str, other: str, n: int) -> None:
        self._renameat2(path, other, 1)

    def _renameat2(self, path: str, other: str, flags: int) -> None:
        if _libc.renameat2(-100, path.encode(), -100, other.encode(), flags) < 0:
            raise OSError(ctypes.get_errno(), "renameat2")

    def op_link(self, path: str, other: str, n: int) -> None:
        os.link(path, other, follow_symlinks=False)

    def op_symlink(self, path: str, other: str, n: int) -> None:
        os.symlink(f"t{n}", path)

    def op_chmod(self, path: str, other: str, n: int) -> None:
        if not os.path.islink(path):
            os.chmod(path, 0o600 + n)

    def op_chown(self, path: str, other: str, n: int) -> None:
        os.chown(path, n, n, follow_symlinks=False)

    def op_truncate(self, path: str, other: str, n: int) -> None:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            os.truncate(path, n)

    def op_utime(self, path: str, other: str, n: int) -> None:
        os.utime(path, ns=(n, n * 1_000_000_007), follow_symlinks=False)

    def op_setxattr(self, path: str, other: str, n: int) -> None:
        if not os.path.islink(path):
            os.setxattr(path, "user.t", b"%d" % n)

    def op_removexattr(self, path: str, other: str, n: int) -> None:
        if not os.path.islink(path):
            os.removexattr(path, "user.t")

    def op_fifo(self, path: str, other: str, n: int) -> None:
        os.mkfifo(path)

    def op_rmtree(self, path: str, other: str, n: int) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def op_read(self, path: str, other: str, n: int) -> bytes | None:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        return Path(path).read_bytes()

    def op_ls(self, path: str, other: str, n: int) -> list[str]:
        return sorted(os.listdir(path))

    def op_stat(self, path: str, other: str, n: int) -> tuple[int, int]:
        found = os.lstat(path)
        return found.st_mode, 0 if stat.S_ISDIR(found.st_mode) else found.st_size

    def op_open(self, path: str, other: str, n: int) -> None:
        if stat.S_ISREG(os.lstat(path).st_mode):
            self.open.append(os.open(path, os.O_RDWR if n % 2 else os.O_RDONLY))


def build(base: Path, tables: list[dict[str, layers.Entry]]) -> tuple[Path, ...]:
    """Layer directories, top first, as overlayfs itself could have written them."""
    roots = tuple(base / f"lower{place}" for place in range(len(tables)))
    for root, table in zip(roots, tables, strict=True):
        root.mkdir()
        for path, entry in table.items():
            below = isinstance(entry, layers.Whiteout | layers.Opaque)
            if not below:
                _place(root, path, entry)
    for place, (root, table) in enumerate(zip(roots, tables, strict=True)):
        for path, entry in table.items():
            if isinstance(entry, layers.Opaque):
                _place(root, path, entry)
        for path, entry in table.items():
            if isinstance(entry, layers.Whiteout) and _can_hide(roots[place:], path):
                _place(root, path, entry)
        for name, _, _ in os.walk(root):
            os.utime(name, (10**9, 10**9))
    return roots


def _place(root: Path, path: str, entry: layers.Entry) -> None:
    if os.path.lexists(root / path):
        return
    try:
        layers.build(root, {path: entry})
    except OSError:
        pass  # a parent is no directory here


def _can_hide(stack: tuple[Path, ...], path: str) -> bool:
    """Whether a whiteout at *path* in the top of *stack* hides something, its parents merged."""
    parents = [str(parent) for parent in Path(path).parents if str(parent) != "."]
    for parent in parents:
        real = stack[0] / parent
        if real.is_dir() and "trusted.overlay.opaque" in os.listxattr(real):
            return False
    below = stack[1] if len(stack) > 1 else None
    if below is None or not os.path.lexists(below / path):
        return False
    return all(
        (below / parent).is_dir() and not (below / parent).is_symlink() for parent in parents
    )


@contextmanager
def mounted(
    driver: drivers.Driver, base: Path, lowers: tuple[Path, ...], side: str, *options: str
) -> Iterator[Path]:
    upper, work, point = base / side / "upper", base / side / "work", base / "mnt"
    for directory in (upper, work, point):
        directory.mkdir(parents=True, exist_ok=True)
    with drivers.mount(driver, drivers.Stack(lowers, upper, work, options), point):
        yield point


IGNORE = frozenset({"mtime_ns", "links"})


def compare(one: trees.Tree, two: trees.Tree, what: str) -> None:
    found = trees.differences(one, two, ignore=IGNORE)
    assert not found, f"{what} (kernel, ours):\n" + "\n".join(map(str, found))


def run_example(
    tables: list[dict[str, layers.Entry]],
    ops: list[Op],
    kernel: tuple[str, ...],
    ours: tuple[str, ...],
) -> None:
    base = Path(tempfile.mkdtemp(prefix="differential-"))
    try:
        lowers = build(base, tables)
        with mounted(drivers.KERNEL, base, lowers, "kernel", *kernel) as point:
            kernel_answers = Runner(point).run(ops)
            kernel_tree = trees.snapshot(point)
        with mounted(drivers.UNIONFS, base, lowers, "ours", *ours) as point:
            our_answers = Runner(point).run(ops)
            our_tree = trees.snapshot(point)
        assert our_answers == kernel_answers
        compare(kernel_tree, our_tree, "merged view")
        with mounted(drivers.UNIONFS, base, lowers, "ours", *ours) as point:
            compare(kernel_tree, trees.snapshot(point), "ours after a remount")
        with mounted(drivers.KERNEL, base, lowers, "ours", *kernel) as point:
            compare(kernel_tree, trees.snapshot(point), "the kernel on our upper")
        with mounted(drivers.UNIONFS, base, lowers, "kernel", *ours) as point:
            compare(kernel_tree, trees.snapshot(point), "ours on the kernel's upper")
    finally:
        subprocess.run(["rm", "-rf", str(base)], check=True)


FUZZ = settings(
    max_examples=LONG or 25,
    deadline=None,
    derandomize=not LONG,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@FUZZ
@given(LAYERS, OPS)
@example([{"a/b": layers.File(b"x")}], [Op("rename", "a", "c", 0), Op("mkdir", "a", "a", 1)])
def test_redirect_dir_on(tables: list[dict[str, layers.Entry]], ops: list[Op]) -> None:
    run_example(tables, ops, ("redirect_dir=on", "index=off"), ())


@FUZZ
@given(LAYERS, OPS)
def test_redirect_dir_off(tables: list[dict[str, layers.Entry]], ops: list[Op]) -> None:
    run_example(tables, ops, ("redirect_dir=off", "index=off"), ("redirect_dir=off",))


@settings(FUZZ, max_examples=LONG or 15)
@given(LAYERS, OPS, st.lists(st.tuples(PATHS, PATHS), min_size=1, max_size=3))
def test_hard_links_with_index(
    tables: list[dict[str, layers.Entry]], ops: list[Op], links: list[tuple[str, str]]
) -> None:
    """The kernel keeps a lower's hard links only with index=on; we always do."""
    bottom: dict[str, layers.Entry] = {}
    for source, target in links:
        bottom.setdefault(source, layers.File(b"linked"))
        if isinstance(bottom[source], layers.File) and target not in bottom:
            bottom[target] = layers.HardLink(source)
    run_example([*tables[:2], bottom], ops, ("redirect_dir=on", "index=on"), ())
