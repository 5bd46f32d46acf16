"""Images from one place to another without the store, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, cast

from layertool.errors import UsageError
from layertool.oci.digest import Digest
from layertool.oci.model import ImageConfig, Manifest
from layertool.oci.names import Reference
from layertool.transport.archive import DockerArchiveSink, keeps_digest
from layertool.transport.registry.progress import Progress, Silent, Watched
from layertool.transport.source import Sink, Source, SourceImage


def copy_images(
    source: Source,
    sink: Sink,
    *,
    names: Sequence[Reference] = (),
    one: bool = False,
    progress: Progress | None = None,
) -> list[Digest]:
    """Copy all images of `source`, under `names` or their own; the digests of their manifests.

    Closes both. With `one`, because the target has a place for one only, several are refused with
    UsageError. Raises BadDigest when a blob is another than its manifest says; then the target has
    nothing of that image under a name.
    """
    try:
        images = source.manifests()
        if one and len(images) > 1:
            raise UsageError(f"the source has {len(images)} images: choose one with SRC:TAG")
        return [_copy(image, sink, names, progress or Silent()) for image in images]
    finally:
        sink.close()
        source.close()


def _copy(image: SourceImage, sink: Sink, names: Sequence[Reference], progress: Progress) -> Digest:
    manifest = image.parsed()
    for descriptor in dict.fromkeys([*manifest.layers, manifest.config]):
        progress.start(descriptor.digest, descriptor.size)
        with image.open_blob(descriptor) as stream:
            watched = Watched(stream, descriptor.digest, progress)
            sink.put_blob(descriptor, cast(BinaryIO, watched))
        progress.done(descriptor.digest, "copied" if watched.position else "already exists")
    sink.put_manifest(image.manifest, manifest.media_type, list(names or image.names))
    if isinstance(sink, DockerArchiveSink) and not _survives(image, manifest):
        progress.note(
            f"{manifest.digest}: a docker-archive has no compressed layers, so the image has "
            "another digest there; its id is the same"
        )
    return manifest.digest


def _survives(image: SourceImage, manifest: Manifest) -> bool:
    """Whether reading the docker-archive back gives the same manifest."""
    return keeps_digest(manifest, ImageConfig.decode(image.config()))
