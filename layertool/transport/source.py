"""The interface that every transport shares: a place images come from, a place they go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol, runtime_checkable

from layertool.errors import BadDigest, BadImage
from layertool.oci.digest import Digest
from layertool.oci.model import MAX_CONFIG, Descriptor, Index, Manifest, parse_manifest
from layertool.oci.names import Reference

MAX_NESTING = 4  # an index in an index; deeper is nobody's image


class Source(Protocol):
    """Where images come from. Nothing it hands out is verified: whoever keeps it must do that."""

    def manifests(self) -> list[SourceImage]:
        """The images for one platform, as the bytes of their manifests."""

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        """The content behind a descriptor of one of the manifests."""

    def close(self) -> None:
        """Give up files and connections."""


class Sink(Protocol):
    """Where images go to: first the blobs of one, configuration included, then its manifest."""

    def put_blob(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        """Write content; a sink that has it already reads nothing."""

    def put_manifest(self, raw: bytes, media_type: str, names: list[Reference]) -> None:
        """Complete an image and name it."""

    def close(self) -> None:
        """Publish what was completed; what was not leaves no trace."""


@runtime_checkable
class IndexSource(Source, Protocol):
    """A source that has indexes: images for several platforms under one name."""

    def trees(self) -> list[SourceTree]:
        """What the names stand for, without a choice of platform."""

    def child(self, descriptor: Descriptor) -> Manifest | Index:
        """What an index lists, verified. Raises `NotFound` when the source has not all of it."""


@runtime_checkable
class IndexSink(Sink, Protocol):
    """A sink with a place for indexes: first what one lists, then itself by `put_manifest`."""

    def put_child(self, raw: bytes, media_type: str) -> None:
        """Write a manifest or index that another index lists; it gets no name."""


@dataclass(frozen=True, slots=True)
class SourceTree:
    """One image of a source for all its platforms: an index, or a manifest without one."""

    document: Manifest | Index
    names: Sequence[Reference]


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a source: the manifest's bytes, their media type, and its names there."""

    manifest: bytes
    media_type: str
    names: Sequence[Reference]
    source: Source

    def parsed(self) -> Manifest:
        """Raises `BadImage` for an index."""
        document = parse_manifest(self.manifest, self.media_type)
        if not isinstance(document, Manifest):
            raise BadImage("an index is no image: choose a platform first")
        return document

    def config(self) -> bytes:
        """The bytes of the configuration, verified. Raises `BadImage` or `BadDigest`."""
        descriptor = self.parsed().config
        if descriptor.size > MAX_CONFIG:
            raise BadImage(
                f"configuration {descriptor.digest}: {descriptor.size} bytes, "
                f"more than the limit of {MAX_CONFIG}"
            )
        with self.open_blob(descriptor) as stream:
            raw = stream.read(descriptor.size + 1)
        actual = Digest.of(raw)
        if actual != descriptor.digest:
            raise BadDigest.mismatch("configuration", descriptor.digest, actual)
        return raw

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        """The content behind a descriptor of the manifest, not verified yet."""
        return self.source.open_blob(descriptor)
