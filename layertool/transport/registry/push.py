"""An image of the store into a registry, byte for byte: blobs, config, manifest, then the tag."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from layertool.errors import BadImage, NotFound
from layertool.oci.digest import Digest
from layertool.oci.media import is_nondistributable
from layertool.oci.model import Descriptor
from layertool.oci.names import Reference
from layertool.store import Image, Store
from layertool.transport.registry.client import Client, Options
from layertool.transport.registry.parallel import run_all
from layertool.transport.registry.progress import Progress, Silent
from layertool.transport.registry.upload import CHUNK, Uploader, push_scopes

_PARALLEL = 3  # blobs at once
_MOST_SOURCES = 2  # repositories to try a mount from; each try is a round trip


def push(
    store: Store,
    image: Image,
    reference: Reference,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    chunk: int = CHUNK,
) -> Digest:
    """Have `image` in the registry as `reference`; the digest of its manifest there.

    Raises NotFound when the store does not have a layer's blob any more, AuthError, RegistryError,
    BadImage when `reference` carries another digest than the image has.
    """
    if reference.digest is not None and reference.digest != image.manifest_digest:
        raise BadImage(f"{reference}: the image's digest is {image.manifest_digest}")
    shown = progress or Silent()
    told = (options or Options()).telling(shown.note)
    client = Client(reference.domain, reference.path, told)
    try:
        _Push(store, image, reference, client, shown, chunk).run()
    finally:
        client.close()
    return image.manifest_digest


class _Push:
    def __init__(
        self,
        store: Store,
        image: Image,
        reference: Reference,
        client: Client,
        progress: Progress,
        chunk: int,
    ) -> None:
        self._store = store
        self._image = image
        self._reference = reference
        self._client = client
        self._progress = progress
        self._uploader = Uploader(client, reference.path, chunk=chunk)

    def run(self) -> None:
        blobs = self._blobs()
        self._check_complete(blobs)
        mounts = _mount_sources(self._store, self._reference, blobs)
        jobs = [partial(self._put, blob, mounts.get(blob.digest, [])) for blob in blobs]
        run_all(jobs, width=_PARALLEL, stop=self._client.retry.stop.set)
        put_manifest(
            self._client,
            self._reference,
            self._image.manifest.raw,
            self._image.manifest.media_type,
        )

    def _blobs(self) -> list[Descriptor]:
        """Layers and config, each once; layers that may not be distributed stay where they are."""
        manifest = self._image.manifest
        layers = [layer for layer in manifest.layers if not is_nondistributable(layer.mediaType)]
        return list({blob.digest: blob for blob in [*layers, manifest.config]}.values())

    def _check_complete(self, blobs: Sequence[Descriptor]) -> None:
        """Before the first byte goes out: half an image in a registry helps nobody."""
        for blob in blobs:
            if not self._store.has_blob(blob.digest):
                raise NotFound(
                    f"{self._reference}: blob {blob.digest} is not in the store; "
                    "pull or import the image again to push it unchanged"
                )

    def _put(self, blob: Descriptor, mounts: Sequence[str]) -> None:
        self._progress.start(blob.digest, blob.size)
        outcome = self._uploader.put(
            blob,
            lambda: self._store.open_blob(blob.digest),
            mounts=mounts,
            sent=lambda position: self._progress.at(blob.digest, position),
        )
        self._progress.done(blob.digest, outcome.value)


def put_manifest(client: Client, reference: Reference, raw: bytes, media_type: str) -> None:
    """Put a manifest or index under its digest, then under the tag of `reference` if it has one.

    By digest first: a tag never points at something that the registry does not have.
    """
    put_document(client, reference, Digest.of(raw), raw, media_type)
    if reference.tag is not None:
        put_document(client, reference, reference.tag, raw, media_type)


def put_document(
    client: Client, reference: Reference, name: str, raw: bytes, media_type: str
) -> None:
    """Put a manifest or index into the repository of `reference` under a digest or tag."""
    client.call(
        "PUT",
        f"/v2/{reference.path}/manifests/{name}",
        what=f"manifest of {reference}",
        scopes=push_scopes(reference.path),
        expect=(200, 201, 202),
        headers={"Content-Type": media_type},
        body=raw,
    ).close()


def _mount_sources(
    store: Store, reference: Reference, blobs: Sequence[Descriptor]
) -> dict[str, list[str]]:
    """For each blob, other repositories of the same registry that should have it.

    They are known from the names of the images here that contain it: a base image pulled from a
    registry need not be uploaded to that registry again.
    """
    wanted = {blob.digest for blob in blobs}
    sources: dict[str, list[str]] = {}
    for image in store.images():
        paths = {
            name.path
            for name in image.names
            if name.domain == reference.domain and name.path != reference.path
        }
        for layer in image.manifest.layers if paths else []:
            if layer.digest in wanted:
                known = sources.setdefault(layer.digest, [])
                known.extend(path for path in sorted(paths) if path not in known)
    return {digest: known[:_MOST_SOURCES] for digest, known in sources.items()}
