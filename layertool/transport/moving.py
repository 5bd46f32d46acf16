"""Images between a transport and the store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, cast

from layertool.errors import BadImage, NotFound, UsageError
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, ImageConfig
from layertool.oci.names import Reference
from layertool.store import Image, Store
from layertool.transport.registry.progress import Progress, Silent, Watched
from layertool.transport.source import Sink, Source, SourceImage

if TYPE_CHECKING:
    from layertool.oci.platform import Platform

_PARALLEL = 3  # layers unpacked at once: they share one interpreter, and one disk


def load_into(
    store: Store,
    source: Source,
    *,
    names: Sequence[Reference] = (),
    platform: Platform | None = None,
    progress: Progress | None = None,
) -> list[Image]:
    """Store the images of `source`, under `names` or else the names they have there.

    Layers are unpacked in parallel; an image appears when all of it is verified. With `platform`
    an image for another one is refused. Raises `UsageError` when `names` would fit several images.
    """
    found = source.manifests()
    if names and len(found) > 1:
        known = ", ".join(name.familiar for image in found for name in image.names)
        raise UsageError(
            f"there are {len(found)} images ({known}): choose one with SRC:TAG to give it a name"
        )
    return [
        _load(store, image, names or image.names, platform, progress or Silent()) for image in found
    ]


def _load(
    store: Store,
    image: SourceImage,
    names: Sequence[Reference],
    platform: Platform | None,
    progress: Progress,
) -> Image:
    manifest, config = image.parsed(), image.config()
    parsed = ImageConfig.decode(config)
    diff_ids = parsed.rootfs.diff_ids
    if len(manifest.layers) != len(diff_ids):
        raise BadImage(
            f"manifest {manifest.digest}: {len(manifest.layers)} layers, but {len(diff_ids)} "
            "diffIDs in its configuration"
        )
    if platform is not None and (parsed.os, parsed.architecture) != (
        platform.os,
        platform.architecture,
    ):
        raise NotFound(f"image is for {parsed.platform}, not for {platform}")
    pairs = dict(zip(diff_ids, manifest.layers, strict=True))
    with store.lease() as lease:
        lease.add(*pairs, *(descriptor.digest for descriptor in pairs.values()))
        _all_layers(store, image, pairs, progress)
        return store.put_image(image.manifest, config, names=names, media_type=image.media_type)


def _all_layers(
    store: Store, image: SourceImage, pairs: dict[Digest, Descriptor], progress: Progress
) -> None:
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="layer") as pool:
        waiting = [
            pool.submit(_layer, store, image, descriptor, diff_id, progress)
            for diff_id, descriptor in pairs.items()
        ]
        try:
            for task in waiting:
                task.result()
        except BaseException:
            for task in waiting:
                task.cancel()
            raise


def _layer(
    store: Store, image: SourceImage, descriptor: Descriptor, diff_id: Digest, progress: Progress
) -> None:
    progress.start(descriptor.digest, descriptor.size)
    with image.open_blob(descriptor) as stream:
        watched = Watched(stream, descriptor.digest, progress)
        store.put_layer(cast(BinaryIO, watched), descriptor, diff_id)
    progress.done(descriptor.digest, "stored" if watched.position else "already exists")


def save_from(
    store: Store, image: Image, sink: Sink, names: Sequence[Reference] | None = None
) -> None:
    """Write an image to `sink`, bytes as they came, under `names` (default: all it has); closes it.

    Raises `NotFound` when a blob was not kept.
    """
    try:
        for descriptor in dict.fromkeys([*image.manifest.layers, image.manifest.config]):
            with store.open_blob(descriptor.digest) as stream:
                sink.put_blob(descriptor, stream)
        chosen = list(image.names if names is None else names)
        sink.put_manifest(image.manifest.raw, image.manifest.media_type, chosen)
    finally:
        sink.close()
