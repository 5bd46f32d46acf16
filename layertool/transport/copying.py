"""Images from one place to another without the store, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, cast

from layertool.errors import BadImage, UsageError
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor, ImageConfig, Index, Manifest
from layertool.oci.names import Reference
from layertool.transport.archive import DockerArchiveSink, keeps_digest
from layertool.transport.registry.progress import Progress, Silent, Watched
from layertool.transport.source import (
    MAX_NESTING,
    IndexSink,
    IndexSource,
    Sink,
    Source,
    SourceImage,
    SourceTree,
)


def copy_images(
    source: Source,
    sink: Sink,
    *,
    names: Sequence[Reference] = (),
    one: bool = False,
    every: bool = False,
    progress: Progress | None = None,
) -> list[Digest]:
    """Copy all images of `source`, under `names` or their own; the digests of what got the names.

    Of an index only the manifest for the source's platform is copied, with `every` the index and
    all that it lists. Closes both. With `one`, because the target has a place for one only, several
    are refused with UsageError. Raises BadDigest when a blob is another than its manifest says;
    then the target has nothing of that image under a name.
    """
    try:
        trees = _whole(source, sink) if every else _chosen(source)
        if one and len(trees) > 1:
            raise UsageError(f"the source has {len(trees)} images: choose one with SRC:TAG")
        copy = _Copy(source, sink, progress or Silent())
        return [copy.tree(tree, list(names or tree.names)) for tree in trees]
    finally:
        sink.close()
        source.close()


def _chosen(source: Source) -> list[SourceTree]:
    """One manifest for each image, for the source's platform."""
    return [SourceTree(image.parsed(), image.names) for image in source.manifests()]


def _whole(source: Source, sink: Sink) -> list[SourceTree]:
    """Each image with all its platforms, as far as source and sink know such."""
    if not isinstance(sink, IndexSink):
        raise UsageError(
            "--all: a docker-archive has no place for an index; copy to a registry, oci: or "
            "oci-archive:"
        )
    return source.trees() if isinstance(source, IndexSource) else _chosen(source)


class _Copy:
    """One run from a source to a sink; nothing that several indexes list is copied twice."""

    def __init__(self, source: Source, sink: Sink, progress: Progress) -> None:
        self._source = source
        self._sink = sink
        self._progress = progress
        self._copied: set[Digest] = set()

    def tree(self, tree: SourceTree, names: list[Reference]) -> Digest:
        """All below a document first, then itself: a name never leads to something incomplete."""
        document = tree.document
        self._below(document, 0)
        self._sink.put_manifest(document.raw, document.media_type, names)
        if isinstance(document, Manifest):
            self._note_loss(document)
        return document.digest

    def _below(self, document: Manifest | Index, depth: int) -> None:
        if isinstance(document, Manifest):
            for descriptor in dict.fromkeys([*document.layers, document.config]):
                self._blob(descriptor)
        elif depth >= MAX_NESTING:
            raise BadImage(f"index {document.digest}: nested more than {MAX_NESTING} deep")
        else:
            for descriptor in document.manifests:
                self._child(descriptor, depth + 1)

    def _child(self, descriptor: Descriptor, depth: int) -> None:
        if descriptor.digest in self._copied:
            return
        # Both, or there would be no index to be in: _whole has looked.
        source, sink = cast(IndexSource, self._source), cast(IndexSink, self._sink)
        document = source.child(descriptor)
        self._below(document, depth)
        sink.put_child(document.raw, descriptor.mediaType)
        self._copied.add(descriptor.digest)

    def _blob(self, descriptor: Descriptor) -> None:
        if descriptor.digest in self._copied:
            return
        self._progress.start(descriptor.digest, descriptor.size)
        with self._source.open_blob(descriptor) as stream:
            watched = Watched(stream, descriptor.digest, self._progress)
            self._sink.put_blob(descriptor, cast(BinaryIO, watched))
        outcome = "copied" if watched.position else "already exists"
        self._progress.done(descriptor.digest, outcome)
        self._copied.add(descriptor.digest)

    def _note_loss(self, manifest: Manifest) -> None:
        """Say so when reading a docker-archive back will not give the same manifest."""
        if not isinstance(self._sink, DockerArchiveSink):
            return
        image = SourceImage(manifest.raw, manifest.media_type, (), self._source)
        if not keeps_digest(manifest, ImageConfig.decode(image.config())):
            self._progress.note(
                f"{manifest.digest}: a docker-archive has no compressed layers, so the image has "
                "another digest there; its id is the same"
            )
