"""Images: manifests and configs as rows and blobs, found by name, digest or id."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence

from layertool.errors import Ambiguous, BadImage, Conflict, InUse, LayertoolError, NotFound
from layertool.oci.digest import Digest
from layertool.oci.model import ImageConfig, Manifest, parse_manifest
from layertool.oci.names import Reference
from layertool.store import blobs
from layertool.store.database import Database
from layertool.store.layout import Layout
from layertool.store.records import Image, Sizes, Summary

_HEX = frozenset("0123456789abcdef")


class Images:
    """All images of a store."""

    def __init__(self, layout: Layout, database: Database) -> None:
        self._layout = layout
        self._database = database

    # -- adding

    def put(
        self,
        connection: sqlite3.Connection,
        manifest: Manifest,
        config: ImageConfig,
        names: Sequence[Reference],
        media_type: str,
    ) -> None:
        """Add the rows of an image whose content is complete, and give it its names."""
        digest = manifest.digest
        connection.execute(
            "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?)",
            (
                digest,
                config.digest,
                media_type,
                config.created,
                sum(layer.size for layer in manifest.layers),
                time.time(),
            ),
        )
        pairs = zip(config.rootfs.diff_ids, manifest.layers, strict=True)
        connection.executemany(
            "INSERT OR IGNORE INTO image_layers VALUES (?, ?, ?, ?)",
            [
                (digest, position, diff_id, layer.digest)
                for position, (diff_id, layer) in enumerate(pairs)
            ],
        )
        for name in names:
            self.name(connection, digest, name)

    def name(self, connection: sqlite3.Connection, digest: str, name: Reference) -> None:
        """Give the image a name; another image that had it loses it."""
        connection.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (_key(name), digest))

    # -- finding

    def all(self) -> list[Image]:
        """Newest first."""
        rows = self._database.query("SELECT digest FROM images ORDER BY added DESC, digest")
        return [self.load(row["digest"]) for row in rows]

    def summaries(self) -> list[Summary]:
        """All images, newest first, by three queries whatever their number."""
        names: dict[str, list[Reference]] = {}
        for row in self._database.query("SELECT name, image FROM names ORDER BY name"):
            names.setdefault(row["image"], []).append(Reference.parse(row["name"]))
        sizes = self.sizes()
        rows = self._database.query(
            "SELECT digest, id, created FROM images ORDER BY added DESC, digest"
        )
        return [
            Summary(
                id=Digest(row["id"]),
                manifest_digest=Digest(row["digest"]),
                names=tuple(names.get(row["digest"], ())),
                created=row["created"],
                sizes=sizes.get(Digest(row["digest"]), Sizes(0, 0, 0, 0, 0)),
            )
            for row in rows
        ]

    def load(self, digest: str) -> Image:
        """The image with that manifest digest."""
        manifest_digest = Digest(digest)
        manifest = parse_manifest(self._read(manifest_digest), None)
        if not isinstance(manifest, Manifest):
            raise BadImage(f"{digest}: is an index: run layertool fsck")
        config = ImageConfig.decode(self._read(manifest.config.digest))
        rows = self._database.query(
            "SELECT name FROM names WHERE image = ? ORDER BY name", (digest,)
        )
        return Image(
            id=manifest.config.digest,
            manifest_digest=manifest_digest,
            manifest=manifest,
            config=config,
            names=tuple(Reference.parse(row["name"]) for row in rows),
            created=config.created,
            layer_paths=tuple(
                self._layout.layer(diff_id) / "diff" for diff_id in config.rootfs.diff_ids
            ),
        )

    def _read(self, digest: Digest) -> bytes:
        with blobs.open_blob(self._layout.blob(digest), digest) as file:
            return file.read()

    def resolve(self, text: str) -> Image:
        """By name, digest, id, or a prefix of the id. Raises `NotFound` or `Ambiguous`."""
        return self.load(self.find(text)[0])

    def find(self, text: str) -> tuple[str, Reference | None]:
        """(manifest digest, the name if *text* was one)."""
        name = _as_name(text)
        if name is not None:
            found = self._by_name(name)
            if found is not None:
                return found, name
        digests = self._by_id(text)
        if not digests:
            raise NotFound(
                f"no such image: {text}: see layertool images, or pull or import it first"
            )
        if len(digests) > 1:
            raise Ambiguous(f"{text} fits {len(digests)} images: give more of the id, or a name")
        return digests[0], None

    def _by_name(self, name: Reference) -> str | None:
        if name.digest is not None:
            rows = self._database.query(
                "SELECT digest AS image FROM images WHERE digest = ?", (name.digest,)
            )
        else:
            rows = self._database.query("SELECT image FROM names WHERE name = ?", (_key(name),))
        return str(rows[0]["image"]) if rows else None

    def _by_id(self, text: str) -> list[str]:
        bare = text.removeprefix("sha256:")
        if not bare or not set(bare) <= _HEX or len(bare) > 64:
            return []
        wanted = f"sha256:{bare}"
        rows = self._database.query(
            "SELECT digest, id FROM images WHERE substr(id, 1, ?) = ? OR digest = ? ORDER BY added",
            (len(wanted), wanted, wanted),
        )
        # One config under two manifests is one image to people, as docker counts by id.
        first = {str(row["id"]): str(row["digest"]) for row in reversed(rows)}
        return list(first.values())

    # -- removing

    def remove(self, text: str, *, force: bool) -> list[str]:
        """Take a name away, or the image when it was the last; docker's lines.

        Without `force` it raises `InUse` for an image that a container needs, and `Conflict` for an
        id with several names. With it all names go; what a container needs stays without a name.
        """
        digest, name = self.find(text)
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT name FROM names WHERE image = ?", (digest,)
            ).fetchall()
            names = [str(row["name"]) for row in rows]
            if name is None and len(names) > 1 and not force:
                raise Conflict(
                    f"image {text} has several names: {', '.join(map(_familiar, names))}: "
                    "remove it by name, or use --force"
                )
            going = names if name is None else [key for key in names if key == _key(name)]
            last = len(going) == len(names)
            if last:
                users = self._users(connection, digest)
                if users and not (force and going):
                    raise InUse(f"image {text} is used by {_containers(users)}", users)
                last = not users
            lines = []
            for key in going:
                connection.execute("DELETE FROM names WHERE name = ?", (key,))
                lines.append(f"Untagged: {_familiar(key)}")
            if last:
                identifier = connection.execute(
                    "SELECT id FROM images WHERE digest = ?", (digest,)
                ).fetchone()["id"]
                connection.execute("DELETE FROM images WHERE digest = ?", (digest,))
                lines.append(f"Deleted: {identifier}")
        return lines

    def _users(self, connection: sqlite3.Connection, digest: str) -> list[str]:
        """The names of the containers of an image."""
        rows = connection.execute(
            "SELECT name FROM containers WHERE image = ? ORDER BY name", (digest,)
        ).fetchall()
        return [str(row["name"]) for row in rows]

    def untag(self, name: Reference) -> None:
        """Take one name away; the image stays until gc. Raises `NotFound`."""
        with self._database.transaction() as connection:
            done = connection.execute("DELETE FROM names WHERE name = ?", (_key(name),))
            if not done.rowcount:
                raise NotFound(f"no such image: {name.familiar}")

    # -- sizes

    def sizes(self) -> dict[Digest, Sizes]:
        """Sizes of all images by manifest digest; one query whatever their number."""
        rows = self._database.query(
            "SELECT image, layers.diff_id, disk, compressed FROM image_layers "
            "JOIN layers USING (diff_id) JOIN images ON images.digest = image"
        )
        counted: dict[str, dict[str, int]] = {}
        compressed: dict[str, int] = {}
        steps: Counter[str] = Counter()
        for row in rows:
            counted.setdefault(row["image"], {})[row["diff_id"]] = row["disk"]
            compressed[row["image"]] = row["compressed"]
            steps[row["image"]] += 1
        users = Counter(diff_id for layers in counted.values() for diff_id in layers)
        found = {}
        for image, layers in counted.items():
            unique = sum(disk for diff_id, disk in layers.items() if users[diff_id] == 1)
            total = sum(layers.values())
            found[Digest(image)] = Sizes(
                total, unique, total - unique, compressed[image], steps[image]
            )
        return found


def _key(name: Reference) -> str:
    return str(Reference(name.domain, name.path, name.tag or "latest"))


def _containers(names: Sequence[str]) -> str:
    return f"container{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _familiar(key: str) -> str:
    return Reference.parse(key).familiar


def _as_name(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except LayertoolError:
        return None
