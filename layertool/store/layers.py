"""Unpacked layers: immutable trees by diffID, shared by every image and container.

A layer is unpacked below tmp/, verified, flushed, and appears under its name in one rename; its
row comes last. So a kill at any time leaves the old state and litter that the next start removes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from layertool import archive
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

if TYPE_CHECKING:
    from layertool.archive import IndexEntry, IndexWriter, Limits, Packed, Placed


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """A layer's tree, not yet published. `implicit` directories wait for the layers below."""

    diff_id: Digest
    implicit: Sequence[bytes]
    entries: int
    size: int
    """Logical bytes of the files."""


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
            stream = archive.open_decompressor(file)
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
            yield from archive.read_index(file)

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
            unpacked = self._unpack(cast(BinaryIO, reader), tree, limits or archive.Limits())
            reader.finish(expect)
            if unpacked.diff_id != diff_id:
                raise BadDigest.mismatch(
                    f"layer {expect.digest}: diffID", diff_id, unpacked.diff_id
                )
            self._publish(tree, writer, expect, unpacked)

    def _unpack(self, stream: BinaryIO, tree: Path, limits: Limits) -> _Unpacked:
        """Unpack into `tree`/diff with its index beside it."""
        with _new_tree(tree) as (root_fd, index):
            done = archive.extract_layer(
                stream,
                root_fd,
                format="kernel",
                owner=archive.default_owner(),
                index=index,
                limits=limits,
            )
        return _Unpacked(done.diff_id, done.implicit, done.entries, done.bytes)

    def _publish(
        self, tree: Path, writer: BlobWriter | None, descriptor: Descriptor, layer: _Unpacked
    ) -> None:
        (tree / "meta").write_text(f"bytes {layer.size}\nentries {layer.entries}\n")
        disk = disk_usage(tree)
        sync_filesystem(tree)
        with locked(self._layout.lock("store"), shared=True):
            if writer is not None:
                writer.publish(self._layout.blob(descriptor.digest))
            self._place(tree, self._layout.layer(layer.diff_id))
            with self._database.transaction() as connection:
                if writer is not None:
                    size = os.stat(self._layout.blob(descriptor.digest)).st_blocks * 512
                    connection.execute(
                        "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)",
                        (descriptor.digest, descriptor.size, size),
                    )
                connection.execute(
                    "INSERT OR IGNORE INTO layers VALUES (?, ?, ?, ?)",
                    (layer.diff_id, layer.size, layer.entries, disk),
                )
                _pair(connection, layer.diff_id, descriptor)
                connection.executemany(
                    "INSERT OR IGNORE INTO implicit VALUES (?, ?)",
                    [(layer.diff_id, path) for path in layer.implicit],
                )

    def settle(self, diff_ids: Sequence[Digest]) -> None:
        """Have directories that layers do not describe take after the layers below, base first.

        Done once for each layer, by the first image that has it, before anything uses the layer:
        the same layer on another base keeps what it got.
        """
        from layertool.store.parents import inherit  # reads marks of layers, as `archive` does

        for number, diff_id in enumerate(diff_ids):
            if not self._implicit(diff_id):
                continue
            with locked(self._layout.lock(f"layer-{diff_id.hex}")):
                paths = self._implicit(diff_id)
                below = [self.dir(each) for each in reversed(diff_ids[:number])]
                grown = inherit(self.dir(diff_id), below, paths)
                with self._database.transaction() as connection:
                    connection.execute("DELETE FROM implicit WHERE diff_id = ?", (diff_id,))
                    connection.execute(
                        "UPDATE layers SET disk = disk + ? WHERE diff_id = ?", (grown, diff_id)
                    )

    def _implicit(self, diff_id: Digest) -> list[bytes]:
        rows = self._database.query("SELECT path FROM implicit WHERE diff_id = ?", (diff_id,))
        return [bytes(row["path"]) for row in rows]

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
        epoch: int | None,
        protect: Callable[[str, str], None],
        watch: Callable[[BinaryIO], BinaryIO] | None = None,
    ) -> NewLayer:
        """Make an upper a layer of the store: blob, tree and index in one pass over its files.

        `protect` is called with digest and diffID before they exist for others; `watch` may wrap the
        file that the blob is written to. The upper stays as
        it is: a container goes on using it, and its files may have finer times than a layer.
        """
        with _space(self._layout.root), self._scratch.workspace("commit") as room:
            writer = BlobWriter(room / "blob")
            try:
                tree = room / "layer"
                tree.mkdir()
                out = writer.file if watch is None else watch(writer.file)
                packed, placed = self._copy(upper, out, tree, epoch)
                protect(packed.digest, packed.diff_id)
                descriptor = Descriptor(
                    mediaType=media.OCI_LAYER_GZIP, digest=packed.digest, size=packed.size
                )
                # The root has no entry when it is plain: then that is what it is, not unknown.
                implicit = [path for path in placed.implicit if path]
                layer = _Unpacked(packed.diff_id, implicit, packed.entries, packed.bytes)
                self._publish(tree, writer, descriptor, layer)
            finally:
                writer.close()
        return NewLayer(descriptor, packed.diff_id, packed.bytes)

    def _copy(
        self, upper: Path, out: BinaryIO, tree: Path, epoch: int | None
    ) -> tuple[Packed, Placed]:
        upper_fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _new_tree(tree) as (root_fd, index):
                return archive.copy_layer(
                    upper_fd,
                    out,
                    root_fd,
                    epoch=epoch,
                    owner=archive.default_owner(),
                    index=index,
                )
        finally:
            os.close(upper_fd)


@contextmanager
def _new_tree(tree: Path) -> Iterator[tuple[int, IndexWriter]]:
    """An empty `tree`/diff, open, and the index beside it, closed at the end."""
    (tree / "diff").mkdir(mode=0o755)
    root_fd = os.open(tree / "diff", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(tree / "index", "w+b") as file:
            index = archive.IndexWriter(file)
            yield root_fd, index
            index.close()
    finally:
        os.close(root_fd)


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
