"""Which transport a SRC or OUT on the command line means.

A prefix (`docker-archive:`, `oci:`, `oci-archive:`, `docker://`) says it. A bare source is looked
at: a directory is an OCI layout, a tar is what lies in it. A bare output goes by its suffix.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from layertool.archive import Compression, open_decompressor, sniff
from layertool.archive.headers import FILE
from layertool.archive.reader import TarReader
from layertool.errors import BadArchive, BadImage, LayertoolError, NotFound, UsageError
from layertool.oci.model import Manifest
from layertool.oci.names import Reference
from layertool.oci.platform import Platform
from layertool.transport.archive import (
    MANIFEST_FILE,
    DockerArchiveSink,
    DockerArchiveSource,
    read_list,
)
from layertool.transport.layout import (
    INDEX_FILE,
    VERSION_FILE,
    DirectoryFiles,
    LayoutArchiveSink,
    LayoutSink,
    LayoutSource,
)
from layertool.transport.members import Members
from layertool.transport.rootfs import RootfsSource
from layertool.transport.source import Sink, Source

_SUFFIXES = re.compile(r"(\.oci)?(\.tar)?(\.(gz|xz|zst|zstd|bz2)|\.tgz|\.tzst|\.txz)?$")
_OCI_ARCHIVE_SUFFIXES = (".oci.tar", ".oci", ".ociarchive")
_MARKERS = frozenset({MANIFEST_FILE, INDEX_FILE, VERSION_FILE})


def open_source(spec: str, platform: Platform | None = None) -> Source:
    """The images at `spec`. Raises `NotFound`, `BadArchive` or `BadImage`."""
    scheme, rest = _split_scheme(spec)
    if scheme == "docker":
        from layertool.transport.registry.remote import RegistrySource

        return RegistrySource(Reference.parse(rest), platform=platform)
    path, tag = _split_tag(rest)
    if path.is_dir():
        if not (path / INDEX_FILE).exists():
            raise BadImage(
                f"{path}: no image: a directory must be an OCI layout with {INDEX_FILE}; "
                f"import a root file system as a tar (tar -C {path} -c . )"
            )
        return LayoutSource(DirectoryFiles(path), _label(path), tag=tag, platform=platform)
    return _open_file(path, tag, scheme, platform)


def open_sink(spec: str) -> Sink:
    """Where `spec` says. Raises `UsageError`, or OSError where nothing can be written."""
    scheme, rest = _split_scheme(spec)
    if scheme == "docker":
        from layertool.transport.registry.remote import RegistrySink

        return RegistrySink(Reference.parse(rest))
    scheme = scheme or format_of(rest)
    if scheme == "docker-archive":
        return DockerArchiveSink(Path(rest))
    path, tag = _split_output(rest)
    if scheme == "oci-archive":
        return LayoutArchiveSink(path, tag=tag)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file; an OCI layout is a directory")
    return LayoutSink(path, tag=tag)


def format_of(output: str) -> str:
    """The format that an output's suffix means: docker-archive, oci-archive or oci."""
    if output.endswith(_OCI_ARCHIVE_SUFFIXES):
        return "oci-archive"
    if output.endswith(".tar"):
        return "docker-archive"
    if output.endswith((".gz", ".tgz", ".zst", ".xz", ".bz2")):
        raise UsageError(f"{output}: archives are written uncompressed: name it .tar")
    return "oci"


def _split_scheme(spec: str) -> tuple[str, str]:
    if spec.startswith("docker://"):
        return "docker", spec.removeprefix("docker://")
    for scheme in ("docker-archive", "oci-archive", "oci"):
        if spec.startswith(f"{scheme}:"):
            return scheme, spec.removeprefix(f"{scheme}:")
    return "", spec


def _split_tag(text: str) -> tuple[Path, str | None]:
    """`PATH` or `PATH:TAG`; a path that exists as it stands has no tag."""
    if os.path.exists(text):
        return Path(text), None
    path, colon, tag = text.partition(":")
    while colon and not os.path.exists(path):
        following, colon, tag = tag.partition(":")
        path = f"{path}:{following}"
    if not colon:
        raise NotFound(f"{text}: No such file or directory")
    return Path(path), tag


def _split_output(text: str) -> tuple[Path, str | None]:
    path, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return Path(text), None
    return Path(path), tag


def _open_file(path: Path, tag: str | None, scheme: str, platform: Platform | None) -> Source:
    with open(path, "rb") as head:
        compression = sniff(head.read(512))
    file: BinaryIO
    if compression is Compression.NONE:
        file = open(path, "rb")  # noqa: SIM115 - Members owns it
    elif scheme or _has_marker(path):
        file = _inflated(path)
    else:
        return RootfsSource(path, name=_name_of(path), platform=platform)
    members = _members(file, path)
    source = _image_archive(members, path, tag, platform)
    if source is not None:
        return source
    members.close()
    if scheme:
        raise BadImage(f"{path}: no {scheme}: it has neither {MANIFEST_FILE} nor {INDEX_FILE}")
    return RootfsSource(path, name=_name_of(path), platform=platform)


def _members(file: BinaryIO, path: Path) -> Members:
    try:
        return Members(file)
    except LayertoolError as error:
        file.close()
        raise BadArchive(f"{path}: {error}") from None


def _image_archive(
    members: Members, path: Path, tag: str | None, platform: Platform | None
) -> Source | None:
    """The archive as images, None when it holds none: a root file system may well have a
    file called /manifest.json, so the content decides."""
    if VERSION_FILE in members and INDEX_FILE in members:
        names_of = _names_by_config(members) if MANIFEST_FILE in members else None
        return LayoutSource(members, _label(path), tag=tag, platform=platform, names_of=names_of)
    if MANIFEST_FILE in members:
        try:
            read_list(members)
        except LayertoolError:
            return None
        return DockerArchiveSource(members, _label(path), tag=tag)
    return None


class _NamesByConfig:
    """The names that docker's list gives to the images of a hybrid archive."""

    def __init__(self, members: Members) -> None:
        self._names = {
            image.config.rpartition("/")[2].removesuffix(".json"): image.names()
            for image in read_list(members)
        }

    def __call__(self, manifest: Manifest) -> list[Reference]:
        return self._names.get(manifest.config.digest.hex, [])


def _names_by_config(members: Members) -> _NamesByConfig:
    return _NamesByConfig(members)


def _has_marker(path: Path) -> bool:
    """Whether a compressed tar has a top-level file that images have; stops at the first."""
    with open(path, "rb") as file, TarReader(file) as reader:
        for entry in reader:
            if entry.type == FILE and os.fsdecode(entry.name).removeprefix("./") in _MARKERS:
                return True
    return False


def _inflated(path: Path) -> BinaryIO:
    """The uncompressed archive, in a file that vanishes when it is closed."""
    target = cast(BinaryIO, tempfile.TemporaryFile(prefix="layertool-"))  # noqa: SIM115
    with open(path, "rb") as file:
        stream = open_decompressor(file)
        while data := stream.read(1 << 20):
            target.write(data)
    return target


def _label(path: Path) -> str:
    """The name that a file or directory suggests for an image without one."""
    stem = _SUFFIXES.sub("", path.absolute().name.lower())
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "image"


def _name_of(path: Path) -> Reference:
    return Reference.parse(_label(path))
