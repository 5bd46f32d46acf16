"""A registry as a source or sink of images, for copies that leave the store alone."""

from __future__ import annotations

import tempfile
from typing import BinaryIO, cast

from layertool.errors import BadImage
from layertool.oci.digest import Digest
from layertool.oci.media import is_nondistributable
from layertool.oci.model import Descriptor, Index, Manifest, parse_manifest
from layertool.oci.names import Reference
from layertool.oci.platform import Platform
from layertool.store.blobs import VerifyingReader
from layertool.transport.registry.client import Client, Options
from layertool.transport.registry.download import BlobStream
from layertool.transport.registry.manifests import Repository
from layertool.transport.registry.push import put_document, put_manifest
from layertool.transport.registry.upload import Uploader
from layertool.transport.source import SourceImage, SourceTree


class RegistrySource:
    """The image behind a reference; of an index, the one for `platform` (this machine's)."""

    def __init__(
        self,
        reference: Reference,
        *,
        options: Options | None = None,
        platform: Platform | None = None,
    ) -> None:
        self._reference = reference
        self._client = Client(reference.domain, reference.path, options)
        self._repository = Repository(self._client, reference.path)
        self._wanted = reference.digest or reference.tag or "latest"
        self._platform = platform

    def manifests(self) -> list[SourceImage]:
        """The one image, as the registry's bytes."""
        manifest = self._repository.image(self._wanted, self._platform)
        return [
            SourceImage(
                manifest=manifest.raw,
                media_type=manifest.media_type,
                names=[self._reference],
                source=self,
            )
        ]

    def trees(self) -> list[SourceTree]:
        """What the reference stands for, the index if it is one."""
        return [SourceTree(self._repository.manifest(self._wanted), [self._reference])]

    def child(self, descriptor: Descriptor) -> Manifest | Index:
        """What an index lists. Raises `BadImage` when it is not of the type that the index says."""
        found = self._repository.manifest(descriptor.digest)
        return parse_manifest(found.raw, descriptor.mediaType)

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        """The blob as it comes, through cut connections; nothing is asked for before it is read."""
        return cast(BinaryIO, BlobStream(self._client, self._reference.path, descriptor))

    def close(self) -> None:
        self._client.close()


class RegistrySink:
    """A repository, and the tag or digest of `reference` in it."""

    def __init__(self, reference: Reference, *, options: Options | None = None) -> None:
        self._reference = reference
        self._client = Client(reference.domain, reference.path, options)
        self._uploader = Uploader(self._client, reference.path)

    def put_blob(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        """Have the blob there. One that the registry has, or may not have, is not read at all."""
        if is_nondistributable(descriptor.mediaType) or self._uploader.has(descriptor):
            return
        # An upload may have to be sent twice, after a 401 or a cut, and a stream from another
        # registry comes once. It is checked on the way: a wrong one is not offered to anybody.
        with tempfile.NamedTemporaryFile(prefix="layertool-") as kept:
            VerifyingReader(stream, descriptor.size, cast(BinaryIO, kept)).finish(descriptor)
            kept.flush()
            self._uploader.upload(descriptor, lambda: _opened(kept.name))

    def put_child(self, raw: bytes, media_type: str) -> None:
        """Put a manifest that an index lists under its digest alone."""
        put_document(self._client, self._reference, Digest.of(raw), raw, media_type)

    def put_manifest(self, raw: bytes, media_type: str, names: list[Reference]) -> None:
        """Put the manifest under its digest and the tag that the copy was asked for."""
        wanted, actual = self._reference.digest, Digest.of(raw)
        if wanted is not None and wanted != actual:
            raise BadImage(f"{self._reference}: the image's digest is {actual}")
        put_manifest(self._client, self._reference, raw, media_type)

    def close(self) -> None:
        self._client.close()


def _opened(path: str) -> BinaryIO:
    return open(path, "rb")
