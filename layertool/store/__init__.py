"""The store: content on one disk, shared by all images and containers.

`Store` is the only one who knows the paths below its root (layout.py). What has a row in the
database is complete; what has none is garbage. Many processes may use one store at once.
"""

from __future__ import annotations

import io
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from layertool.errors import BadImage, NotFound
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, ImageConfig, Manifest, parse_manifest
from layertool.oci.names import Reference
from layertool.store import blobs
from layertool.store.care import CACHE_DAYS, Care
from layertool.store.containers import Container, Containers
from layertool.store.database import Database
from layertool.store.images import Images
from layertool.store.layers import Layers
from layertool.store.layout import Layout, default_root
from layertool.store.locks import Scratch, locked
from layertool.store.records import Freed, Image, NewLayer, Problem, Sizes, Summary, Usage

if TYPE_CHECKING:
    from layertool.archive import IndexEntry, Limits

__all__ = [
    "Container",
    "Freed",
    "Image",
    "Lease",
    "NewLayer",
    "Problem",
    "Sizes",
    "Store",
    "Summary",
    "Usage",
]


class Lease:
    """Protects content from gc until the image that needs it exists."""

    def __init__(self, database: Database, identifier: str) -> None:
        self._database = database
        self._id = identifier

    def add(self, *digests: str) -> None:
        """Protect blobs and layers (by diffID), also before they exist."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO lease_items VALUES (?, ?)",
                [(self._id, digest) for digest in digests],
            )


class Store:
    """Blobs, layers, images, containers and the build cache below one root."""

    def __init__(self, layout: Layout) -> None:
        layout.make()
        self._layout = layout
        self._database = Database(layout.database)
        self._scratch = Scratch(layout.tmp)
        self._layers = Layers(layout, self._database, self._scratch)
        self._images = Images(layout, self._database)
        self._containers = Containers(layout, self._database)
        self._care = Care(layout, self._database, self._scratch, self._layers)
        self._leases: list[Lease] = []
        self._scratch.clean()

    @classmethod
    def open(cls, root: Path | None = None) -> Store:
        """The store at `root`, made if it does not exist. Raises `StoreError`."""
        return cls(Layout((root or default_root()).absolute()))

    @property
    def root(self) -> Path:
        return self._layout.root

    def close(self) -> None:
        """Close the database, so that the file system can be unmounted; a later call opens it."""
        self._database.close()

    # -- blobs

    def has_blob(self, digest: Digest) -> bool:
        return bool(self._database.query("SELECT 1 FROM blobs WHERE digest = ?", (digest,)))

    def blob_path(self, digest: Digest) -> Path:
        return self._layout.blob(digest)

    def open_blob(self, digest: Digest) -> BinaryIO:
        """The content, open for reading. Raises `NotFound`."""
        return blobs.open_blob(self._layout.blob(digest), digest)

    def put_blob(self, data: BinaryIO | bytes, expect: Descriptor | None = None) -> Descriptor:
        """Keep content, verified against `expect` if given. Raises `BadDigest`."""
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        with self._scratch.workspace("blob") as room:
            writer = blobs.BlobWriter(room / "blob")
            try:
                reader = blobs.VerifyingReader(source, expect.size if expect else None, writer.file)
                digest = reader.finish(expect)
                self._protect(digest)
                with locked(self._layout.lock("store"), shared=True):
                    writer.publish(self._layout.blob(digest))
                    self._record_blob(digest, reader.position)
            finally:
                writer.close()
        media_type = expect.mediaType if expect else blobs.OCTETS
        return Descriptor(mediaType=media_type, digest=digest, size=reader.position)

    def _record_blob(self, digest: Digest, size: int) -> None:
        disk = os.stat(self._layout.blob(digest)).st_blocks * 512
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", (digest, size, disk)
            )

    def partial_blob(self, digest: Digest) -> Path:
        """Where an interrupted download is kept; hold `lock_digest` while using it."""
        return self._layout.partial(digest)

    def lock_digest(self, digest: Digest) -> AbstractContextManager[None]:
        """Wait for another process that works on the same content, then keep others waiting."""
        return locked(self._layout.lock(f"blob-{digest.hex}"))

    # -- layers

    def has_layer(self, diff_id: Digest) -> bool:
        return self._layers.has(diff_id)

    def layer_dir(self, diff_id: Digest) -> Path:
        """The unpacked tree. Raises `NotFound`."""
        return self._layers.dir(diff_id)

    def layer_index(self, diff_id: Digest) -> Iterator[IndexEntry]:
        """What the layer holds."""
        return self._layers.index(diff_id)

    def put_layer(
        self,
        stream: BinaryIO,
        expect: Descriptor,
        diff_id: Digest,
        *,
        keep_blob: bool = True,
        limits: Limits | None = None,
    ) -> None:
        """One pass over `stream`: hash, keep the blob, inflate, extract, verify, publish."""
        self._protect(expect.digest, diff_id)
        with locked(self._layout.lock(f"layer-{diff_id.hex}")):
            known = self.has_layer(diff_id) and self._layers.is_known_as(diff_id, expect.digest)
            if known and (not keep_blob or self.has_blob(expect.digest)):
                return
            self._layers.put(stream, expect, diff_id, keep_blob=keep_blob, limits=limits)

    def commit_layer(
        self,
        upper: Path,
        *,
        epoch: int | None = None,
        watch: Callable[[BinaryIO], BinaryIO] | None = None,
    ) -> NewLayer:
        """Pack an upper (or a whole tree) into a new layer; no time in it is later than `epoch`.

        `watch` may wrap the file that the layer is written to, to see how it grows.
        """
        return self._layers.commit(upper, epoch=epoch, protect=self._protect, watch=watch)

    # -- images

    def put_image(
        self,
        manifest: bytes,
        config: bytes,
        *,
        names: Sequence[Reference] = (),
        media_type: str | None = None,
    ) -> Image:
        """Add an image whose layers are here, byte for byte as given, under `names`.

        Raises `BadImage` when manifest and config do not belong together, `BadDigest` when a blob
        is not the layer that the config says, `NotFound` when a layer is missing.
        """
        parsed = parse_manifest(manifest, media_type)
        if not isinstance(parsed, Manifest):
            raise BadImage("an index is no image: choose a platform first")
        parsed_config = ImageConfig.decode(config)
        with self.lease() as lease:
            # First of all, so that no gc takes a layer between the check and the row.
            lease.add(*parsed_config.rootfs.diff_ids, *(layer.digest for layer in parsed.layers))
            self._check(parsed, parsed_config)
            self._layers.settle(parsed_config.rootfs.diff_ids)
            self.put_blob(config, parsed.config)
            self.put_blob(manifest)
            with (
                locked(self._layout.lock("store"), shared=True),
                self._database.transaction() as connection,
            ):
                self._images.put(connection, parsed, parsed_config, names, parsed.media_type)
        return self._images.load(parsed.digest)

    def _check(self, manifest: Manifest, config: ImageConfig) -> None:
        if manifest.config.digest != config.digest:
            raise BadImage(
                f"manifest {manifest.digest}: names the config {manifest.config.digest}, "
                f"but was given {config.digest}"
            )
        if len(manifest.layers) != len(config.rootfs.diff_ids):
            raise BadImage(
                f"manifest {manifest.digest}: {len(manifest.layers)} layers, but "
                f"{len(config.rootfs.diff_ids)} diffIDs in its config"
            )
        for diff_id, layer in zip(config.rootfs.diff_ids, manifest.layers, strict=True):
            if not self.has_layer(diff_id):
                raise NotFound(f"layer {diff_id} is not in the store")
            if not self._layers.is_known_as(diff_id, layer.digest):
                self._layers.verify(layer, diff_id)

    def resolve(self, name_or_id: str) -> Image:
        """By name, digest, id, or a prefix of the id. Raises `NotFound` or `Ambiguous`."""
        return self._images.resolve(name_or_id)

    def images(self) -> list[Image]:
        """Newest first."""
        return self._images.all()

    def summaries(self) -> list[Summary]:
        """What a list of all images shows, newest first."""
        return self._images.summaries()

    def sizes(self) -> dict[Digest, Sizes]:
        """Sizes of all images, by manifest digest."""
        return self._images.sizes()

    def layer_bytes(self) -> dict[Digest, int]:
        """Bytes on disk of every unpacked layer, by diffID."""
        rows = self._database.query("SELECT diff_id, disk FROM layers")
        return {Digest(row["diff_id"]): int(row["disk"]) for row in rows}

    def tag(self, image: Image, name: Reference) -> None:
        """Give the image one more name; another image that had it loses it."""
        with self._database.transaction() as connection:
            self._images.name(connection, image.manifest_digest, name)

    def untag(self, name: Reference) -> None:
        """Take one name away. Raises `NotFound`."""
        self._images.untag(name)

    def remove_image(self, name_or_id: str, *, force: bool = False) -> list[str]:
        """Take a name or the whole image away; docker's lines. Its content goes with it."""
        lines = self._images.remove(name_or_id, force=force)
        if any(line.startswith("Deleted") for line in lines):
            self._care.gc(dry_run=False, untagged=False)
        return lines

    # -- leases

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Everything put into the store meanwhile is safe from gc; ends with the process at last."""
        identifier = uuid.uuid4().hex
        path = self._layout.lock(f"lease-{identifier}")
        with locked(path):
            lease = Lease(self._database, identifier)
            self._leases.append(lease)
            try:
                yield lease
            finally:
                self._leases.remove(lease)
                with self._database.transaction() as connection:
                    connection.execute("DELETE FROM lease_items WHERE lease = ?", (identifier,))
                path.unlink(missing_ok=True)

    def _protect(self, *digests: str) -> None:
        for lease in list(self._leases):
            lease.add(*digests)

    # -- containers

    def create_container(
        self, image: Image | None, *, name: str | None, config: dict[str, Any]
    ) -> Container:
        """A new container. Raises `Conflict` when the name is taken."""
        return self._containers.create(image, name=name, config=config)

    def containers(self) -> list[Container]:
        """Newest first."""
        return self._containers.all()

    def container(self, name_or_id: str) -> Container:
        """By name, id, or a prefix of the id. Raises `NotFound` or `Ambiguous`."""
        return self._containers.find(name_or_id)

    # -- what the builder keeps here

    def workspace(self, purpose: str) -> AbstractContextManager[Path]:
        """A scratch directory on the store's file system, gone afterwards."""
        return self._scratch.workspace(purpose)

    def build_directory(self, name: str) -> Path:
        """A directory that outlives builds."""
        path = self._layout.root / "build" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def cached_step(self, key: str) -> bytes | None:
        """The record of a build step by its cache key."""
        with self._database.transaction() as connection:
            row = connection.execute("SELECT config FROM cache WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE cache SET used = ?, hits = hits + 1 WHERE key = ?", (time.time(), key)
            )
            return bytes(row["config"])

    def cache_step(
        self, key: str, site: str, diff_id: Digest | None, record: bytes, inputs: bytes
    ) -> None:
        """Remember a build step: what it made, and from what, to explain the next miss at `site`."""
        now = time.time()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (key, site, diff_id, record, inputs, now, now),
            )

    def last_inputs(self, site: str) -> bytes | None:
        """The inputs of the newest step remembered at `site`."""
        rows = self._database.query(
            "SELECT inputs FROM cache WHERE step = ? ORDER BY used DESC LIMIT 1", (site,)
        )
        return bytes(rows[0]["inputs"]) if rows else None

    # -- care

    def gc(self, *, dry_run: bool = False, cache_days: int = CACHE_DAYS) -> Freed:
        """Remove what no name, container, lease or recent build step needs."""
        return self._care.gc(dry_run=dry_run, cache_days=cache_days)

    def fsck(self, *, repair: bool = False) -> list[Problem]:
        """Check all content; with `repair` mend what can be mended and drop the rest."""
        return self._care.fsck(repair=repair)

    def df(self) -> Usage:
        """Bytes on disk by kind, as du counts."""
        return self._care.df()
