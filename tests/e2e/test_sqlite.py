"""Databases inherited from a lower layer: many small writes right after the copy-up."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fstest.twins import Twins

pytestmark = [pytest.mark.mounted, pytest.mark.needs("root", "overlay")]

ROWS = 400


def make_database(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("CREATE TABLE package (id INTEGER PRIMARY KEY, name TEXT, note BLOB)")
        base.execute("CREATE INDEX by_name ON package (name)")
        rows = [(number, f"package-{number}", bytes(number % 700)) for number in range(ROWS)]
        base.executemany("INSERT INTO package VALUES (?, ?, ?)", rows)


def contents(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return base.execute("SELECT id, name, note FROM package ORDER BY id").fetchall()


def small_writes(path: Path, journal: str) -> list[tuple[object, ...]]:
    """One transaction a row: update, delete, insert; growing and shrinking pages in turn."""
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute(f"PRAGMA journal_mode={journal}")
        for number in range(0, ROWS, 3):
            base.execute("UPDATE package SET note = ? WHERE id = ?", (bytes(number), number))
            base.execute("DELETE FROM package WHERE id = ?", (number + 1,))
            note = b"\xff" * (number % 50)
            base.execute("INSERT INTO package (name, note) VALUES ('new', ?)", (note,))
        base.execute("VACUUM")
        base.execute("PRAGMA journal_mode=delete")
    return contents(path)


# fuse-overlayfs corrupts such files with write-back on (its issue 475): both ways are tested.
@pytest.mark.parametrize("options", [(), ("writeback=0",)], ids=["write-back", "write-through"])
@pytest.mark.parametrize("journal", ["delete", "truncate", "wal"])
def test_lower_database(
    make_twins: Callable[..., Twins], tmp_path: Path, journal: str, options: tuple[str, ...]
) -> None:
    lower = tmp_path / "layers" / "base"
    make_database(lower / "var/lib/db/packages.sqlite")
    twins = make_twins(lower, options=options)
    twins.do(lambda root: small_writes(root / "var/lib/db/packages.sqlite", journal))
    expected = contents(twins.plain / "var/lib/db/packages.sqlite")
    twins.mounted.remount()
    assert contents(twins.mounted / "var/lib/db/packages.sqlite") == expected
    twins.do(lambda root: small_writes(root / "var/lib/db/packages.sqlite", journal))
    twins.compare()


def test_two_connections_see_each_other(make_twins: Callable[..., Twins], tmp_path: Path) -> None:
    """WAL needs a shared mapping of its index: a writer and a reader at the same time."""
    lower = tmp_path / "layers" / "base"
    make_database(lower / "db/packages.sqlite")
    twins = make_twins(lower)
    path = twins.mounted / "db/packages.sqlite"
    with closing(sqlite3.connect(path)) as writer, closing(sqlite3.connect(path)) as reader:
        writer.execute("PRAGMA journal_mode=wal")
        for number in range(50):
            with writer:
                writer.execute("UPDATE package SET name = ? WHERE id = 7", (f"round {number}",))
            row = reader.execute("SELECT name FROM package WHERE id = 7").fetchone()
            assert row == (f"round {number}",)
