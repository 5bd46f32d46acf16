"""Layers as nested tables, for tests that want the names and the contents and no more.

A value is text or bytes (a file), a table (a directory) or None (a whiteout). Names may have
several components: ``{"etc/conf": "text", "empty": {}, "gone": None}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from unionfs.testing import layers
from unionfs.testing.layers import Entry, Layer

Table = Mapping[str, "str | bytes | Table | None"]


def layer_of(table: Table) -> Layer:
    """The layer of a table."""
    found: dict[str, Entry] = {}
    for path, value in flat(table, ""):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            found.setdefault(above, layers.directory(above))
        found[path] = entry(path, value)
    return tuple(found.values())


def flat(table: Table, prefix: str) -> Iterator[tuple[str, str | bytes | Table | None]]:
    """All paths of nested tables, parents first."""
    for name, value in table.items():
        path = prefix + name.strip("/")
        yield path, value
        if isinstance(value, Mapping):
            yield from flat(value, path + "/")


def entry(path: str, value: str | bytes | Table | None) -> Entry:
    """One entry of a table."""
    match value:
        case None:
            return layers.whiteout(path)
        case str() | bytes():
            data = value.encode() if isinstance(value, str) else value
            return layers.file(path, data.decode("latin-1"))
        case _:
            return layers.directory(path)
