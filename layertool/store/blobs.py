"""Content by digest: verified while it streams, complete once it has its name."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO

from layertool.errors import BadDigest, NotFound
from layertool.oci.digest import Digest
from layertool.oci.model import Descriptor
from layertool.store.trees import sync_directory

CHUNK = 1 << 20
OCTETS = "application/octet-stream"


class VerifyingReader(io.RawIOBase):
    """Reads `source`, hashes what passes, and keeps it in `copy` if given.

    Raises `BadDigest` as soon as more than `size` bytes arrive.
    """

    def __init__(self, source: BinaryIO, size: int | None, copy: BinaryIO | None) -> None:
        self._source = source
        self._limit = size
        self._copy = copy
        self._hash = hashlib.sha256()
        self.position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        data = self._source.read(CHUNK if size is None or size < 0 else size)
        self._take(data)
        return data

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(CHUNK), b""))

    def _take(self, data: bytes) -> None:
        self.position += len(data)
        if self._limit is not None and self.position > self._limit:
            raise BadDigest(f"content is longer than the {self._limit} bytes that were promised")
        self._hash.update(data)
        if self._copy is not None:
            self._copy.write(data)

    def finish(self, expect: Descriptor | None) -> Digest:
        """Read to the end; the digest of everything. Raises `BadDigest` if it is not `expect`."""
        while self.read(CHUNK):
            pass
        digest = Digest.from_hex(self._hash.hexdigest())
        if expect is not None:
            if self.position != expect.size:
                raise BadDigest(
                    f"blob {expect.digest}: {self.position} bytes, expected {expect.size}"
                )
            if digest != expect.digest:
                raise BadDigest.mismatch("blob", expect.digest, digest)
        return digest


class BlobWriter:
    """A new blob on its way: write to `file`, then `publish` it under its digest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file: BinaryIO = open(path, "w+b")  # noqa: SIM115 - closed by publish or discard

    def publish(self, target: Path) -> None:
        """Sync the content and give it its name; the same content there already is left alone."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        if target.exists():
            os.unlink(self._path)
            return
        os.rename(self._path, target)
        sync_directory(target.parent)

    def close(self) -> None:
        self.file.close()


def open_blob(path: Path, digest: Digest) -> BinaryIO:
    """The blob open for reading. Raises `NotFound`."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise NotFound(
            f"blob {digest} is not in the store: pull or import its image again"
        ) from None


def digest_of_file(path: Path) -> Digest:
    """sha256 of a file's content."""
    with open(path, "rb") as file:
        return Digest.from_hex(hashlib.file_digest(file, "sha256").hexdigest())
