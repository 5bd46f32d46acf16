"""A plain root file system in a tar: a base image of one layer, made from nothing else."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

from layertool.archive import Compression, open_decompressor, sniff
from layertool.epoch import parse_epoch, timestamp
from layertool.oci import media
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, History, ImageConfig, Manifest
from layertool.oci.names import Reference
from layertool.oci.platform import Platform, host_platform
from layertool.transport.source import SourceImage

_CHUNK = 1 << 20
_TYPES = {
    Compression.NONE: media.OCI_LAYER,
    Compression.GZIP: media.OCI_LAYER_GZIP,
    Compression.ZSTD: media.OCI_LAYER_ZSTD,
}


class RootfsSource:
    """One image whose only layer is the file, byte for byte where images allow its compression."""

    def __init__(
        self, path: Path, *, name: Reference | None = None, platform: Platform | None = None
    ) -> None:
        self._path = path
        self._name = name
        self._platform = platform or host_platform()
        self._config = b""
        self._layer: Descriptor | None = None
        with open(path, "rb") as file:
            self._compression = sniff(file.read(512))

    def manifests(self) -> list[SourceImage]:
        """Reads the file once or twice, for its digest and its diffID."""
        diff_id, plain_size = self._measure(plain=True)
        digest, size = diff_id, plain_size
        if self._compression in (Compression.GZIP, Compression.ZSTD):
            digest, size = self._measure(plain=False)
        # bzip2 and xz are no media types of layers: such a file becomes a plain layer.
        media_type = _TYPES.get(self._compression, media.OCI_LAYER)
        self._layer = Descriptor(mediaType=media_type, digest=digest, size=size)
        self._config = self._make_config(diff_id)
        manifest = Manifest.build(
            Descriptor.of(self._config, media.OCI_CONFIG),
            [self._layer],
            media_type=media.OCI_MANIFEST,
        )
        names = [self._name] if self._name is not None else []
        return [SourceImage(manifest.raw, media.OCI_MANIFEST, names, self)]

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        if self._layer is None or descriptor.digest != self._layer.digest:
            return io.BytesIO(self._config)
        file = open(self._path, "rb")  # noqa: SIM115 - closed by the reader
        return open_decompressor(file) if self._compression not in _TYPES else file

    def close(self) -> None: ...

    def _measure(self, *, plain: bool) -> tuple[Digest, int]:
        """Digest and size of the file, or of what it inflates to."""
        digest, size = hashlib.sha256(), 0
        with open(self._path, "rb") as file:
            stream = open_decompressor(file) if plain else file
            while data := stream.read(_CHUNK):
                digest.update(data)
                size += len(data)
        return Digest.from_hex(digest.hexdigest()), size

    def _make_config(self, diff_id: Digest) -> bytes:
        created = timestamp(parse_epoch())
        step = History(
            created=created,
            created_by=f"layertool import {self._path.name}",
            comment="imported from a root file system",
        )
        scratch = ImageConfig.scratch(self._platform, created=created)
        return scratch.derive([step], diff_ids=[diff_id]).raw
