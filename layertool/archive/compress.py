"""Compression of layers: told by magic bytes, read within limits, written reproducibly.

Media types and file names lie about compression (grootfs #278), so reading goes by content.
No external program is ever started: one found inside an image would be the image's
(CVE-2014-9357, GHSA-x86f-5xw2-fm2r).
"""

from __future__ import annotations

import enum
import io
import os
import zlib
from collections.abc import Callable
from typing import IO, Any, BinaryIO, Protocol, cast

from layertool.archive.limits import DEFAULT_LIMITS, Limits
from layertool.errors import BadArchive

CHUNK = 1 << 20
"""Bytes that are read, inflated and handed on at a time."""

_HEAD = 512
_MAGIC = 16
_USTAR = slice(257, 262)
# The decoder allocates a window of this many bits at most (128 MiB); frames may ask for 2 GiB.
_ZSTD_WINDOW_LOG = 27
_LZMA_MEMORY = 256 << 20
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))

GZIP_LEVEL = 2
ZSTD_LEVEL = 3
# A block is compressed by one thread; its size, unlike the number of threads, shapes the output.
_GZIP_BLOCK = 1 << 20
_MAX_THREADS = 4


class Compression(enum.Enum):
    """How a layer is packed. BZIP2 and XZ are only read."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    XZ = "xz"


def sniff(head: bytes) -> Compression:
    """The compression that the first bytes show; 512 of them leave no doubt."""
    if head[_USTAR] == b"ustar":
        return Compression.NONE  # whatever the name of its first file looks like
    if head.startswith(b"\x1f\x8b\x08"):
        return Compression.GZIP
    if head.startswith((b"\x28\xb5\x2f\xfd", *_ZSTD_SKIPPABLE)):
        return Compression.ZSTD
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return Compression.BZIP2
    if head.startswith(b"\xfd7zXZ\x00"):
        return Compression.XZ
    return Compression.NONE


def open_decompressor(stream: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> BinaryIO:
    """Read `stream` uncompressed, whatever it is; only `read(n)` of it is called.

    Reading raises `BadArchive` for damaged, truncated or unbounded data. Closing leaves `stream`
    open.
    """
    head = _read_up_to(stream, _HEAD)
    compression = sniff(head)
    return cast(BinaryIO, _Inflating(stream, head, _DECODERS[compression], limits, compression))


def open_compressor(
    stream: BinaryIO, compression: Compression, level: int | None = None
) -> BinaryIO:
    """Write to `stream` compressed. The bytes depend on content and level alone: no times, no
    names, and the same for any number of processors. Closing leaves `stream` open.
    """
    if compression is Compression.NONE:
        return cast(BinaryIO, _Unclosing(stream))
    if compression is Compression.GZIP:
        return _gzip_writer(stream, GZIP_LEVEL if level is None else level)
    if compression is Compression.ZSTD:
        return _zstd_writer(stream, ZSTD_LEVEL if level is None else level)
    raise ValueError(f"{compression.value} is only read, never written")


class _Decoder(Protocol):
    """The interface of the standard library's BZ2Decompressor, which the others share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Inflating(io.RawIOBase):
    """A decompressed view of a stream; a file of several members or frames reads as one."""

    def __init__(
        self,
        stream: BinaryIO,
        head: bytes,
        decoder: Callable[[], _Decoder] | None,
        limits: Limits,
        compression: Compression,
    ) -> None:
        self._stream = stream
        self._pending = head
        self._make = decoder
        self._decoder = decoder() if decoder else None
        self._limits = limits
        self._compression = compression
        self._taken = len(head)
        self._given = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes, fewer only at the end; all of the rest for -1."""
        parts: list[bytes] = []
        remaining = -1 if size is None or size < 0 else size
        while remaining:
            part = self.read1(remaining if 0 < remaining < CHUNK else CHUNK)
            if not part:
                break
            parts.append(part)
            remaining -= len(part) if remaining > 0 else 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes in one step, b"" at the end."""
        data = self._step(size)
        self._given += len(data)
        if self._given > self._limits.bytes:
            raise BadArchive(
                f"archive has more than {self._limits.bytes} bytes uncompressed, the limit"
            )
        if (
            self._given > self._limits.ratio_floor
            and self._given > self._taken * self._limits.ratio
        ):
            raise BadArchive(
                f"archive grows more than {self._limits.ratio} times when uncompressed: "
                "looks like a compression bomb; raise the ratio limit if you trust it"
            )
        return data

    def _step(self, size: int) -> bytes:
        if self._decoder is None:
            return self._plain(size)
        while not self._ended:
            data = self._decode(size)
            if data:
                return data
            if self._decoder.eof:
                self._next_member()
        return b""

    def _plain(self, size: int) -> bytes:
        if self._pending:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        data = self._stream.read(size)
        self._taken += len(data)
        return data

    def _decode(self, size: int) -> bytes:
        decoder = self._decoder
        assert decoder is not None
        data = b""
        if decoder.needs_input and not decoder.eof:
            data = self._input()
            if not data:
                raise BadArchive(f"archive is truncated: the {self._compression.value} data ends")
        try:
            return decoder.decompress(data, size) if not decoder.eof else b""
        except Exception as error:
            # Each library has errors of its own (zlib.error, ZstdError, OSError, EOFError …).
            if isinstance(error, MemoryError):
                raise
            raise BadArchive(f"damaged {self._compression.value} data: {error}") from None

    def _input(self) -> bytes:
        data, self._pending = self._pending, b""
        if not data:
            data = self._stream.read(CHUNK)
            self._taken += len(data)
        return data

    def _next_member(self) -> None:
        """After the end of a member: another one, padding of zeros, or the end."""
        assert self._decoder is not None and self._make is not None
        rest = self._decoder.unused_data + self._pending
        if len(rest) < _MAGIC:
            more = _read_up_to(self._stream, _MAGIC - len(rest))
            self._taken += len(more)
            rest += more
        self._pending = rest
        if not rest or not rest.strip(b"\0"):
            self._skip_padding()
        elif sniff(rest[:_MAGIC]) is self._compression:
            self._decoder = self._make()
        else:
            raise BadArchive(f"garbage after the end of the {self._compression.value} data")

    def _skip_padding(self) -> None:
        """Tapes and some tools pad with zeros; anything else there is not ours to ignore."""
        while True:
            data = self._input()
            if not data:
                break
            if data.strip(b"\0"):
                raise BadArchive(f"garbage after the end of the {self._compression.value} data")
        self._ended = True


class _ZlibMember:
    """zlib's decoder of one gzip member, where isal is missing."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))


def _gzip_decoder() -> _Decoder:
    try:
        from isal import igzip_lib
    except ImportError:
        return _ZlibMember()
    return cast(_Decoder, igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


def _zstd_decoder() -> _Decoder:
    from backports import zstd

    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return cast(_Decoder, zstd.ZstdDecompressor(options=options))


def _bzip2_decoder() -> _Decoder:
    import bz2

    return bz2.BZ2Decompressor()


def _xz_decoder() -> _Decoder:
    import lzma

    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)


_DECODERS: dict[Compression, Callable[[], _Decoder] | None] = {
    Compression.NONE: None,
    Compression.GZIP: _gzip_decoder,
    Compression.ZSTD: _zstd_decoder,
    Compression.BZIP2: _bzip2_decoder,
    Compression.XZ: _xz_decoder,
}


class _Unclosing(io.RawIOBase):
    """Passes writes on, and keeps the stream below open for its owner."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._stream.write(data)
        return len(data)


class _Blocks(io.RawIOBase):
    """Passes on blocks of one size, so that the output does not show how it was written."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._pending = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._pending += data
        whole = len(self._pending) - len(self._pending) % self._size
        for at in range(0, whole, self._size):
            self._stream.write(bytes(self._pending[at : at + self._size]))
        del self._pending[:whole]
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.write(bytes(self._pending))
            self._stream.close()
        super().close()


def _gzip_writer(stream: BinaryIO, level: int) -> BinaryIO:
    unclosing = cast(IO[bytes], _Unclosing(stream))
    try:
        from isal import igzip_threaded
    except ImportError:
        import gzip

        return cast(BinaryIO, gzip.GzipFile("", "wb", level, unclosing, mtime=0))
    threaded = igzip_threaded.open(  # type: ignore[no-untyped-call]
        unclosing, "wb", compresslevel=level, threads=_threads(), block_size=_GZIP_BLOCK
    )
    return cast(BinaryIO, _Blocks(threaded, _GZIP_BLOCK))


def _zstd_writer(stream: BinaryIO, level: int) -> BinaryIO:
    from backports import zstd

    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.checksum_flag: 1,
        # Never 0: that is another code path, with other output, than one or more workers.
        zstd.CompressionParameter.nb_workers: _threads(),
    }
    return cast(BinaryIO, zstd.ZstdFile(_Unclosing(stream), "w", options=options))


def _threads() -> int:
    return min(_MAX_THREADS, len(os.sched_getaffinity(0)))


def _read_up_to(stream: BinaryIO, size: int) -> bytes:
    """`size` bytes even from a stream that gives less at a time."""
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            break
        data += more
    return data
