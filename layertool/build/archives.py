"""ADD's archives: telling them from other files, and unpacking them inside the destination."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from layertool.archive import Compression, extract_layer, open_decompressor, sniff
from layertool.archive.limits import Limits
from layertool.errors import LayertoolError
from layertool.store.trees import remove_tree

_HEAD = 64 << 10  # compressed bytes enough for the first header of any of the formats
_BLOCK = 512


def is_regular(info: os.stat_result) -> bool:
    """Only regular files can be archives."""
    return stat.S_ISREG(info.st_mode)


def is_archive(fd: int) -> bool:
    """Whether a file is a tar, compressed or not, by its content. Leaves the position at 0."""
    os.lseek(fd, 0, os.SEEK_SET)
    head = os.read(fd, _HEAD)
    os.lseek(fd, 0, os.SEEK_SET)
    if sniff(head) is not Compression.NONE:
        head = _first_block(head)
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _first_block(head: bytes) -> bytes:
    try:
        with open_decompressor(io.BytesIO(head), Limits()) as stream:
            return stream.read(_BLOCK)
    except (LayertoolError, OSError, EOFError, ValueError):
        return b""


def unpack(stream: BinaryIO, target_fd: int, name: str) -> None:
    """Unpack into a directory that nothing in the archive can leave. Raises BadArchive."""
    try:
        extract_layer(stream, target_fd, format="apply")
    except LayertoolError as error:
        raise LayertoolError(f"{name}: {error}") from None


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """A descriptor of a directory."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def discard(directory: Path) -> None:
    """Delete what was unpacked aside."""
    remove_tree(directory)
