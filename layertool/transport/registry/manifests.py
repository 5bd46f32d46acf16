"""Manifests and configs of one repository: fetched, bounded, checked against what was asked."""

from __future__ import annotations

from layertool.errors import BadDigest, BadImage
from layertool.oci import media
from layertool.oci.digest import Digest
from layertool.oci.model import (
    MAX_CONFIG,
    MAX_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    parse_manifest,
)
from layertool.oci.platform import Platform, choose, host_platform
from layertool.transport.registry.client import Client

# A registry that has none of the types it sees answers 404, or converts: all of them, every time.
# Schema 1 too, so that our answer to it says what it is and not that the image does not exist.
_ACCEPT = ", ".join([*media.ACCEPTED, *sorted(media.DOCKER_SCHEMA1)])


class Repository:
    """The documents of one repository."""

    def __init__(self, client: Client, path: str) -> None:
        self.client = client
        self.path = path
        self._scopes = (f"repository:{path}:pull",)

    def manifest(self, reference: str | Digest) -> Manifest | Index:
        """The manifest or index behind a tag or digest.

        Raises NotFound, RegistryError, BadDigest when the bytes are others than the digest's,
        BadImage and Unsupported for documents that are no image.
        """
        separator = "@" if isinstance(reference, Digest) else ":"
        what = f"{self.client.domain}/{self.path}{separator}{reference}"
        raw, media_type = self.client.document(
            f"/v2/{self.path}/manifests/{reference}",
            MAX_MANIFEST,
            what=what,
            scopes=self._scopes,
            headers={"Accept": _ACCEPT},
        )
        if isinstance(reference, Digest):
            # Never Docker-Content-Digest: that is the server's word about itself.
            _check(what, raw, reference)
        return parse_manifest(raw, media_type)

    def image(self, reference: str | Digest, platform: Platform | None) -> Manifest:
        """The manifest of an image; of an index, the one for `platform` (None: this machine's).

        Raises NotFound with the platforms that exist when none of them fits.
        """
        found = self.manifest(reference)
        if isinstance(found, Manifest):
            return found
        chosen = choose(found.manifests, platform or host_platform(), inspect=self._platform_of)
        return self._child(chosen)

    def _child(self, descriptor: Descriptor) -> Manifest:
        child = self.manifest(descriptor.digest)
        if not isinstance(child, Manifest):
            raise BadImage(f"{self.path}@{descriptor.digest}: an index inside an index")
        return child

    def _platform_of(self, descriptor: Descriptor) -> Platform:
        """The platform of an index entry that states none: its config knows."""
        config = ImageConfig.decode(self.config(self._child(descriptor).config))
        return config.platform

    def config(self, descriptor: Descriptor) -> bytes:
        """The config blob of an image, checked."""
        what = f"config {descriptor.digest}"
        if descriptor.size > MAX_CONFIG:
            raise BadImage(f"{what}: {descriptor.size} bytes are more than {MAX_CONFIG}")
        raw, _ = self.client.document(
            f"/v2/{self.path}/blobs/{descriptor.digest}",
            descriptor.size,
            what=what,
            scopes=self._scopes,
        )
        _check(what, raw, descriptor.digest)
        return raw


def _check(what: str, raw: bytes, expected: Digest) -> None:
    actual = Digest.of(raw)
    if actual != expected:
        raise BadDigest.mismatch(what, expected, actual)
