"""Layers written as nested tables."""

from __future__ import annotations

import pytest

from unionfs.testing.layers import Layer, directory, file, whiteout
from unionfs.testing.shorthand import Table, layer_of

TABLES: dict[str, tuple[Table, Layer]] = {
    "nothing": ({}, ()),
    "text and bytes": ({"a": "é", "b": b"\xff"}, (file("a", "Ã©"), file("b", "ÿ"))),
    "an empty directory": ({"d": {}}, (directory("d"),)),
    "nested": ({"d": {"e": {"f": "x"}}}, (directory("d"), directory("d/e"), file("d/e/f", "x"))),
    "parents are made once": (
        {"d/e/f": "x", "d/g": None},
        (directory("d"), directory("d/e"), file("d/e/f", "x"), whiteout("d/g")),
    ),
    "a directory after what is in it": (
        {"d/f": "x", "d": {"g": "y"}},
        (directory("d"), file("d/f", "x"), file("d/g", "y")),
    ),
    "slashes at the ends do not count": ({"/d/": {"/f": ""}}, (directory("d"), file("d/f"))),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_a_layer(name: str) -> None:
    table, layer = TABLES[name]
    assert layer_of(table) == layer
