"""Layers laid over each other in memory: what is seen, hidden, repeated; who did it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layertool.archive import IndexEntry
from layertool.insight.content import Change, Fate, blame, compare, stack


def file(path: str, content: bytes = b"", mode: int = 0o644) -> IndexEntry:
    digest = hashlib.sha256(content).digest()
    return IndexEntry(path.encode(), "f", mode, size=len(content), sha256=digest)


def directory(path: str) -> IndexEntry:
    return IndexEntry(path.encode(), "d", 0o755)


def gone(path: str) -> IndexEntry:
    return IndexEntry(path.encode(), "w")


def opaque(path: str) -> IndexEntry:
    return IndexEntry(path.encode(), "o")


def link(path: str, target: str) -> IndexEntry:
    return IndexEntry(path.encode(), "h", 0o644, link=target.encode())


Layers = list[list[IndexEntry]]


@pytest.mark.parametrize(
    ("layers", "visible", "wasted"),
    [
        ([[file("a", b"1")], [file("b", b"22")]], {"a", "b"}, []),
        ([[file("a", b"1")], [file("a", b"22")]], {"a"}, [("a", 0, 1, 1, "replaced")]),
        ([[file("a", b"1")], [file("a", b"1", mode=0o600)]], {"a"}, [("a", 0, 1, 1, "copied")]),
        ([[file("a", b"1")], [gone("a")]], set(), [("a", 0, 1, 1, "deleted")]),
        ([[directory("d"), file("d/a", b"1")], [gone("d")]], set(), [("d/a", 0, 1, 1, "deleted")]),
        (
            [[directory("d"), file("d/a", b"1")], [directory("d"), opaque("d"), file("d/b")]],
            {"d", "d/b"},
            [("d/a", 0, 1, 1, "deleted")],
        ),
        (
            [[directory("d"), file("d/a", b"1")], [directory("d"), file("d/b")]],
            {"d", "d/a", "d/b"},
            [],
        ),
        (
            [[directory("d"), file("d/a", b"1")], [file("d", b"22")]],
            {"d"},
            [("d/a", 0, 1, 1, "replaced")],
        ),
        ([[file("d", b"1")], [directory("d"), file("d/a")]], {"d", "d/a"},
         [("d", 0, 1, 1, "replaced")]),
        ([[file("a", b"1")], [gone("a")], [file("a", b"1")]], {"a"}, [("a", 0, 1, 1, "deleted")]),
        # A whiteout hides what is below, wherever in its layer it stands.
        ([[file("a", b"1")], [file("a", b"22"), gone("a")]], {"a"}, [("a", 0, 1, 1, "replaced")]),
        ([[file("a", b"1")], [gone("a"), file("a", b"22")]], {"a"}, [("a", 0, 1, 1, "replaced")]),
        ([[file("ab", b"1"), directory("a")], [gone("a")]], {"ab"}, []),
        ([[file("a", b"1"), link("b", "a")], [gone("b")]], {"a"}, []),
    ],
)  # fmt: skip
def test_stack(
    layers: Layers, visible: set[str], wasted: list[tuple[str, int, int, int, str]]
) -> None:
    content = stack(layers)
    assert {path.decode() for path in content.visible} == visible
    assert [
        (waste.path.decode(), waste.layer, waste.by, waste.bytes, waste.fate.value)
        for waste in content.wasted
    ] == wasted


def test_sums_of_layers() -> None:
    content = stack(
        [[file("a", b"1234"), file("b", b"12")], [file("a", b"1234", mode=0o600), gone("b")]]
    )
    base, top = content.layers
    assert (base.files, base.bytes, base.hidden) == (2, 6, 6)
    assert (top.files, top.bytes, top.copied) == (1, 4, 4)
    assert content.efficiency == pytest.approx(0.4)
    assert [waste.fate for waste in content.wasted] == [Fate.COPIED, Fate.DELETED]


def test_blame_tells_the_story_of_a_path() -> None:
    layers = [
        [directory("d"), file("d/a", b"1")],
        [file("other")],
        [file("d/a", b"1", mode=0o600)],
        [file("d/a", b"2")],
        [gone("d/a")],
        [file("d/a", b"3")],
        [gone("d")],
    ]
    assert [(touch.layer, touch.change) for touch in blame(layers, b"d/a")] == [
        (0, Change.ADDED),
        (2, Change.METADATA),
        (3, Change.CHANGED),
        (4, Change.DELETED),
        (5, Change.ADDED),
        (6, Change.HIDDEN),
    ]
    assert blame(layers, b"never") == []


def test_compare() -> None:
    left = stack([[file("same"), file("mode"), file("content", b"1"), file("left")]])
    right = stack([[file("same"), file("mode", mode=0o600), file("content", b"2"), file("new")]])
    assert [(each.kind, each.path) for each in compare(left, right)] == [
        ("C", b"content"),
        ("D", b"left"),
        ("M", b"mode"),
        ("A", b"new"),
    ]
    assert compare(left, left) == []


def test_a_hard_link_is_a_file_like_its_other_name() -> None:
    one = stack([[file("a", b"12"), link("b", "a")]])
    other = stack([[file("b", b"12"), link("a", "b")]])
    assert compare(one, other) == []
    assert one.visible[b"b"].entry.size == 2
    assert one.layers[0].bytes == 2


_paths = st.sampled_from(["a", "a/b", "a/b/c", "d", "d/e"])
_entries = st.one_of(
    st.builds(file, _paths, st.binary(max_size=3)),
    st.builds(gone, _paths),
    st.builds(opaque, _paths),
)


@given(st.lists(st.lists(_entries, max_size=4), max_size=4))
def test_every_byte_is_seen_or_wasted(layers: Layers) -> None:
    layers = [
        list({(entry.path, entry.type): entry for entry in layer}.values()) for layer in layers
    ]
    content = stack(layers)
    seen = sum(each.entry.size for each in content.visible.values() if each.entry.type == "f")
    total = sum(layer.bytes for layer in content.layers)
    assert total == seen + sum(waste.bytes for waste in content.wasted)
    assert sum(layer.hidden for layer in content.layers) == total - seen
