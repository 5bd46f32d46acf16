"""Care of the store: collect garbage, check content, measure.

gc marks what names, containers, living leases and the build cache need, and sweeps the rest under
the exclusive store lock. Reference counts would drift after a crash; marks cannot.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from layertool.store.database import Database
from layertool.store.layers import Layers
from layertool.store.layout import Layout
from layertool.store.locks import Scratch, is_held, locked
from layertool.store.records import Freed, Problem, Usage
from layertool.store.trees import disk_usage

CACHE_DAYS = 30
"""A build step that nobody used for so long is forgotten by gc."""


@dataclass(frozen=True, slots=True)
class _Marked:
    """What must stay: manifest digests, diffIDs, blob digests."""

    images: frozenset[str]
    layers: frozenset[str]
    blobs: frozenset[str]


class _DryRun(Exception):
    """Rolls the sweep's transaction back once it is known what it would free."""

    def __init__(self, freed: Freed) -> None:
        super().__init__()
        self.freed = freed


class Care:
    """gc, fsck and df of one store."""

    def __init__(
        self, layout: Layout, database: Database, scratch: Scratch, layers: Layers
    ) -> None:
        self._layout = layout
        self._database = database
        self._scratch = scratch
        self._layers = layers

    # -- gc

    def gc(self, *, dry_run: bool, cache_days: int = CACHE_DAYS, untagged: bool = True) -> Freed:
        """Remove what nothing needs; with `dry_run` only say what that would be.

        Images without a name are garbage only if `untagged`.
        """
        try:
            return self._collect(dry_run=dry_run, cache_days=cache_days, untagged=untagged)
        except _DryRun as done:
            return done.freed

    def _collect(self, *, dry_run: bool, cache_days: int, untagged: bool) -> Freed:
        self._scratch.clean()
        with self._scratch.workspace("garbage") as room, locked(self._layout.lock("store")):
            with self._database.transaction() as connection:
                freed, garbage = self._sweep_rows(connection, cache_days, untagged)
                if dry_run:
                    raise _DryRun(freed)
            # Rows first: content without a row is garbage, a row without content is damage.
            for number, path in enumerate(garbage):
                os.rename(path, room / str(number))
        return freed

    def _sweep_rows(
        self, connection: sqlite3.Connection, cache_days: int, untagged: bool
    ) -> tuple[Freed, list[Path]]:
        """Delete the rows that nothing needs; what that frees, and the paths to delete."""
        self._drop_dead_leases(connection)
        old = time.time() - cache_days * 86400
        forgotten = connection.execute("DELETE FROM cache WHERE used < ?", (old,)).rowcount
        marked = self._mark(connection, untagged)
        images = _column(connection, "SELECT digest FROM images", marked.images)
        layers = self._unmarked("layers/sha256", marked.layers)
        content = self._unmarked("blobs/sha256", marked.blobs)
        garbage = [*layers, *content, *self._without_rows(connection)]
        self._delete_rows(connection, marked)
        freed = Freed(
            images=tuple(images),
            layers=len(layers),
            blobs=len(content),
            cache=forgotten,
            bytes=disk_usage(*garbage),
        )
        return freed, garbage

    def _mark(self, connection: sqlite3.Connection, untagged: bool) -> _Marked:
        images = _set(
            connection,
            "SELECT image FROM names UNION SELECT image FROM containers WHERE image IS NOT NULL"
            if untagged
            else "SELECT digest FROM images",
        )
        leased = _set(connection, "SELECT digest FROM lease_items")
        images |= leased & _set(connection, "SELECT digest FROM images")
        layers = set(leased) | _set(
            connection, "SELECT diff_id FROM cache WHERE diff_id IS NOT NULL"
        )
        kept = set(leased) | images
        for row in connection.execute("SELECT image, diff_id, blob FROM image_layers"):
            if row["image"] in images:
                layers.add(row["diff_id"])
                kept.add(row["blob"])
        kept |= {
            row["id"]
            for row in connection.execute("SELECT digest, id FROM images")
            if row["digest"] in images
        }
        kept |= {
            row["digest"]
            for row in connection.execute("SELECT diff_id, digest FROM layer_blobs")
            if row["diff_id"] in layers
        }
        return _Marked(frozenset(images), frozenset(layers), frozenset(kept))

    def _drop_dead_leases(self, connection: sqlite3.Connection) -> None:
        for row in connection.execute("SELECT DISTINCT lease FROM lease_items").fetchall():
            if not is_held(self._layout.lock(f"lease-{row['lease']}")):
                connection.execute("DELETE FROM lease_items WHERE lease = ?", (row["lease"],))

    def _unmarked(self, directory: str, marked: frozenset[str]) -> list[Path]:
        """Content on disk that is not marked, with or without a row."""
        return [
            path
            for path in sorted((self._layout.root / directory).iterdir())
            if f"sha256:{path.name}" not in marked
        ]

    def _without_rows(self, connection: sqlite3.Connection) -> list[Path]:
        """Container directories whose row is gone: their removal was interrupted."""
        known = _set(connection, "SELECT id FROM containers")
        return [path for path in self._layout.container("").iterdir() if path.name not in known]

    def _delete_rows(self, connection: sqlite3.Connection, marked: _Marked) -> None:
        for table, column, keep in (
            ("images", "digest", marked.images),
            ("layers", "diff_id", marked.layers),
            ("blobs", "digest", marked.blobs),
        ):
            for key in _column(connection, f"SELECT {column} FROM {table}", keep):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))
        for key in _column(connection, "SELECT digest FROM layer_blobs", marked.blobs):
            connection.execute("DELETE FROM layer_blobs WHERE digest = ?", (key,))

    def fsck(self, *, repair: bool) -> list[Problem]:
        """Check all content; with `repair` mend or drop what is damaged."""
        from layertool.store.fsck import Fsck  # reads archives, which nothing else here does

        check = Fsck(self._layout, self._database, self._scratch, self._layers, repair=repair)
        return check.run()

    # -- df

    def df(self) -> Usage:
        """Bytes on disk by kind."""
        root = self._layout.root
        parts = {
            name: disk_usage(root / name) for name in ("layers", "blobs", "containers", "build")
        }
        return Usage(**parts, other=disk_usage(root) - sum(parts.values()))


def _set(connection: sqlite3.Connection, sql: str) -> set[str]:
    return {str(row[0]) for row in connection.execute(sql)}


def _column(connection: sqlite3.Connection, sql: str, keep: Iterable[str]) -> list[str]:
    """The keys that are not to be kept."""
    wanted = frozenset(keep)
    return sorted(key for key in _set(connection, sql) if key not in wanted)
