"""Layers as data, and the merged view that a stack means."""

from __future__ import annotations

from pathlib import Path

import pytest

from unionfs.testing import layers
from unionfs.testing.layers import Layer, Layers, directory, file, hardlink, symlink, whiteout

LOWER: Layer = (directory("d"), file("d/a", "lower"), file("d/b"), file("x", "x"))

MERGES: dict[str, tuple[Layers, list[str]]] = {
    "one layer": ((LOWER,), ["d", "d/a", "d/b", "x"]),
    "directories merge": (((directory("d"), file("d/c")), LOWER), ["d", "d/a", "d/b", "d/c", "x"]),
    "a whiteout removes": (((directory("d"), whiteout("d/a")), LOWER), ["d", "d/b", "x"]),
    "a whiteout removes a tree": (((whiteout("d"),), LOWER), ["x"]),
    "an opaque directory hides": (((directory("d", opaque=True),), LOWER), ["d", "x"]),
    "a file hides a directory": (((file("d"),), LOWER), ["d", "x"]),
    "a file between ends the merge": (
        ((directory("d"), file("d/new")), (file("d"),), LOWER),
        ["d", "d/new", "x"],
    ),
    "names that begin alike stay": (((whiteout("d"),), (file("dd"), *LOWER)), ["dd", "x"]),
}


@pytest.mark.parametrize("name", MERGES)
def test_what_a_stack_means(name: str) -> None:
    stack, paths = MERGES[name]
    assert [entry.path for entry in layers.merged(stack)] == paths


def test_the_top_layer_wins() -> None:
    (entry,) = layers.merged(((file("a", "top"),), (file("a", "bottom"),)))
    assert entry.text == "top"


def test_stacks_survive_json() -> None:
    stack = ((symlink("s", "t"), hardlink("h", "s")), (*LOWER, layers.special("c", "char", (1, 3))))
    assert layers.decode(layers.encode(stack)) == stack


def test_a_layer_on_disk_is_what_its_entries_say(tmp_path: Path) -> None:
    root = tmp_path / "layer"
    layers.build(
        str(root),
        (
            *LOWER,
            hardlink("d/link", "x"),
            symlink("s", "nowhere"),
            file("sparse", "x", size=1 << 20, mode=0o640),
        ),
        "user",
    )
    assert (root / "d/link").stat().st_ino == (root / "x").stat().st_ino
    assert (root / "s").readlink() == Path("nowhere")
    assert (root / "sparse").stat().st_size == 1 << 20
    assert (root / "sparse").stat().st_blocks < 100
    assert (root / "sparse").stat().st_mode & 0o7777 == 0o640
    assert (root / "d").stat().st_mtime_ns == layers.BASE_TIME_NS
