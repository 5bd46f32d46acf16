"""Layers as files: pack and unpack."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from layertool.cli.progress import Meter
from layertool.errors import Conflict, LayertoolError, NotFound, UsageError

if TYPE_CHECKING:
    from layertool.archive import Extracted, Limits

app = typer.Typer()

_SUFFIXES = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".tzst": "zstd"}
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, only the result.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class LayerFormat(StrEnum):
    """What deletions become on disk."""

    KERNEL = "kernel"
    AUFS = "aufs"


class LayerCompression(StrEnum):
    """What `pack` writes."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@app.command()
def unpack(
    layer: Annotated[Path, typer.Argument(help="The layer's tar, compressed or not; - for stdin.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made if missing.")],
    apply: Annotated[
        bool, typer.Option("--apply", help="Onto a root file system: deletions delete.")
    ] = False,
    format: Annotated[
        LayerFormat, typer.Option(help="How deletions are marked for unions.")
    ] = LayerFormat.KERNEL,
    max_entries: Annotated[int, typer.Option(min=1, help="Refuse more entries.")] = 1_000_000,
    max_bytes: Annotated[int, typer.Option(min=1, help="Refuse more bytes.")] = 64 << 30,
    max_ratio: Annotated[
        int, typer.Option(min=1, help="Refuse what grows more than this, beyond 1 GiB.")
    ] = 200,
    quiet: _Quiet = False,
    as_json: _Json = False,
) -> None:
    """Unpack a layer into a directory; prints its diffID, entries and bytes.

    Without --apply DIR must be empty and becomes a layer for a union. Owners are kept by root; for
    others they are remembered in the attribute user.containers.override_stat. An archive that is
    damaged or tries to leave DIR is refused, and nothing of it stays (with --apply: what was
    applied before the refusal stays).

    Example: layertool unpack layer.tar.gz DIR
    """
    from layertool.archive import Limits

    limits = Limits(entries=max_entries, bytes=max_bytes, ratio=max_ratio)
    with _opened_layer(layer, quiet) as stream:
        if apply:
            directory.mkdir(parents=True, exist_ok=True)
            done = _extract(stream, directory, "apply", limits, layer)
        else:
            with _layer_directory(directory):
                done = _extract(stream, directory, format.value, limits, layer)
    _warn(done.warnings)
    _show(as_json, {"diffID": done.diff_id, "entries": done.entries, "bytes": done.bytes})


@app.command()
def pack(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An upper, or a tree.")],
    out: Annotated[Path, typer.Argument(help="The layer's tar: .tar, .tar.gz, .tar.zst.")],
    compression: Annotated[
        LayerCompression | None, typer.Option(help="Instead of what the suffix says.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="DIR is a root file system: nothing in it is a mark.")
    ] = False,
    quiet: _Quiet = False,
    as_json: _Json = False,
) -> None:
    """Pack a directory as a layer; prints digest, diffID, entries and bytes.

    DIR is taken for an upper directory: overlayfs whiteouts (character device 0:0), opaque
    directories and .wh. files become the whiteouts of OCI. A tree without them packs the same with
    and without --whole. The output is reproducible: sorted, whole seconds, no names of owners;
    with SOURCE_DATE_EPOCH in the environment no time is later than that.

    Example: layertool pack DIR layer.tar.zst
    """
    from layertool.archive import Compression, pack_layer
    from layertool.epoch import parse_epoch

    if not directory.is_dir():
        raise NotFound(f"{directory}: is not a directory")
    if out.absolute().parent.resolve().is_relative_to(directory.resolve()):
        raise UsageError(f"{out}: lies inside the directory to be packed")
    chosen = Compression(compression.value if compression else _by_suffix(out))
    with (
        _directory_fd(directory) as fd,
        _published(out) as file,
        Meter(f"packing {directory}", None, quiet=quiet) as meter,
    ):
        file = meter.writing(file)
        done = pack_layer(fd, file, compression=chosen, epoch=parse_epoch(), whole_tree=whole)
    _warn(done.warnings)
    _show(
        as_json,
        {
            "digest": done.digest,
            "diffID": done.diff_id,
            "entries": done.entries,
            "bytes": done.bytes,
            "size": done.size,
        },
    )


def _extract(
    stream: BinaryIO, directory: Path, format: str, limits: Limits, layer: Path
) -> Extracted:
    from layertool.archive import default_owner, extract_layer

    with _directory_fd(directory) as fd:
        try:
            return extract_layer(
                stream,
                fd,
                format=format,  # type: ignore[arg-type]
                limits=limits,
                owner=default_owner(),
            )
        except LayertoolError as error:
            raise type(error)(f"{layer}: {error}") from None


@contextlib.contextmanager
def _opened_layer(path: Path, quiet: bool) -> Iterator[BinaryIO]:
    with contextlib.ExitStack() as stack:
        if str(path) == "-":
            stream, size = sys.stdin.buffer, None
        else:
            stream = stack.enter_context(path.open("rb", buffering=0))
            size = os.fstat(stream.fileno()).st_size
        meter = stack.enter_context(Meter(f"unpacking {path}", size, quiet=quiet))
        yield meter.reading(stream)


@contextlib.contextmanager
def _layer_directory(directory: Path) -> Iterator[None]:
    """An empty directory to unpack into; after a failure it is as it was before."""
    existed = directory.is_dir()
    if existed and any(directory.iterdir()):
        raise Conflict(f"{directory}: is not empty; give another, or --apply")
    directory.mkdir(parents=True, exist_ok=True)
    mode = directory.stat().st_mode & 0o7777
    try:
        yield
    except BaseException:
        _empty(directory)
        if existed:
            directory.chmod(mode)
        else:
            directory.rmdir()
        raise


def _empty(directory: Path) -> None:
    from layertool.archive.inside import remove

    with _directory_fd(directory) as fd:
        for name in os.listdir(fd):
            remove(fd, os.fsencode(name))


@contextlib.contextmanager
def _directory_fd(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _published(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete."""
    directory = path.absolute().parent
    if not directory.is_dir():
        raise NotFound(f"{directory}: is not a directory")
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=directory)
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            yield file
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _by_suffix(path: Path) -> str:
    return _SUFFIXES.get(path.suffix, "none")


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        print(f"layertool: warning: {warning}", file=sys.stderr)


def _show(as_json: bool, facts: dict[str, str | int]) -> None:
    if as_json:
        import json

        print(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
