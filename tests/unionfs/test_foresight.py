"""What is looked up before it is asked for: the right things, not too many, and never an error."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fstest import layers

from unionfs.foresight import PIECE, Foresight
from unionfs.layer import DirFds, Layer
from unionfs.tree import Dir, Node, Stack, Tree

FILES = [f"f{number:02d}" for number in range(3 * PIECE)]
TABLE: layers.Table = {
    **{f"a/{name}": "x" for name in FILES},
    "a/below/deep": "x",
    "b/one": "x",
    "b/two": "x",
    "c/three": "x",
}


class Scene:
    """A tree, the foresight about it, and a client that lists and opens."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fds = DirFds(64, last=1 << 20)
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        layer = Layer(fd, 0, os.fsencode(root), self.fds, aufs=True)
        self.tree = Tree(Stack(None, (layer,)), self.fds, lambda node, found: found)
        self.stored: list[bytes] = []
        self.foresight = Foresight(self.tree, lambda node: self.stored.append(node.name))

    def close(self) -> None:
        self.fds.close()
        os.close(self.tree.stack.lowers[0].root_fd)

    def dir(self, path: str) -> Dir:
        node = self.tree.resolve(os.fsencode(path))
        assert isinstance(node, Dir)
        return node

    def open(self, path: str) -> None:
        node = self.dir(path)
        self.foresight.opened(node, list(self.tree.children(node)))

    def list(self, path: str) -> None:
        """Open it, ask for all names, and have each counted as the kernel does."""
        self.open(path)
        node = self.dir(path)
        for name in list(self.tree.children(node)):
            child = self.tree.lookup(node, name)
            assert child is not None
            child.lookups += 1
        self.foresight.listed(node, [], 0)

    def read(self, path: str) -> None:
        node = self.tree.resolve(os.fsencode(path))
        assert node is not None
        self.foresight.reading(node)

    def known(self, path: str) -> int:
        """How many names in that directory have been looked up."""
        children = self.dir(path).children
        return sum(isinstance(child, Node) for child in (children or {}).values())

    def rest(self) -> int:
        """Have time to spare; the number of pieces that were done."""
        steps = 0
        while self.foresight.step():
            steps += 1
        return steps


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    layers.build(tmp_path / "root", TABLE)
    made = Scene(tmp_path / "root")
    yield made
    made.close()


def test_nothing_is_foreseen_at_first(scene: Scene) -> None:
    assert not scene.foresight.step()


def test_a_listing_is_looked_up_piece_by_piece(scene: Scene) -> None:
    scene.open("a")
    assert scene.known("a") == 0
    assert scene.foresight.step()
    assert scene.known("a") in (PIECE - 1, PIECE)  # of which one is a directory
    scene.rest()
    assert scene.known("a") == len(FILES)


def test_a_single_listing_leads_nowhere(scene: Scene) -> None:
    scene.list("")
    scene.rest()
    assert all(scene.dir(name).children is None for name in "abc")


def test_a_walk_finds_the_next_directory_merged_and_no_other(scene: Scene) -> None:
    scene.list("")
    order = [os.fsdecode(name) for name in scene.tree.children(scene.tree.root)]
    scene.list(order[0])
    scene.rest()
    ahead = "a/below" if order[0] == "a" else order[1]
    merged = [path for path in ("a", "a/below", "b", "c") if scene.dir(path).children is not None]
    assert sorted(merged) == sorted([order[0], ahead])


def test_a_large_directory_is_left_to_whoever_opens_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unionfs.foresight.LARGE_BYTES", 0)
    scene.list("")
    scene.list("b")
    scene.rest()
    assert scene.dir("a").children is None
    assert scene.dir("c").children is None


def test_who_reads_in_order_gets_the_next_file(scene: Scene) -> None:
    scene.list("")
    scene.list("a")
    scene.rest()
    names = [os.fsdecode(name) for name in scene.tree.children(scene.dir("a"))]
    names.remove("below")
    scene.read(f"a/{names[0]}")
    scene.rest()
    assert scene.stored == [os.fsencode(names[1])]
    scene.read(f"a/{names[1]}")
    scene.rest()
    assert scene.stored == [os.fsencode(name) for name in names[1:3]]
    scene.read(f"a/{names[0]}")  # not in order
    scene.rest()
    scene.read(f"a/{names[-1]}")
    assert len(scene.stored) == 2


def test_a_file_that_was_not_listed_foretells_nothing(scene: Scene) -> None:
    scene.read("b/one")
    assert scene.rest() == 0
    assert not scene.stored


def test_a_directory_that_went_is_no_error(scene: Scene) -> None:
    scene.list("")
    scene.open("a")
    shutil.rmtree(scene.root / "a")
    scene.rest()
    scene.list("b")
    shutil.rmtree(scene.root / "c")
    scene.rest()
    assert scene.known("a") == 0


def test_a_bug_is_reported_and_goes_no_further(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(node: Node) -> None:
        raise ZeroDivisionError

    scene.foresight._store = fail
    scene.list("")
    scene.list("b")
    scene.rest()
    first, _ = scene.tree.children(scene.dir("b"))
    scene.read("b/" + os.fsdecode(first))
    scene.rest()
    assert "looking ahead failed" in caplog.text


def test_what_was_looked_up_for_nothing_goes_with_its_directory(scene: Scene) -> None:
    scene.list("")
    scene.list("a")
    scene.rest()
    before = len(scene.tree.nodes)
    node = scene.dir("b")
    scene.open("b")
    scene.rest()
    assert len(scene.tree.nodes) == before + 2
    scene.tree.forget(node.nid, node.lookups)
    assert len(scene.tree.nodes) == before - 1
