"""Reading a tar, compressed or not, entry by entry from a stream.

A thread reads, inflates and hashes ahead (these release the interpreter lock) while the caller
works on the file system.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

from layertool.archive import headers
from layertool.archive.compress import CHUNK, open_decompressor
from layertool.archive.headers import BLOCK, Entry
from layertool.archive.limits import DEFAULT_LIMITS, Limits
from layertool.errors import BadArchive
from layertool.oci.digest import Digest

_AHEAD = 8  # chunks; bounds memory at 8 MiB for each layer in work
_MAX_SPARSE_EXTENTS = 1 << 20


class _Ahead:
    """Uncompressed chunks of a stream, read ahead by a thread, with their running hash."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self.hash = hashlib.sha256()
        self.size = 0
        self._stream = stream
        self._limits = limits
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._stopped = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="inflate", daemon=True)
        self._thread.start()

    def next(self) -> bytes:
        """The next chunk, b"" at the end. Raises what reading raised."""
        if self._ended:
            return b""
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        self._ended = not item
        return item

    def stop(self) -> None:
        """End the thread; the stream is the caller's again afterwards."""
        self._stopped = True
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.05)
        self._thread.join()

    def _run(self) -> None:
        try:
            source = open_decompressor(self._stream, self._limits)
            while not self._stopped:
                chunk = source.read1(CHUNK)  # type: ignore[attr-defined]
                self.hash.update(chunk)
                self.size += len(chunk)
                self._queue.put(chunk)
                if not chunk:
                    return
        except BaseException as error:
            self._queue.put(error)


class TarReader:
    """The entries of an archive, in order. A context manager; leaves the stream open.

    Iterating yields an `Entry`; `view` then gives its data, and what is not taken is skipped.
    Raises `BadArchive` for damaged, truncated or unbounded input.
    """

    def __init__(self, stream: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._source = _Ahead(stream, limits)
        self._chunk = memoryview(b"")
        self._position = 0
        self._data_left = 0
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self._logical = 0
        self.entries = 0

    def __enter__(self) -> TarReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.stop()

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            self.entries += 1
            if self.entries > self._limits.entries:
                raise BadArchive(
                    f"{headers.shown(entry.name)}: archive has more than {self._limits.entries} "
                    "entries, the limit"
                )
            self._logical += entry.logical_size
            if self._logical > self._limits.bytes:
                raise BadArchive(
                    f"{headers.shown(entry.name)}: the files have more than {self._limits.bytes} "
                    "bytes, the limit"
                )
            yield entry

    def view(self, most: int) -> memoryview:
        """Up to `most` bytes of the current entry's data that lie together in memory."""
        if self._position == len(self._chunk) and not self._refill():
            raise BadArchive("archive is truncated in the data of a file")
        end = min(self._position + min(most, self._data_left), len(self._chunk))
        view = self._chunk[self._position : end]
        self._data_left -= end - self._position
        self._position = end
        return view

    def finish(self) -> Digest:
        """Read to the very end, which the diffID covers; the digest of all of it."""
        self._chunk = memoryview(b"")
        while self._source.next():
            pass
        return Digest.from_hex(self._source.hash.hexdigest())

    @property
    def size(self) -> int:
        """Bytes of the uncompressed archive, once it is finished."""
        return self._source.size

    def _next(self) -> Entry | None:
        self._skip_rest()
        pax: list[tuple[bytes, bytes]] = []
        long_name = long_link = None
        while True:
            header = self._take(BLOCK, at_end=b"")
            if not header or header == headers.ZERO_BLOCK:
                return None
            entry = headers.decode(header)
            if entry.type in headers.PAX_NEXT:
                pax += headers.pax_records(self._extension(entry, self._limits.pax_record))
            elif entry.type == headers.PAX_GLOBAL:
                records = self._extension(entry, self._limits.pax_record)
                self._global.update(headers.pax_records(records))
            elif entry.type == headers.GNU_LONG_NAME:
                long_name = self._long_text(entry)
            elif entry.type == headers.GNU_LONG_LINK:
                long_link = self._long_text(entry)
            else:
                break
        entry.name = long_name or entry.name
        entry.link = long_link or entry.link
        self._complete(entry, header, [*self._global.items(), *pax])
        return entry

    def _complete(self, entry: Entry, header: bytes, records: list[tuple[bytes, bytes]]) -> None:
        if entry.type not in headers.KNOWN:
            raise BadArchive(
                f"{headers.shown(entry.name)}: entry of unknown type {entry.type.decode('latin1')!r}"
            )
        map_in_data = False
        if records:
            headers.apply_pax(entry, records)
            map_in_data = headers.pax_sparse(entry, records)
        gnu_sparse = entry.type == headers.GNU_SPARSE
        if gnu_sparse:
            self._gnu_sparse(entry, header)
        headers.finish(entry)
        self._data_left = entry.size
        self._padding = headers.padding(entry.size)
        if map_in_data:
            self._sparse_10(entry)
        if entry.sparse is not None:
            headers.check_sparse(entry)

    def _extension(self, entry: Entry, limit: int) -> bytes:
        """The data of a header about other entries."""
        if not 0 <= entry.size <= limit:
            raise BadArchive(
                f"{headers.shown(entry.name)}: extended header of {entry.size} bytes, "
                f"the limit is {limit}"
            )
        data = self._take(entry.size)
        self._take(headers.padding(entry.size))
        return data

    def _long_text(self, entry: Entry) -> bytes:
        return self._extension(entry, self._limits.path + BLOCK).partition(b"\0")[0]

    def _gnu_sparse(self, entry: Entry, header: bytes) -> None:
        numbers, more = headers.gnu_sparse_header(entry, header)
        while more:
            further, more = headers.gnu_sparse_extension(self._take(BLOCK))
            numbers += further
            if len(numbers) > 2 * _MAX_SPARSE_EXTENTS:
                raise BadArchive(f"{headers.shown(entry.name)}: sparse map too long")
        headers.gnu_sparse_map(entry, numbers)

    def _sparse_10(self, entry: Entry) -> None:
        """The map precedes the data: a count, then offsets and lengths, one number a line."""
        text = b""
        wanted: int | None = None
        while wanted is None or text.count(b"\n") < wanted:
            if self._data_left < BLOCK or len(text) > 16 * _MAX_SPARSE_EXTENTS:
                raise BadArchive(f"{headers.shown(entry.name)}: damaged sparse map")
            text += self._take(BLOCK)
            self._data_left -= BLOCK
            if wanted is None and b"\n" in text:
                count = text.partition(b"\n")[0]
                if not count.isdigit() or len(count) > 9:
                    raise BadArchive(f"{headers.shown(entry.name)}: damaged sparse map")
                wanted = 1 + 2 * int(count)
        headers.sparse_10_map(entry, text.split(b"\n")[1:wanted])
        entry.size = self._data_left

    def _skip_rest(self) -> None:
        while self._data_left:
            self.view(self._data_left)
        if self._padding:
            self._take(self._padding)
            self._padding = 0

    def _take(self, size: int, at_end: bytes | None = None) -> bytes:
        """Exactly `size` bytes; `at_end`, when given, if there is nothing any more."""
        end = self._position + size
        if end <= len(self._chunk):
            data = bytes(self._chunk[self._position : end])
            self._position = end
            return data
        parts = []
        missing = size
        while missing:
            if self._position == len(self._chunk) and not self._refill():
                if at_end is not None and missing == size:
                    return at_end
                raise BadArchive("archive is truncated")
            part = bytes(self._chunk[self._position : self._position + missing])
            self._position += len(part)
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _refill(self) -> bool:
        data = self._source.next()
        if data:
            self._chunk = memoryview(data)
            self._position = 0
        return bool(data)
