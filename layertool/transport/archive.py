"""docker-archive: what `docker save` writes and `docker load` reads (docker's image v1.2).

`manifest.json` lists the images: {Config, RepoTags, Layers}, all names of members. The format has
no manifest: one is made here from the configuration and the layer files, the same each time. Since
docker 25 the archive is an OCI layout too; then the manifest that lies there is the true one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from layertool.archive import Compression, open_decompressor, sniff
from layertool.errors import BadImage, LayertoolError, NotFound
from layertool.oci import media
from layertool.oci.digest import Digest
from layertool.oci.model import MAX_CONFIG, MAX_MANIFEST, Descriptor, ImageConfig, Manifest
from layertool.oci.names import Reference
from layertool.store.blobs import VerifyingReader
from layertool.transport.layout import TarFile
from layertool.transport.members import Members
from layertool.transport.source import SourceImage

MANIFEST_FILE = "manifest.json"
_CHUNK = 1 << 20


class ArchivedImage(msgspec.Struct, rename="pascal"):
    """One element of manifest.json."""

    config: str
    layers: list[str] = msgspec.field(default_factory=list)
    repo_tags: list[str] | None = None

    def names(self) -> list[Reference]:
        """The tags that are well formed."""
        found = []
        for text in self.repo_tags or []:
            with contextlib.suppress(LayertoolError):
                found.append(Reference.parse(text))
        return found


def read_list(members: Members) -> list[ArchivedImage]:
    """manifest.json. Raises `BadImage` when it is not what docker writes."""
    raw = members.read(MANIFEST_FILE, MAX_MANIFEST)
    try:
        return msgspec.json.decode(raw, type=list[ArchivedImage])
    except msgspec.DecodeError as error:
        raise BadImage(f"{MANIFEST_FILE}: {error}") from None


class DockerArchiveSource:
    """The images of a docker-archive; with `tag` (a name or its tag) only that one."""

    def __init__(self, members: Members, label: str, *, tag: str | None = None) -> None:
        self._members = members
        self._label = label
        self._tag = tag
        self._blobs: dict[Digest, str] = {}

    def manifests(self) -> list[SourceImage]:
        """Raises `NotFound` for an unknown tag, `BadImage` for a damaged archive."""
        found = [image for image in read_list(self._members) if self._is_wanted(image)]
        if not found:
            raise NotFound(f"{self._label}: no image {self._tag or ''}".rstrip())
        return [self._image(image) for image in found]

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        return self._members.open(self._blobs[descriptor.digest])

    def close(self) -> None:
        self._members.close()

    def _is_wanted(self, image: ArchivedImage) -> bool:
        return self._tag is None or any(
            self._tag in (name.tag, name.familiar, name.familiar_name, str(name))
            for name in image.names()
        )

    def _image(self, image: ArchivedImage) -> SourceImage:
        raw = self._members.read(image.config, MAX_CONFIG)
        config = ImageConfig.decode(raw)
        if len(image.layers) != len(config.rootfs.diff_ids):
            raise BadImage(
                f"{self._label}: {image.config}: {len(config.rootfs.diff_ids)} diffIDs, but "
                f"{MANIFEST_FILE} lists {len(image.layers)} layers"
            )
        pairs = zip(image.layers, config.rootfs.diff_ids, strict=True)
        manifest = manifest_of(raw, [self._layer(name, diff_id) for name, diff_id in pairs])
        self._blobs[manifest.config.digest] = image.config
        return SourceImage(manifest.raw, media.DOCKER_MANIFEST, image.names(), self)

    def _layer(self, name: str, diff_id: Digest) -> Descriptor:
        """An uncompressed layer's digest is its diffID, which is verified when it is stored."""
        size = self._members.find(name).size
        with self._members.open(name) as stream:
            compression = sniff(stream.read(512))
        digest = diff_id if compression is Compression.NONE else self._digest(name)
        self._blobs[digest] = name
        return layer_descriptor(digest, size, compression)

    def _digest(self, name: str) -> Digest:
        digest = hashlib.sha256()
        with self._members.open(name) as stream:
            while data := stream.read(_CHUNK):
                digest.update(data)
        return Digest.from_hex(digest.hexdigest())


class DockerArchiveSink:
    """Writes a docker-archive that any docker, podman or skopeo loads.

    Layers are stored uncompressed, as `docker save` does: image ids survive, the digests of a
    manifest with compressed layers cannot (`keeps_digest`).
    """

    def __init__(self, path: Path) -> None:
        self._tar = TarFile(path)
        self._members: dict[Digest, str] = {}
        self._images: list[dict[str, Any]] = []

    def put_blob(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        if descriptor.digest in self._members:
            return
        reader = VerifyingReader(stream, descriptor.size, None)
        if media.is_layer(descriptor.mediaType):
            name = self._put_layer(cast(BinaryIO, reader))
        else:
            name = f"{descriptor.digest.hex}.json"
            self._tar.add(name, reader)
        reader.finish(descriptor)
        self._members[descriptor.digest] = name

    def put_manifest(self, raw: bytes, media_type: str, names: list[Reference]) -> None:
        manifest = Manifest.decode(raw)
        self._images.append(
            {
                "Config": self._members[manifest.config.digest],
                "RepoTags": [name.familiar for name in names if name.tag],
                "Layers": [self._members[layer.digest] for layer in manifest.layers],
            }
        )

    def close(self) -> None:
        if not self._images:
            self._tar.discard()
            return
        self._tar.add(MANIFEST_FILE, io.BytesIO(msgspec.json.encode(self._images)))
        self._tar.publish()

    def _put_layer(self, stream: BinaryIO) -> str:
        plain = VerifyingReader(open_decompressor(stream), None, None)
        name = ""

        def named() -> str:
            nonlocal name
            name = f"{plain.finish(None).hex}.tar"
            return name

        self._tar.add(named, plain)
        return name


def manifest_of(config: bytes, layers: Sequence[Descriptor]) -> Manifest:
    """The manifest that stands for an image of a docker-archive: the same bytes each time."""
    return Manifest.build(
        Descriptor.of(config, media.DOCKER_CONFIG), layers, media_type=media.DOCKER_MANIFEST
    )


def layer_descriptor(digest: Digest, size: int, compression: Compression) -> Descriptor:
    """A layer as a docker manifest describes it."""
    types = {
        Compression.NONE: media.DOCKER_LAYER,
        Compression.GZIP: media.DOCKER_LAYER_GZIP,
        Compression.ZSTD: media.OCI_LAYER_ZSTD,
    }
    if compression not in types:
        raise BadImage(f"layer {digest}: {compression.value} is no compression for image layers")
    return Descriptor(mediaType=types[compression], digest=digest, size=size)


def keeps_digest(manifest: Manifest, config: ImageConfig) -> bool:
    """Whether a docker-archive of this image leads back to the same manifest."""
    layers = [
        layer_descriptor(diff_id, layer.size, Compression.NONE)
        for layer, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    ]
    return manifest_of(config.raw, layers).digest == manifest.digest
