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

from layertool.errors import LayertoolError
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor
from layertool.store import blobs
from layertool.store.database import Database
from layertool.store.layers import Layers
from layertool.store.layout import Layout
from layertool.store.locks import Scratch, discard_if_free, is_held, locked
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

    # -- fsck

    def fsck(self, *, repair: bool) -> list[Problem]:
        """Check every blob and layer against its digest and index; with `repair` mend or drop."""
        problems: list[Problem] = []
        for path in self._scratch.stale():
            problems.append(
                Problem(path.name, "left by a process that died", "removed" if repair else "")
            )
        if repair:
            self._scratch.clean()
            self._clean_locks()
        rows = self._database.query("SELECT digest, size FROM blobs ORDER BY digest")
        for row in rows:
            problems += self._check_blob(Digest(row["digest"]), row["size"], repair=repair)
        for row in self._database.query("SELECT diff_id FROM layers ORDER BY diff_id"):
            problems += self._check_layer(Digest(row["diff_id"]), repair=repair)
        problems += self._check_images(repair=repair)
        return problems

    def _clean_locks(self) -> None:
        for path in self._layout.lock("").iterdir():
            if path.name != "store":
                discard_if_free(path)

    def _check_blob(self, digest: Digest, size: int, *, repair: bool) -> list[Problem]:
        path = self._layout.blob(digest)
        if not path.exists():
            what = "missing"
        elif path.stat().st_size != size:
            what = f"{path.stat().st_size} bytes, expected {size}"
        elif blobs.digest_of_file(path) != digest:
            what = "content does not match the digest"
        else:
            return []
        if not repair:
            return [Problem(f"blob {digest}", what)]
        with locked(self._layout.lock("store")), self._database.transaction() as connection:
            connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
            connection.execute("DELETE FROM layer_blobs WHERE digest = ?", (digest,))
            path.unlink(missing_ok=True)
        return [Problem(f"blob {digest}", what, "removed; pull or import its image again")]

    def _check_layer(self, diff_id: Digest, *, repair: bool) -> list[Problem]:
        what = self._layer_damage(diff_id)
        if what is None:
            return []
        subject = f"layer {diff_id}"
        return [Problem(subject, what, self._mend_layer(diff_id) if repair else "")]

    def _layer_damage(self, diff_id: Digest) -> str | None:
        """What differs between the tree and its index; None when it is whole."""
        root = os.fsencode(self._layout.layer(diff_id) / "diff")
        try:
            for entry in self._layers.index(diff_id):
                if entry.type in ("w", "o", "h") or not entry.path:
                    continue
                path = root + b"/" + entry.path
                st = os.lstat(path)
                if entry.type == "f":
                    if st.st_size != entry.size:
                        return (
                            f"{os.fsdecode(entry.path)}: {st.st_size} bytes, expected {entry.size}"
                        )
                    if blobs.digest_of_file(Path(os.fsdecode(path))) != _hex(entry.sha256):
                        return f"{os.fsdecode(entry.path)}: content differs"
        except OSError as error:
            return f"{os.fsdecode(error.filename or b'')}: {error.strerror}"
        except LayertoolError as error:
            return str(error)
        return None

    def _mend_layer(self, diff_id: Digest) -> str:
        """Unpack the layer again from a blob that is here; else forget it."""
        rows = self._database.query(
            "SELECT layer_blobs.digest, media_type, layer_blobs.size FROM layer_blobs "
            "JOIN blobs USING (digest) WHERE diff_id = ?",
            (diff_id,),
        )
        with self._scratch.workspace("damaged") as room, locked(self._layout.lock("store")):
            target = self._layout.layer(diff_id)
            if target.exists():
                os.rename(target, room / "layer")
        for row in rows:
            descriptor = Descriptor(
                mediaType=row["media_type"], digest=Digest(row["digest"]), size=row["size"]
            )
            try:
                with blobs.open_blob(
                    self._layout.blob(descriptor.digest), descriptor.digest
                ) as file:
                    self._layers.put(file, descriptor, diff_id, keep_blob=False, limits=None)
            except LayertoolError:
                continue
            return "unpacked again"
        return "removed; pull or import its image again"

    def _check_images(self, *, repair: bool) -> list[Problem]:
        """Images whose content is incomplete."""
        rows = self._database.query("SELECT digest, id FROM images ORDER BY digest")
        problems = []
        for row in rows:
            lacking = [
                digest
                for digest in (row["digest"], row["id"])
                if not self._layout.blob(Digest(digest)).exists()
            ]
            lacking += [
                layer["diff_id"]
                for layer in self._database.query(
                    "SELECT diff_id FROM image_layers WHERE image = ?", (row["digest"],)
                )
                if not (self._layout.layer(Digest(layer["diff_id"])) / "diff").is_dir()
            ]
            if lacking:
                done = self._drop_image(row["digest"]) if repair else ""
                problems.append(Problem(f"image {row['digest']}", f"lacks {lacking[0]}", done))
        return problems

    def _drop_image(self, digest: str) -> str:
        with self._database.transaction() as connection:
            if connection.execute("SELECT 1 FROM containers WHERE image = ?", (digest,)).fetchone():
                return "kept, a container uses it; pull or import it again"
            connection.execute("DELETE FROM names WHERE image = ?", (digest,))
            connection.execute("DELETE FROM images WHERE digest = ?", (digest,))
        return "removed; pull or import it again"

    # -- df

    def df(self) -> Usage:
        """Bytes on disk by kind."""
        root = self._layout.root
        parts = {
            name: disk_usage(root / name) for name in ("layers", "blobs", "containers", "build")
        }
        return Usage(**parts, other=disk_usage(root) - sum(parts.values()))


def _hex(raw: bytes) -> str:
    return "sha256:" + raw.hex()


def _set(connection: sqlite3.Connection, sql: str) -> set[str]:
    return {str(row[0]) for row in connection.execute(sql)}


def _column(connection: sqlite3.Connection, sql: str, keep: Iterable[str]) -> list[str]:
    """The keys that are not to be kept."""
    wanted = frozenset(keep)
    return sorted(key for key in _set(connection, sql) if key not in wanted)
