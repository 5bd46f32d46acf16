"""Ways for images in and out: archives, layouts, root file systems, registries.

Each one is a `Source` or a `Sink` or both; `open_source` and `open_sink` find the one that a text
means, `load_into` and `save_from` connect them with the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from layertool.transport.source import Sink, Source, SourceImage

if TYPE_CHECKING:
    from layertool.oci.names import Reference
    from layertool.oci.platform import Platform
    from layertool.store import Image, Store
    from layertool.transport.registry.progress import Progress

__all__ = ["Sink", "Source", "SourceImage", "load_into", "open_sink", "open_source", "save_from"]

# The registry imports this package for its types: what pulls in the transports waits for a call.


def open_source(spec: str, platform: Platform | None = None) -> Source:
    """The images at `docker-archive:PATH`, `oci:DIR[:TAG]`, `oci-archive:PATH[:TAG]`,
    `docker://REFERENCE` or a bare path, which is looked at. Close it after use."""
    from layertool.transport import opening

    return opening.open_source(spec, platform)


def open_sink(spec: str) -> Sink:
    """Where to write: the same forms; a bare path goes by its suffix. Closing it publishes."""
    from layertool.transport import opening

    return opening.open_sink(spec)


def load_into(
    store: Store,
    source: Source,
    *,
    names: Sequence[Reference] = (),
    platform: Platform | None = None,
    progress: Progress | None = None,
) -> list[Image]:
    """Store the images of `source`, under `names` or else the names they have there."""
    from layertool.transport import moving

    return moving.load_into(store, source, names=names, platform=platform, progress=progress)


def save_from(
    store: Store, image: Image, sink: Sink, names: Sequence[Reference] | None = None
) -> None:
    """Write an image to `sink`, bytes as they came, under `names` (default: all it has); closes
    the sink."""
    from layertool.transport import moving

    moving.save_from(store, image, sink, names)
