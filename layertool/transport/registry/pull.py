"""An image from a registry into the store: each layer is unpacked while it is downloaded.

One stream a layer carries the bytes from the connection through hash and inflate to the disk, and
the store publishes it only when digest and diffID are the promised ones. What was downloaded
before a failure, a Ctrl-C or a kill -9 is kept and the rest asked for with Range.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from layertool.errors import BadArchive, BadDigest, BadImage
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, ImageConfig, Manifest
from layertool.oci.names import Reference
from layertool.oci.platform import Platform
from layertool.store import Image, Store
from layertool.transport.registry.client import Client, Options
from layertool.transport.registry.download import BlobStream
from layertool.transport.registry.manifests import Repository
from layertool.transport.registry.parallel import run_all
from layertool.transport.registry.progress import Progress, Silent

_PARALLEL = 3  # layers at once, as docker; registries count connections


def pull(
    store: Store,
    reference: Reference,
    *,
    options: Options | None = None,
    platform: Platform | None = None,
    progress: Progress | None = None,
) -> Image:
    """Have the image of `reference` in the store, named by it.

    Raises NotFound, AuthError, RegistryError, BadDigest, BadImage, Unsupported. Nothing is named
    before everything of the image is there and checked.
    """
    shown = progress or Silent()
    told = (options or Options()).telling(shown.note)
    client = Client(reference.domain, reference.path, told)
    try:
        return _Pull(store, client, reference, shown).run(platform)
    finally:
        client.close()


class _Pull:
    def __init__(
        self, store: Store, client: Client, reference: Reference, progress: Progress
    ) -> None:
        self._store = store
        self._client = client
        self._reference = reference
        self._progress = progress
        self._repository = Repository(client, reference.path)
        self._streams: set[BlobStream] = set()

    def run(self, platform: Platform | None) -> Image:
        manifest = self._repository.image(
            self._reference.digest or self._reference.tag or "latest", platform
        )
        raw_config = self._repository.config(manifest.config)
        layers = _pair(manifest, ImageConfig.decode(raw_config))
        with self._store.lease() as lease:
            for descriptor, diff_id in layers:
                lease.add(descriptor.digest)
                lease.add(diff_id)
            self._fetch_all(layers)
            return self._store.put_image(
                manifest.raw, raw_config, names=self._names(), media_type=manifest.media_type
            )

    def _names(self) -> list[Reference]:
        """What the image is called here; one asked for by digest alone is found by its digest."""
        tag = self._reference.tag
        return [self._reference.with_tag(tag)] if tag is not None else []

    def _fetch_all(self, layers: Sequence[tuple[Descriptor, Digest]]) -> None:
        """All layers, a few at a time; the first failure stops the others."""
        # An image may have the same layer twice: one download serves both.
        jobs = [partial(self._fetch, *layer) for layer in dict.fromkeys(layers)]
        run_all(jobs, width=_PARALLEL, stop=self._stop)

    def _stop(self) -> None:
        """End all downloads; what has arrived stays in the partial files."""
        self._client.retry.stop.set()
        for stream in list(self._streams):
            stream.abort()

    def _fetch(self, descriptor: Descriptor, diff_id: Digest) -> None:
        """One layer, unless it is here or another process brings it meanwhile."""
        name = descriptor.digest
        self._progress.start(name, descriptor.size)
        with self._store.lock_digest(descriptor.digest):
            if self._store.has_blob(descriptor.digest) and self._store.has_layer(diff_id):
                self._progress.done(name, "already exists")
                return
            if self._store.has_blob(descriptor.digest):
                with self._store.open_blob(descriptor.digest) as blob:
                    self._store.put_layer(blob, descriptor, diff_id)
                self._progress.done(name, "unpacked")
                return
            self._download(descriptor, diff_id)
            self._progress.done(name, "pulled")

    def _download(self, descriptor: Descriptor, diff_id: Digest) -> None:
        kept = self._store.partial_blob(descriptor.digest)
        while True:
            resumed = kept.exists()
            try:
                self._receive(descriptor, diff_id, kept)
                break
            except (BadDigest, BadArchive):
                kept.unlink(missing_ok=True)
                # What an earlier run left may be what is wrong (a machine that lost power): once
                # more from nothing. What came in one piece is wrong at the registry.
                if not resumed:
                    raise
        kept.unlink()

    def _receive(self, descriptor: Descriptor, diff_id: Digest, kept: Path) -> None:
        stream = BlobStream(
            self._client,
            self._reference.path,
            descriptor,
            kept,
            arrived=lambda position: self._progress.at(descriptor.digest, position),
        )
        self._streams.add(stream)
        try:
            self._take(cast(BinaryIO, stream), descriptor, diff_id)
        finally:
            self._streams.discard(stream)
            stream.close()

    def _take(self, stream: BinaryIO, descriptor: Descriptor, diff_id: Digest) -> None:
        if self._store.has_layer(diff_id):
            # The same tar in another compression: only the blob is new, for pushes to come.
            self._store.put_blob(stream, descriptor)
        else:
            self._store.put_layer(stream, descriptor, diff_id)


def _pair(manifest: Manifest, config: ImageConfig) -> list[tuple[Descriptor, Digest]]:
    """Each layer with its diffID; BadImage when there are more of one than of the other."""
    diff_ids = config.rootfs.diff_ids
    if len(manifest.layers) != len(diff_ids):
        raise BadImage(
            f"{manifest.config.digest}: {len(manifest.layers)} layers in the manifest and "
            f"{len(diff_ids)} diffIDs in the config"
        )
    return list(zip(manifest.layers, diff_ids, strict=True))
