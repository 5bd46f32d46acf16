"""OCI image layouts, as a directory or inside a tar (image-spec image-layout.md).

Blobs and manifests pass through byte for byte, so digests survive in both directions.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from layertool.archive import headers
from layertool.errors import BadImage, LayertoolError, NotFound
from layertool.oci.digest import Digest
from layertool.oci.model import MAX_MANIFEST, Descriptor, Index, Manifest, parse_manifest
from layertool.oci.names import Reference
from layertool.oci.platform import Platform, choose, host_platform
from layertool.store.blobs import VerifyingReader
from layertool.transport.members import Members
from layertool.transport.source import MAX_NESTING, SourceImage, SourceTree

VERSION_FILE = "oci-layout"
INDEX_FILE = "index.json"
_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
REF_NAME = "org.opencontainers.image.ref.name"
# What containerd and docker add: the whole name, of which ref.name is only the tag.
FULL_NAME = "io.containerd.image.name"


class Readable(Protocol):
    """What is copied from."""

    def read(self, size: int, /) -> bytes: ...


class Files(Protocol):
    """Where a layout's files lie."""

    def open(self, name: str) -> BinaryIO:
        """Raises `NotFound`."""

    def read(self, name: str, limit: int) -> bytes:
        """The whole file. Raises `NotFound`, or `BadImage` beyond `limit` bytes."""

    def close(self) -> None: ...


class DirectoryFiles:
    """The files of a layout directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> BinaryIO:
        try:
            return open(self._root / name, "rb")
        except FileNotFoundError:
            raise NotFound(f"{self._root / name}: not there, the layout is incomplete") from None

    def read(self, name: str, limit: int) -> bytes:
        with self.open(name) as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise BadImage(f"{self._root / name}: more than {limit} bytes")
        return raw

    def close(self) -> None: ...


class LayoutSource:
    """The images of a layout; with `tag` only the one of that name."""

    def __init__(
        self,
        files: Files | Members,
        label: str,
        *,
        tag: str | None = None,
        platform: Platform | None = None,
        names_of: Callable[[Manifest], Sequence[Reference]] | None = None,
    ) -> None:
        self._files = files
        self._label = label
        self._tag = tag
        self._platform = platform or host_platform()
        self._names_of = names_of

    def manifests(self) -> list[SourceImage]:
        """Raises `NotFound` for an unknown tag or a layout without images, `BadImage`."""
        return [self._image(entry) for entry in self._entries()]

    def trees(self) -> list[SourceTree]:
        """The same, each with all its platforms."""
        found = [(entry, self.child(entry)) for entry in self._entries()]
        return [SourceTree(document, self._names(entry, document)) for entry, document in found]

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        return self._files.open(_blob_name(descriptor.digest))

    def child(self, descriptor: Descriptor) -> Manifest | Index:
        """The manifest or index behind an entry. Raises `BadImage` for another content."""
        raw = self._files.read(_blob_name(descriptor.digest), MAX_MANIFEST)
        if Digest.of(raw) != descriptor.digest:
            raise BadImage(f"{self._label}: manifest {descriptor.digest} has another content")
        return parse_manifest(raw, descriptor.mediaType)

    def close(self) -> None:
        self._files.close()

    def _entries(self) -> list[Descriptor]:
        index = Index.decode(self._files.read(INDEX_FILE, MAX_MANIFEST))
        entries = [entry for entry in index.manifests if self._is_wanted(entry)]
        if not entries:
            known = ", ".join(sorted(filter(None, map(_ref_name, index.manifests)))) or "none"
            what = f"no image {self._tag!r}" if self._tag else "no image"
            raise NotFound(f"{self._label}: {what}; it has: {known}")
        return entries

    def _is_wanted(self, entry: Descriptor) -> bool:
        if self._tag is None:
            return entry.platform is None or entry.platform.is_image
        return _ref_name(entry) == self._tag

    def _image(self, entry: Descriptor) -> SourceImage:
        document, media_type = self.child(entry), entry.mediaType
        for _ in range(MAX_NESTING):
            if isinstance(document, Manifest):
                break
            chosen = choose(document.manifests, self._platform)
            document, media_type = self.child(chosen), chosen.mediaType
        else:
            raise BadImage(f"{self._label}: indexes nested more than {MAX_NESTING} deep")
        return SourceImage(document.raw, media_type, self._names(entry, document), self)

    def _names(self, entry: Descriptor, document: Manifest | Index) -> Sequence[Reference]:
        """The whole name where one is written, else the layout's own name and the tag."""
        if self._names_of is not None and isinstance(document, Manifest):
            listed = self._names_of(document)
            if listed:
                return listed
        annotations = entry.annotations or {}
        full, ref = annotations.get(FULL_NAME, ""), annotations.get(REF_NAME, "")
        for text in (full, ref if "/" in ref or ":" in ref else "", f"{self._label}:{ref}"):
            if text and ref + full:
                with contextlib.suppress(LayertoolError):
                    return [Reference.parse(text)]
        return []


class LayoutSink:
    """Writes images into a layout directory; what is there already stays."""

    def __init__(self, root: Path, *, tag: str | None = None) -> None:
        self._root = root
        self._tag = tag
        self._entries: list[Descriptor] = []
        (root / "blobs/sha256").mkdir(parents=True, exist_ok=True)

    def put_blob(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        path = self._root / _blob_name(descriptor.digest)
        if not path.exists() or path.stat().st_size != descriptor.size:
            reader = VerifyingReader(stream, descriptor.size, None)
            _write(path, reader, check=lambda: reader.finish(descriptor))

    def put_child(self, raw: bytes, media_type: str) -> None:
        self.put_blob(Descriptor.of(raw, media_type), io.BytesIO(raw))

    def put_manifest(self, raw: bytes, media_type: str, names: list[Reference]) -> None:
        self.put_child(raw, media_type)
        self._entries += entries_of(raw, media_type, names, self._tag)

    def close(self) -> None:
        if not self._entries:
            return
        _write(self._root / VERSION_FILE, io.BytesIO(_VERSION))
        index = merged_index(self._existing(), self._entries)
        _write(self._root / INDEX_FILE, io.BytesIO(index.raw))

    def _existing(self) -> list[Descriptor]:
        path = self._root / INDEX_FILE
        return Index.decode(path.read_bytes()).manifests if path.exists() else []


class LayoutArchiveSink:
    """Writes a layout as a tar, which appears under its name when it is complete."""

    def __init__(self, path: Path, *, tag: str | None = None) -> None:
        self._tag = tag
        self._tar = TarFile(path)
        self._entries: list[Descriptor] = []
        self._written: set[str] = set()

    def put_blob(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        name = _blob_name(descriptor.digest)
        if name not in self._written:
            self._written.add(name)
            reader = VerifyingReader(stream, descriptor.size, None)
            self._tar.add(name, reader)
            reader.finish(descriptor)

    def put_child(self, raw: bytes, media_type: str) -> None:
        self.put_blob(Descriptor.of(raw, media_type), io.BytesIO(raw))

    def put_manifest(self, raw: bytes, media_type: str, names: list[Reference]) -> None:
        self.put_child(raw, media_type)
        self._entries += entries_of(raw, media_type, names, self._tag)

    def close(self) -> None:
        if not self._entries:
            self._tar.discard()
            return
        self._tar.add(VERSION_FILE, io.BytesIO(_VERSION))
        self._tar.add(INDEX_FILE, io.BytesIO(merged_index([], self._entries).raw))
        self._tar.publish()


class TarFile:
    """A tar on its way to `path`: members are streamed, name and size are filled in afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        except OSError as error:  # about the name that was asked for, not about ours
            raise OSError(error.errno, error.strerror, str(path)) from None
        self._file = os.fdopen(descriptor, "w+b")
        self._temporary = Path(name)

    def add(self, name: str | Callable[[], str], stream: Readable) -> int:
        """Write a member; its size in bytes. A callable `name` is asked when all has been read."""
        start = self._file.tell()
        self._file.write(bytes(headers.BLOCK))
        size = 0
        while data := stream.read(1 << 20):
            self._file.write(data)
            size += len(data)
        self._file.write(bytes(headers.padding(size)))
        chosen = name if isinstance(name, str) else name()
        self._finish(start, headers.Entry(chosen.encode(), size=size))
        return size

    def publish(self) -> None:
        """End the archive and give it its name, with the permissions of any new file."""
        self._file.write(headers.END_OF_ARCHIVE)
        self._file.flush()
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(self._file.fileno(), 0o666 & ~mask)
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _finish(self, start: int, entry: headers.Entry) -> None:
        block = headers.encode(entry)
        if len(block) != headers.BLOCK:
            raise BadImage(f"{self._path}: a layer of {entry.size} bytes needs another format")
        end = self._file.tell()
        self._file.seek(start)
        self._file.write(block)
        self._file.seek(end)


def entries_of(
    raw: bytes, media_type: str, names: Sequence[Reference], tag: str | None
) -> list[Descriptor]:
    """What index.json says about an image: one entry a name, or one without."""
    plain = Descriptor.of(raw, media_type)
    if tag is not None:
        labels = [{REF_NAME: tag}]
        if names:
            labels[0][FULL_NAME] = str(names[0])
    else:
        labels = [{REF_NAME: name.tag or "latest", FULL_NAME: str(name)} for name in names]
    return [msgspec.structs.replace(plain, annotations=annotations) for annotations in labels] or [
        plain
    ]


def merged_index(existing: Sequence[Descriptor], new: Sequence[Descriptor]) -> Index:
    """The old entries that no new one replaces, then the new ones."""
    taken = {_ref_name(entry) for entry in new}
    digests = {entry.digest for entry in new}
    kept = [
        entry
        for entry in existing
        if (_ref_name(entry) not in taken if _ref_name(entry) else entry.digest not in digests)
    ]
    return Index.build([*kept, *new])


def _ref_name(entry: Descriptor) -> str | None:
    return (entry.annotations or {}).get(REF_NAME)


def _blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _write(path: Path, stream: Readable, check: Callable[[], object] = lambda: None) -> None:
    """All of `stream` under `path`, which is never seen half written, nor if `check` raises."""
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            while data := stream.read(1 << 20):
                file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        check()
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
