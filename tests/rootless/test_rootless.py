"""The union without root: in a namespace of one id, with a range of ids, and outside of any.

The work itself is in scenario.py, which runs inside the namespaces. What the union showed must
be there after a remount, and the kernel's overlayfs must show the same from the same upper.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fstest import trees
from fstest.trees import Tree

SCENARIO = Path(__file__).with_name("scenario.py")
SUPPORT = Path(__file__).parent.parent / "support"

ONE_ID = ("unshare", "--user", "--map-root-user", "--mount")
RANGE = ("unshare", "--user", "--map-root-user", "--map-auto", "--mount")


@dataclass(frozen=True)
class Context:
    """`enter` starts a program where the union is mounted, `oracle` where the kernel looks."""

    enter: tuple[str, ...]
    oracle: tuple[str, ...]
    arguments: tuple[str, ...] = ()


CONTEXTS = [
    pytest.param(Context(ONE_ID, ONE_ID), id="one-id", marks=pytest.mark.needs("userns")),
    pytest.param(Context(RANGE, RANGE, ("ids",)), id="id-range", marks=pytest.mark.needs("subids")),
    pytest.param(
        Context((), ONE_ID), id="fusermount3", marks=pytest.mark.needs("fusermount3", "userns")
    ),
]

pytestmark = [pytest.mark.mounted, pytest.mark.needs("unprivileged", "xattrs")]


def run(enter: tuple[str, ...], step: str, base: Path, *arguments: str) -> None:
    done = subprocess.run(
        [*enter, sys.executable, str(SCENARIO), step, str(base), *arguments],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"


def load(path: Path) -> Tree:
    tree: Tree = pickle.loads(path.read_bytes())
    return tree


def as_root_of_the_namespace(tree: Tree) -> Tree:
    """The owner outside is root inside; both are the same person."""
    ids = {os.getuid(): 0}, {os.getgid(): 0}
    return {
        path: dataclasses.replace(
            entry,
            uid=ids[0].get(entry.uid, entry.uid),
            gid=ids[1].get(entry.gid, entry.gid),
        )
        for path, entry in tree.items()
    }


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # Files of other ids, and work directories of mode 0, are only the namespace's root's to delete.
    if subprocess.run([*RANGE, "true"], capture_output=True).returncode == 0:
        subprocess.run(
            [*RANGE, "find", str(tmp_path), "-mindepth", "1", "-delete"], check=True, timeout=60
        )


@pytest.mark.parametrize("context", CONTEXTS)
def test_changes_survive_and_the_kernel_reads_them(context: Context, base: Path) -> None:
    run(context.enter, "union", base, *context.arguments)
    live = load(base / "live")
    trees.assert_same(live, load(base / "remounted"))
    run(context.oracle, "kernel", base)
    ours = live if context.enter else as_root_of_the_namespace(live)
    trees.assert_same(ours, load(base / "kernel"))


@pytest.mark.parametrize("context", CONTEXTS)
def test_nothing_private_or_unreadable_is_left_in_upper(context: Context, base: Path) -> None:
    """Kernel names only: char 0:0 whiteouts and user.overlay.*, so that native tools go on."""
    run(context.enter, "union", base, *context.arguments)
    run(context.enter, "upper", base)
    tree = load(base / "raw")
    names = {name for entry in tree.values() for name, _ in entry.xattrs}
    assert not [path for path in tree if b".wh." in path]
    assert {name for name in names if "overlay" in name} <= {
        "user.overlay.opaque",
        "user.overlay.origin",
        "user.overlay.impure",
    }
    whiteouts = {path for path, entry in tree.items() if entry.type == "c"}
    assert b"etc/obsolete" in whiteouts and b"cache" in whiteouts
