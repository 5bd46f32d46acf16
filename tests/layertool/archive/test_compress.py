"""Compression: found by content, bounded, whole or refused, the same bytes every time."""

import bz2
import gzip
import io
import lzma
import os
import random
import sys
from collections.abc import Callable

import pytest
from backports import zstd

from layertool.archive import Compression, Limits, compress, open_compressor, open_decompressor
from layertool.archive.compress import sniff
from layertool.errors import BadArchive

DATA = random.Random(1).randbytes(300_000) + b"layer " * 500_000
WRITERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: lambda data: data,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstd.compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
}
COMPRESSED = [kind for kind in Compression if kind is not Compression.NONE]


class Dribble(io.RawIOBase):
    """Gives a few bytes at a time, as a network does."""

    def __init__(self, data: bytes, step: int) -> None:
        self._inner = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1, /) -> bytes:
        return self._inner.read(min(size, self._step))


@pytest.mark.parametrize("kind", Compression)
def test_reads_what_others_write(kind: Compression) -> None:
    blob = WRITERS[kind](DATA)
    assert sniff(blob[:16]) is kind
    assert open_decompressor(io.BytesIO(blob)).read() == DATA
    assert open_decompressor(Dribble(blob, 7001)).read() == DATA  # type: ignore[arg-type]
    assert open_decompressor(io.BytesIO(blob)).read(10) == DATA[:10]


@pytest.mark.parametrize("kind", COMPRESSED)
def test_members_and_padding_join(kind: Compression) -> None:
    blob = WRITERS[kind](DATA) + WRITERS[kind](b"") + WRITERS[kind](b"tail") + bytes(512)
    assert open_decompressor(io.BytesIO(blob)).read() == DATA + b"tail"
    assert open_decompressor(Dribble(blob, 3)).read(5) == DATA[:5]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", COMPRESSED)
@pytest.mark.parametrize("cut", [1, 5, 9, 100_000])
def test_truncation_is_refused(kind: Compression, cut: int) -> None:
    blob = WRITERS[kind](DATA)
    with pytest.raises(BadArchive, match="truncated"):
        open_decompressor(io.BytesIO(blob[:-cut])).read()


@pytest.mark.parametrize("kind", COMPRESSED)
def test_garbage_behind_is_refused(kind: Compression) -> None:
    with pytest.raises(BadArchive, match="garbage"):
        open_decompressor(io.BytesIO(WRITERS[kind](b"x") + b"<html>not found</html>")).read()


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.BZIP2, Compression.XZ])
def test_flipped_bits_are_found(kind: Compression) -> None:
    blob = bytearray(WRITERS[kind](DATA))
    blob[len(blob) // 2] ^= 0x10
    with pytest.raises(BadArchive):
        open_decompressor(io.BytesIO(bytes(blob))).read()


def test_skippable_zstd_frames_are_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"toc!"
    blob = skippable + zstd.compress(DATA) + skippable
    assert sniff(blob[:16]) is Compression.ZSTD
    assert open_decompressor(io.BytesIO(blob)).read() == DATA


def test_bombs_are_stopped_early() -> None:
    limits = Limits(ratio=20, ratio_floor=1 << 20)
    source = io.BytesIO(gzip.compress(bytes(64 << 20)))
    stream = open_decompressor(source, limits)
    with pytest.raises(BadArchive, match="bomb"):
        stream.read()
    stream = open_decompressor(io.BytesIO(gzip.compress(DATA)), Limits(bytes=1000))
    with pytest.raises(BadArchive, match="1000 bytes"):
        stream.read()


@pytest.mark.parametrize("kind", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_output_depends_on_content_alone(
    kind: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = set()
    for threads in (1, 2, 4):
        monkeypatch.setattr(compress, "_threads", lambda count=threads: count)
        for step in (512, 70_001, len(DATA)):
            out = io.BytesIO()
            with open_compressor(out, kind) as writer:
                for at in range(0, len(DATA), step):
                    writer.write(DATA[at : at + step])
            blobs.add(out.getvalue())
    (blob,) = blobs
    assert open_decompressor(io.BytesIO(blob)).read() == DATA


@pytest.mark.parametrize("kind", [Compression.BZIP2, Compression.XZ])
def test_old_formats_are_not_written(kind: Compression) -> None:
    with pytest.raises(ValueError, match="only read"):
        open_compressor(io.BytesIO(), kind)


def test_zlib_stands_in_for_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    out = io.BytesIO()
    with open_compressor(out, Compression.GZIP) as writer:
        writer.write(DATA)
    assert gzip.decompress(out.getvalue()) == DATA
    blob = gzip.compress(DATA) + gzip.compress(b"more")
    assert open_decompressor(io.BytesIO(blob)).read() == DATA + b"more"
    with pytest.raises(BadArchive, match="truncated"):
        open_decompressor(io.BytesIO(blob[:-2])).read()


def test_no_space_is_an_error_not_a_hang() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError):  # noqa: SIM117
        with open_compressor(full, Compression.GZIP) as writer:  # type: ignore[arg-type]
            for _ in range(20):
                writer.write(os.urandom(1 << 20))
