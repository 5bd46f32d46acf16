"""Unpacked layers: immutable trees by diffID, shared by every image and container.

A layer is unpacked below tmp/, verified, flushed, and appears under its name in one rename; its
row comes last. So a kill at any time leaves the old state and litter that the next start removes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from layertool.archive import (
    Compression,
    IndexEntry,
    IndexWriter,
    Limits,
    default_owner,
    extract_layer,
    open_decompressor,
    pack_layer,
)
from layertool.archive.index import read_index
from layertool.errors import BadDigest, NotFound, StoreError
from layertool.oci import media
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor
from layertool.store.blobs import CHUNK, BlobWriter, VerifyingReader, open_blob
from layertool.store.database import Database
from layertool.store.layout import Layout
from layertool.store.locks import Scratch, locked
from layertool.store.records import NewLayer
from layertool.store.trees import disk_usage, sync_directory, sync_filesystem

_MEDIA = {
    Compression.NONE: media.OCI_LAYER,
    Compression.GZIP: media.OCI_LAYER_GZIP,
    Compression.ZSTD: media.OCI_LAYER_ZSTD,
}


class Layers:
    """All layers of a store."""

    def __init__(self, layout: Layout, database: Database, scratch: Scratch) -> None:
        self._layout = layout
        self._database = database
        self._scratch = scratch

    def has(self, diff_id: Digest) -> bool:
        return bool(self._database.query("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,)))

    def is_known_as(self, diff_id: Digest, blob: Digest) -> bool:
        """Whether this blob is known to unpack to this layer: a manifest may claim anything."""
        return bool(
            self._database.query(
                "SELECT 1 FROM layer_blobs WHERE diff_id = ? AND digest = ?", (diff_id, blob)
            )
        )

    def verify(self, descriptor: Descriptor, diff_id: Digest) -> None:
        """Have it known that the blob, which is here, is the layer. Raises `BadDigest`."""
        found = hashlib.sha256()
        with open_blob(self._layout.blob(descriptor.digest), descriptor.digest) as file:
            stream = open_decompressor(file)
            while data := stream.read(CHUNK):
                found.update(data)
        if found.hexdigest() != diff_id.hex:
            actual = Digest.from_hex(found.hexdigest())
            raise BadDigest.mismatch(f"layer {descriptor.digest}: diffID", diff_id, actual)
        with self._database.transaction() as connection:
            _pair(connection, diff_id, descriptor)

    def dir(self, diff_id: Digest) -> Path:
        """The unpacked tree. Raises `NotFound`."""
        path = self._layout.layer(diff_id) / "diff"
        if not path.is_dir():
            raise NotFound(f"layer {diff_id} is not in the store: run layertool fsck --repair")
        return path

    def index(self, diff_id: Digest) -> Iterator[IndexEntry]:
        """What the layer holds, read from the index made while it was unpacked."""
        try:
            file = open(self._layout.layer(diff_id) / "index", "rb")  # noqa: SIM115 - closed below
        except FileNotFoundError:
            raise NotFound(f"layer {diff_id} has no index: run layertool fsck --repair") from None
        with file:
            yield from read_index(file)

    def put(
        self,
        stream: BinaryIO,
        expect: Descriptor,
        diff_id: Digest,
        *,
        keep_blob: bool,
        limits: Limits | None,
    ) -> None:
        """Verify, keep and unpack a layer in one pass over `stream`; publish it last.

        Raises `BadDigest` or `BadArchive`; then nothing of it is in the store.
        """
        with (
            _space(self._layout.root),
            self._scratch.workspace("layer") as room,
            ExitStack() as stack,
        ):
            writer = BlobWriter(room / "blob") if keep_blob else None
            if writer is not None:
                stack.callback(writer.close)
            reader = VerifyingReader(stream, expect.size, writer.file if writer else None)
            tree = room / "layer"
            tree.mkdir()
            found = self._unpack(cast(BinaryIO, reader), tree, limits or Limits())
            reader.finish(expect)
            if found != diff_id:
                raise BadDigest.mismatch(f"layer {expect.digest}: diffID", diff_id, found)
            self._publish(tree, writer, expect, diff_id)

    def _unpack(self, stream: BinaryIO, tree: Path, limits: Limits) -> Digest:
        """Unpack into `tree`/diff with its index beside it; the diffID."""
        (tree / "diff").mkdir(mode=0o755)
        root_fd = os.open(tree / "diff", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(tree / "index", "w+b") as file:
                index = IndexWriter(file)
                done = extract_layer(
                    stream,
                    root_fd,
                    format="kernel",
                    owner=default_owner(),
                    index=index,
                    limits=limits,
                )
                index.close()
        finally:
            os.close(root_fd)
        (tree / "meta").write_text(f"bytes {done.bytes}\nentries {done.entries}\n")
        return done.diff_id

    def _publish(
        self, tree: Path, writer: BlobWriter | None, descriptor: Descriptor, diff_id: Digest
    ) -> None:
        meta = dict(line.split() for line in (tree / "meta").read_text().splitlines())
        disk = disk_usage(tree)
        sync_filesystem(tree)
        with locked(self._layout.lock("store"), shared=True):
            if writer is not None:
                writer.publish(self._layout.blob(descriptor.digest))
            self._place(tree, self._layout.layer(diff_id))
            with self._database.transaction() as connection:
                if writer is not None:
                    size = os.stat(self._layout.blob(descriptor.digest)).st_blocks * 512
                    connection.execute(
                        "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)",
                        (descriptor.digest, descriptor.size, size),
                    )
                connection.execute(
                    "INSERT OR IGNORE INTO layers VALUES (?, ?, ?, ?)",
                    (diff_id, int(meta["bytes"]), int(meta["entries"]), disk),
                )
                _pair(connection, diff_id, descriptor)

    def _place(self, tree: Path, target: Path) -> None:
        """One rename; whoever comes second finds the same content there and drops its own."""
        try:
            os.rename(tree, target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return
        sync_directory(target.parent)

    def commit(
        self,
        upper: Path,
        *,
        compression: Compression,
        epoch: int | None,
        exclude: Callable[[bytes], bool] | None,
        protect: Callable[[str, str], None],
    ) -> NewLayer:
        """Pack an upper into a layer of the store: blob, tree and index.

        `protect` is called with digest and diffID before they exist for others.
        """
        with _space(self._layout.root), self._scratch.workspace("commit") as room:
            blob = room / "blob"
            root_fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with open(blob, "w+b") as out:
                    packed = pack_layer(
                        root_fd, out, compression=compression, epoch=epoch, exclude=exclude
                    )
            finally:
                os.close(root_fd)
            descriptor = Descriptor(
                mediaType=_MEDIA[compression], digest=packed.digest, size=packed.size
            )
            protect(packed.digest, packed.diff_id)
            with open(blob, "rb") as stream:
                self.put(stream, descriptor, packed.diff_id, keep_blob=True, limits=None)
            return NewLayer(descriptor, packed.diff_id, packed.bytes)


def _pair(connection: sqlite3.Connection, diff_id: Digest, descriptor: Descriptor) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO layer_blobs VALUES (?, ?, ?, ?)",
        (diff_id, descriptor.digest, descriptor.mediaType, descriptor.size),
    )


@contextmanager
def _space(root: Path) -> Iterator[None]:
    """A full or failing disk is one line for people, not a traceback."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(f"{root}: {error.strerror}: free space, or run layertool gc") from None
        raise StoreError(f"{error.filename or root}: {error.strerror}") from error
