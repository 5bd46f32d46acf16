"""Packing a directory as a layer: the mirror of `extract`.

One pass: the tree is walked in a fixed order, each file read once, and a thread hashes and
compresses what the walk produces. The output depends on the tree alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from layertool.archive import headers
from layertool.archive.compress import CHUNK, Compression, open_compressor
from layertool.archive.extract import Placed, place
from layertool.archive.headers import Entry
from layertool.archive.index import IndexWriter
from layertool.archive.owner import Owner
from layertool.archive.tree import TreeReader
from layertool.oci.digest import Digest

_AHEAD = 8  # chunks between the walk and the compressor


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer as written."""

    digest: Digest
    """Of the compressed bytes: the name of the blob."""
    diff_id: Digest
    """Of the uncompressed archive."""
    size: int
    """Bytes written, compressed."""
    entries: int
    bytes: int
    """Logical bytes of the files."""
    warnings: list[str] = field(default_factory=list)
    """What a layer cannot carry, one line each."""


def pack_layer(
    dir_fd: int,
    out: BinaryIO,
    *,
    compression: Compression = Compression.GZIP,
    epoch: int | None = None,
    whole_tree: bool = False,
) -> Packed:
    """Write the directory `dir_fd` to `out` as a layer.

    The directory is an upper: what the kernel's overlayfs, fuse-overlayfs or aufs style mark as
    deleted becomes a whiteout; with `whole_tree` it is a root file system in which nothing has such
    a meaning. A tree without marks packs the same either way. The root has an entry only when it
    differs from 0755, 0:0, no xattrs.

    `epoch`: seconds; later times become this one. Raises `Unsupported` for what a layer cannot
    express (renamed directories, names starting with `.wh.`), `OSError` with the path.
    """
    tree = TreeReader(dir_fd, epoch=epoch, whole_tree=whole_tree)
    with _Recorder(tree, out, compression) as recorder:
        for entry in recorder:
            left = entry.size
            while left:
                left -= len(recorder.view(left))
        return recorder.finish()


def copy_layer(
    dir_fd: int,
    out: BinaryIO,
    root_fd: int,
    *,
    compression: Compression = Compression.GZIP,
    epoch: int | None = None,
    owner: Owner = Owner.KEEP,
    index: IndexWriter | None = None,
) -> tuple[Packed, Placed]:
    """Pack the upper `dir_fd` to `out`, and unpack the same layer below `root_fd`, in one pass.

    The result is that of `pack_layer` followed by `extract_layer(format="kernel")`, but each file
    is read once and nothing is inflated. Raises what these two raise.
    """
    tree = TreeReader(dir_fd, epoch=epoch)
    with _Recorder(tree, out, compression) as recorder:
        placed = place(recorder, root_fd, format="kernel", owner=owner, index=index)
        return recorder.finish(), placed


class _Recorder:
    """Passes the entries of a tree on, and writes each to the archive as it goes past."""

    def __init__(self, tree: TreeReader, out: BinaryIO, compression: Compression) -> None:
        self._tree = tree
        self._writer = _Writer(out, compression)
        self._entries = 0
        self._bytes = 0

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.stop()
        self._tree.close()

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._tree:
            self._writer.write(headers.encode(entry))
            yield entry
            self._writer.write(bytes(headers.padding(entry.size)))
            self._entries += 1
            self._bytes += entry.size

    def view(self, most: int) -> memoryview:
        """Up to `most` bytes of the current entry's data; all of it must be taken."""
        data = self._tree.view(most)
        self._writer.write(data)
        return data

    def finish(self) -> Packed:
        """End the archive, once all entries were taken."""
        self._writer.write(headers.END_OF_ARCHIVE)
        written = self._writer.finish()
        return Packed(
            digest=written.digest,
            diff_id=written.diff_id,
            size=written.size,
            entries=self._entries,
            bytes=self._bytes,
            warnings=self._tree.warnings,
        )


@dataclass(frozen=True, slots=True)
class _Written:
    digest: Digest
    diff_id: Digest
    size: int


class _Writer:
    """Hashes and compresses in a thread what the walk hands over."""

    def __init__(self, out: BinaryIO, compression: Compression) -> None:
        self._blob = _Hashing(out)
        self._compressor = open_compressor(cast(BinaryIO, self._blob), compression)
        self._diff = hashlib.sha256()
        self._pending = bytearray()
        self._queue: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="compress", daemon=True)
        self._thread.start()

    def write(self, data: bytes | memoryview) -> None:
        """Add to the archive. Raises what compressing or writing raised meanwhile."""
        self._pending += data
        if len(self._pending) >= CHUNK:
            self._hand_over()

    def finish(self) -> _Written:
        """Write everything out."""
        self._hand_over()
        self._end_thread()
        self._raise()
        self._compressor.close()
        return _Written(
            digest=Digest.from_hex(self._blob.hash.hexdigest()),
            diff_id=Digest.from_hex(self._diff.hexdigest()),
            size=self._blob.size,
        )

    def stop(self) -> None:
        """End all threads, whatever has happened; does nothing after `finish`."""
        self._end_thread()
        if not self._compressor.closed:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._compressor.close()

    def _end_thread(self) -> None:
        """Let the thread finish what it already has."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _hand_over(self) -> None:
        self._raise()
        self._queue.put(bytes(self._pending))
        self._pending.clear()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            # After an error only drain, so that the walk is never left waiting.
            if self._error is None:
                try:
                    self._diff.update(data)
                    self._compressor.write(data)
                except BaseException as error:
                    self._error = error


class _Hashing:
    """Counts and hashes what goes to the blob."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""
