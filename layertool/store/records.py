"""What the store hands out: images, new layers, sizes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, ImageConfig, Manifest
from layertool.oci.names import Reference


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer made by `commit_layer`: `bytes` of file content in it."""

    descriptor: Descriptor
    diff_id: Digest
    bytes: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the store. `id` is the digest of its config, as docker shows it."""

    id: Digest
    manifest_digest: Digest
    manifest: Manifest
    config: ImageConfig
    names: tuple[Reference, ...]
    created: str
    """RFC 3339, empty when the config does not say."""
    layer_paths: tuple[Path, ...] = field(repr=False)
    """The unpacked trees, base first."""

    def layer_dirs(self) -> list[Path]:
        """The unpacked trees, top first, as overlay's lowerdir wants them."""
        return list(reversed(self.layer_paths))

    @property
    def diff_ids(self) -> list[Digest]:
        """The layers by content, base first."""
        return list(self.config.rootfs.diff_ids)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk of one image's unpacked layers, and `compressed` in its manifest.

    `unique` belongs to this image alone, `shared` to others too; together they are `total`.
    """

    total: int
    unique: int
    shared: int
    compressed: int
    layers: int


@dataclass(frozen=True, slots=True)
class Summary:
    """An image as a list shows it, known without reading its manifest."""

    id: Digest
    manifest_digest: Digest
    names: tuple[Reference, ...]
    created: str
    """RFC 3339, empty when the config does not say."""
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Freed:
    """What gc removed (or would): `bytes` is what `du` will say less."""

    images: tuple[str, ...] = ()
    layers: int = 0
    blobs: int = 0
    cache: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something fsck found: what it is about, what is wrong, and what was done."""

    subject: str
    what: str
    repaired: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk, as du counts them; the kinds add up to `total`."""

    layers: int
    blobs: int
    containers: int
    build: int
    other: int

    @property
    def total(self) -> int:
        return self.layers + self.blobs + self.containers + self.build + self.other
