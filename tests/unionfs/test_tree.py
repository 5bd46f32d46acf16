"""The merged view against a model: random stacks of layers, no mount."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fstest import layers
from hypothesis import given, settings
from hypothesis import strategies as st

from unionfs.layer import DirFds, Layer
from unionfs.tree import ROOT_ID, Dir, Node, Stack, Tree, path_of
from unionfs.upper import remove_tree

pytestmark = pytest.mark.needs("root")

NAMES = st.sampled_from(["a", "b", "c", "\u00e9"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ENTRIES = st.sampled_from(
    [
        layers.File(b"data"),
        layers.Directory(),
        layers.Symlink("a"),
        layers.Whiteout(),
        layers.Opaque(),
        "aufs whiteout",
        "aufs opaque",
    ]
)
TABLES = st.lists(st.dictionaries(PATHS, ENTRIES, max_size=8), min_size=1, max_size=4)


def open_tree(roots: list[Path], *, aufs: bool = True, upper: Path | None = None) -> Tree:
    fds = DirFds(64, last=1 << 20)

    def layer(path: Path, index: int) -> Layer:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        return Layer(fd, index, os.fsencode(path), fds, aufs=aufs)

    top = layer(upper, -1) if upper else None
    lowers = tuple(layer(path, index) for index, path in enumerate(roots))
    return Tree(Stack(top, lowers), fds, lambda node, found: found)


def close_tree(tree: Tree) -> None:
    tree._fds.close()
    for layer in (*tree.stack.lowers, *([tree.stack.upper] if tree.stack.upper else [])):
        os.close(layer.root_fd)


def place(root: Path, path: str, entry: object) -> None:
    target = root / path
    if os.path.lexists(target):
        return
    try:
        if entry == "aufs whiteout":
            target = target.with_name(".wh." + target.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        elif entry == "aufs opaque":
            target.mkdir(parents=True)
            (target / ".wh..wh..opq").touch()
        else:
            layers.build(root, {path: entry})  # type: ignore[dict-item]
    except OSError:
        pass


# --- the model: what a stack shows, read off the disk naively ---


def model(roots: list[Path]) -> dict[str, str]:
    """path -> type of everything a union of *roots* (top first) shows."""
    found: dict[str, str] = {}
    names: dict[str, list[Path]] = {}
    hidden: set[str] = set()
    for root in roots:
        if root.is_symlink() or not root.is_dir():
            break
        below: set[str] = set()
        for item in sorted(root.iterdir()):
            info = item.lstat()
            if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                below.add(item.name)
            elif item.name.startswith(".wh."):
                below.add(item.name.removeprefix(".wh."))
            elif item.name not in hidden:
                chain = names.setdefault(item.name, [])
                is_dir = stat.S_ISDIR(info.st_mode)
                if not chain or (is_dir and chain[-1].is_dir() and not chain[-1].is_symlink()):
                    chain.append(item)
                if not is_dir:
                    below.add(item.name)
        hidden |= below
        if is_opaque(root):
            break
    for name, chain in names.items():
        kind = stat.S_IFMT(chain[0].lstat().st_mode)
        found[name] = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link"}[kind]
        if found[name] == "dir":
            found.update({f"{name}/{path}": what for path, what in model(chain).items()})
    return found


def is_opaque(root: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(root) or (root / ".wh..wh..opq").exists()


def shown(tree: Tree, node: Dir, prefix: str = "") -> dict[str, str]:
    found = {}
    for raw in list(tree.children(node)):
        child = tree.lookup(node, raw)
        assert child is not None
        name = prefix + os.fsdecode(raw)
        if isinstance(child, Dir):
            found[name] = "dir"
            found.update(shown(tree, child, name + "/"))
        else:
            found[name] = "link" if stat.S_ISLNK(child.mode) else "file"
    return found


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(TABLES)
def test_the_merged_view_is_the_models(tables: list[dict[str, object]]) -> None:
    base = Path(tempfile.mkdtemp(prefix="tree-"))
    try:
        roots = []
        for number, table in enumerate(tables):
            root = base / str(number)
            root.mkdir()
            for path, entry in table.items():
                place(root, path, entry)
            roots.append(root)
        tree = open_tree(roots)
        expected = model(roots)
        assert shown(tree, tree.root) == expected
        # Forgotten and asked again name by name, the tree says the same.
        forget_everything(tree)
        assert len(tree.nodes) == 1
        for path in expected:
            assert tree.resolve(os.fsencode(path)) is not None, path
        close_tree(tree)
    finally:
        shutil.rmtree(base)


def forget_everything(tree: Tree) -> None:
    for node in list(tree.nodes.values()):
        if node is not tree.root and not node.is_dir:
            tree.forget(node.nid, 0)
    for node in sorted(tree.nodes.values(), key=lambda n: -path_of(n).count(b"/")):
        if node is not tree.root and node.nid in tree.nodes:
            tree.forget(node.nid, 0)


Make = Callable[[str, layers.Table], Path]


def test_a_missing_name_needs_no_system_call(make_layer: Make) -> None:
    tree = open_tree([make_layer("base", {"a": "x"})])
    tree.lookup(tree.root, b"a")
    fd = tree.stack.lowers[0].root_fd
    os.close(fd)  # whoever asks the disk now fails
    try:
        assert tree.lookup(tree.root, b"none") is None
    finally:
        os.open(os.devnull, os.O_RDONLY)
    tree._fds.close()


def test_hard_links_of_a_layer_are_one_node(make_layer: Make) -> None:
    base = make_layer("base", {"a": "x", "d/b": layers.HardLink("a")})
    tree = open_tree([base])
    one, two = tree.resolve(b"a"), tree.resolve(b"d/b")
    assert one is two is not None
    assert sorted(name for _, name in tree.names(one)) == [b"a", b"b"]


def test_numbers_are_the_real_ones_and_survive_a_reopening(make_layer: Make) -> None:
    base = make_layer("base", {"a": "x", "d/b": "y"})
    first, second = open_tree([base]), open_tree([base])
    for path in (b"a", b"d", b"d/b"):
        one, two = first.resolve(path), second.resolve(path)
        assert one is not None
        assert two is not None
        assert one.nid == two.nid == os.stat(base / os.fsdecode(path)).st_ino


@pytest.mark.parametrize("value", [b"moved", b"/deep/moved"])
def test_redirects_are_followed(make_layer: Make, value: bytes) -> None:
    source = "moved" if value == b"moved" else "deep/moved"
    base = make_layer("base", {f"{source}/file": "x"})
    top = make_layer("top", {"here": layers.Directory(xattrs={"trusted.overlay.redirect": value})})
    tree = open_tree([top, base])
    assert tree.resolve(b"here/file") is not None


@pytest.mark.parametrize("value", [b"../../etc", b"/a/../..", b"a/b", b""])
def test_a_hostile_redirect_is_an_error_of_that_node_alone(make_layer: Make, value: bytes) -> None:
    base = make_layer("base", {"a/b": "x", "fine": "y"})
    top = make_layer("top", {"here": layers.Directory(xattrs={"trusted.overlay.redirect": value})})
    tree = open_tree([top, base])
    with pytest.raises(OSError) as caught:
        tree.resolve(b"here")
    assert caught.value.errno == errno.EIO
    assert tree.resolve(b"fine") is not None


def test_a_symlink_in_place_of_a_directory_is_never_followed(
    make_layer: Make, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    (outside / "d" / "secret").touch()
    base = make_layer("base", {"d/file": "x"})
    top = make_layer("top", {"d": layers.Symlink(str(outside / "d"))})
    tree = open_tree([top, base])
    node = tree.resolve(b"d")
    assert node is not None
    assert not node.is_dir
    assert tree.resolve(b"d/secret") is None
    assert tree.resolve(b"d/file") is None


def test_a_path_longer_than_path_max(make_layer: Make) -> None:
    base = make_layer("base", {"top": layers.Directory()})
    fd = os.open(base / "top", os.O_RDONLY)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=fd)
        deeper = os.open("n" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    tree = open_tree([base])
    assert tree.resolve(b"/".join([b"top", *[b"n" * 200] * 30, b"leaf"])) is not None
    remove_tree(tree.stack.lowers[0].root_fd, b"top")


def test_xattr_whiteouts_hide(make_layer: Make) -> None:
    base = make_layer("base", {"gone": "x", "stays": "y"})
    top = make_layer("top", {"gone": layers.File(b"", xattrs={"trusted.overlay.whiteout": b""})})
    tree = open_tree([top, base])
    assert tree.resolve(b"gone") is None
    assert tree.resolve(b"stays") is not None


def test_a_node_is_dropped_when_nobody_knows_it(make_layer: Make) -> None:
    tree = open_tree([make_layer("base", {"d/a": "x"})])
    node = tree.resolve(b"d/a")
    assert isinstance(node, Node)
    node.lookups = 2
    assert isinstance(node.parent, Dir)
    node.parent.lookups = 1
    tree.forget(node.parent.nid, 1)
    assert len(tree.nodes) == 3  # the child is still known, so its parent stays
    tree.forget(node.nid, 1)
    assert len(tree.nodes) == 3
    tree.forget(node.nid, 1)
    assert set(tree.nodes) == {ROOT_ID}


def test_what_is_forgotten_gives_back_descriptors_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unionfs.tree._MANY", 100)
    table = {f"d{number % 20}/f{number}": "x" for number in range(400)}
    layers.build(tmp_path / "lower", table)
    tree = open_tree([tmp_path / "lower"])
    try:
        before = len(os.listdir("/proc/self/fd"))
        nodes = [node for path in table if (node := tree.resolve(path.encode()))]
        assert len(os.listdir("/proc/self/fd")) >= before + 20
        full = sys.getsizeof(tree.nodes)
        for node in nodes:
            node.lookups = 1
        for node in nodes:
            tree.forget(node.nid, 1)
        assert list(tree.nodes) == [ROOT_ID]
        assert len(os.listdir("/proc/self/fd")) == before
        assert sys.getsizeof(tree.nodes) < full / 2
    finally:
        close_tree(tree)
