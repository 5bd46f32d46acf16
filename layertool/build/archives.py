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

from layertool.archive import default_owner, extract_layer, open_decompressor
from layertool.archive.owner import Owner
from layertool.errors import LayertoolError
from layertool.store.trees import remove_tree

_BLOCK = 512


def is_regular(info: os.stat_result) -> bool:
    """Only regular files can be archives."""
    return stat.S_ISREG(info.st_mode)


def is_archive(fd: int) -> bool:
    """Whether a file is a tar, compressed or not, by its content. Leaves the position at 0."""
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        with os.fdopen(os.dup(fd), "rb") as file:
            return _is_header(_first_block(file))
    finally:
        os.lseek(fd, 0, os.SEEK_SET)


def starts_archive(head: bytes) -> bool:
    """Whether a stream that starts so is a tar, compressed or not."""
    return _is_header(_first_block(io.BytesIO(head)))


def _first_block(file: BinaryIO) -> bytes:
    """The first block of the file when it is uncompressed, as far as it can be."""
    try:
        with open_decompressor(file) as stream:
            return stream.read(_BLOCK)
    except (LayertoolError, OSError, EOFError, ValueError):
        return b""


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def unpack(stream: BinaryIO, target_fd: int, name: str, owner: Owner | None = None) -> None:
    """Unpack into a directory that nothing in the archive can leave. Raises BadArchive."""
    try:
        extract_layer(stream, target_fd, format="apply", owner=owner or default_owner())
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
