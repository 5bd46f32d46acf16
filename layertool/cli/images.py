"""Images: import, export, images, history, inspect, tag, rmi."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from layertool.errors import Conflict, InUse, LayertoolError, UsageError

if TYPE_CHECKING:
    from layertool.cli.progress import Meter
    from layertool.oci.model import Descriptor
    from layertool.oci.names import Reference
    from layertool.store import Image, Store, Summary
    from layertool.transport import Sink

app = typer.Typer()

_NONE = "<none>"
_STREAM = "-"
_CREATED_BY_WIDTH = 45
_ImageName = Annotated[str, typer.Argument(metavar="IMAGE", help="Name, id or digest.")]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, only the result.")]


class ArchiveFormat(StrEnum):
    """What `export` writes."""

    DOCKER_ARCHIVE = "docker-archive"
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"


class Kind(StrEnum):
    """What `inspect` looks at."""

    IMAGE = "image"
    CONTAINER = "container"


@app.command("import")
def import_image(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="docker-archive, OCI archive, OCI layout DIR or DIR:TAG, or a plain rootfs tar;"
            " - for standard input.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Its name here; default the one in SRC.")] = None,
    platform: Annotated[
        str | None,
        typer.Option(help="OS/ARCHITECTURE[/VARIANT] of an index; default this machine's."),
    ] = None,
    quiet: _Quiet = False,
) -> None:
    """Store the images of an archive, a layout or a root file system; prints their ids.

    What SRC is shows from its content; a prefix (docker-archive:, oci:, oci-archive:) insists on
    one. Blobs and manifest are kept byte for byte. A rootfs tar becomes an image of one layer,
    named after the file unless --name says otherwise. Nothing is stored unless all digests match.

    Example: layertool import debian.tar --name debian
    """
    from layertool.cli import streams
    from layertool.oci.names import Reference
    from layertool.oci.platform import parse_platform
    from layertool.store import Store
    from layertool.transport import load_into, open_source
    from layertool.transport.registry.display import shown

    names = [Reference.parse(name)] if name is not None else []
    wanted = parse_platform(platform) if platform is not None else None
    with ExitStack() as opened:
        if source == _STREAM:
            source = opened.enter_context(streams.saved_input())
        archive = opened.enter_context(closing(open_source(source, wanted)))
        progress = opened.enter_context(shown(quiet=quiet))
        images = load_into(Store.open(), archive, names=names, platform=wanted, progress=progress)
    for image in images:
        known = ", ".join(each.familiar for each in image.names) or "without a name"
        if not quiet:
            print(f"Imported {image.id.short}: {known}", file=sys.stderr)
        print(image.id)


@app.command()
def export(
    image: _ImageName,
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="File, or DIR or DIR:TAG for oci; - for standard output."
        ),
    ],
    output_format: Annotated[
        ArchiveFormat | None,
        typer.Option(
            "--format",
            help="Default by suffix: .tar docker-archive, .oci.tar oci-archive, none oci.",
        ),
    ] = None,
    quiet: _Quiet = False,
) -> None:
    """Write an image to an archive or a layout; prints the digest that it has there.

    To standard output goes a docker-archive, or with --format an oci-archive, and nothing else.
    oci and oci-archive keep every byte. docker-archive has no manifest and holds layers
    uncompressed: the image id survives and is printed, and a message says when the digest cannot.

    Example: layertool export debian debian.oci.tar
    """
    from layertool.cli.progress import Meter
    from layertool.store import Store
    from layertool.transport import open_sink, save_from

    with _destination(output, output_format) as spec:
        store = Store.open()
        found = store.resolve(image)
        sizes = (layer.size for layer in (*found.manifest.layers, found.manifest.config))
        with Meter(f"exporting {image}", sum(sizes), quiet=quiet) as meter:
            sink = _Watched(open_sink(spec), meter)
            save_from(store, found, sink, _named(found, image))
    is_kept = _keeps_digest(found, spec)
    if not is_kept and not quiet:
        print(
            f"docker-archive cannot keep the manifest digest {found.manifest_digest}: its layers "
            "are uncompressed, and it has no manifest; the image id stays. "
            "--format oci-archive keeps both",
            file=sys.stderr,
        )
    print(
        found.manifest_digest if is_kept else found.id,
        file=sys.stderr if output == _STREAM else sys.stdout,
    )


class _Watched:
    """A sink whose progress is shown."""

    def __init__(self, sink: Sink, meter: Meter) -> None:
        self._sink = sink
        self._meter = meter
        self.put_manifest = sink.put_manifest
        self.close = sink.close

    def put_blob(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        self._sink.put_blob(descriptor, self._meter.reading(stream))


@contextmanager
def _destination(output: str, chosen: ArchiveFormat | None) -> Iterator[str]:
    """What `open_sink` takes; what it writes goes to standard output if that was asked for."""
    from layertool.cli import streams

    if not output:
        raise UsageError("OUT is empty: name a file or a directory, or - for standard output")
    if output != _STREAM:
        yield f"{chosen.value}:{output}" if chosen is not None else output
        return
    if chosen is ArchiveFormat.OCI:
        raise UsageError("--format oci -: a layout is a directory; choose oci-archive")
    with streams.copied_to_output() as path:
        yield f"{chosen or ArchiveFormat.DOCKER_ARCHIVE}:{path}"


def _named(image: Image, text: str) -> Sequence[Reference]:
    """The names to write: the one that was asked for, or all when it was asked for by id."""
    from layertool.oci.names import Reference

    try:
        asked = Reference.parse(text)
    except LayertoolError:
        return image.names
    return [name for name in image.names if name == asked] or image.names


def _keeps_digest(image: Image, spec: str) -> bool:
    from layertool.transport.archive import keeps_digest
    from layertool.transport.opening import format_of

    scheme = spec.partition(":")[0]
    chosen = scheme if scheme in list(ArchiveFormat) else format_of(spec)
    return chosen != ArchiveFormat.DOCKER_ARCHIVE or keeps_digest(image.manifest, image.config)


@app.command()
def images(
    pattern: Annotated[
        str | None,
        typer.Argument(metavar="[NAME[:TAG]]", help="Only these; * and ? stand for any letters."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A list with name, tag, id, digest, created, size, unique, shared, compressed"
            " (bytes), layers (their number).",
        ),
    ] = False,
    tree: Annotated[
        bool, typer.Option("--tree", help="Draw which image is built on which layers.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only ids.")] = False,
) -> None:
    """List images, newest first.

    SIZE is what the unpacked layers take on disk; UNIQUE of it goes when the image goes, SHARED
    belongs to other images too and is there once.

    Example: layertool images
    """
    from layertool.cli.tables import age, human, print_json, print_table
    from layertool.store import Store

    store = Store.open()
    if tree:
        _print_tree(store, pattern)
        return
    rows = _image_rows(store, pattern)
    if as_json:
        print_json(rows)
    elif quiet:
        for identifier in dict.fromkeys(row["id"] for row in rows):
            print(identifier.partition(":")[2][:12])
    else:
        head = ("NAME", "TAG", "ID", "CREATED", "SIZE", "UNIQUE", "SHARED", "LAYERS")
        print_table(
            head,
            [
                (
                    row["name"],
                    row["tag"],
                    row["id"].partition(":")[2][:12],
                    age(row["created"]),
                    *(human(row[key]) for key in ("size", "unique", "shared")),
                    str(row["layers"]),
                )
                for row in rows
            ],
        )


def _image_rows(store: Store, pattern: str | None) -> list[dict[str, Any]]:
    """A row for each name that fits; without a pattern also one for each image that has none."""
    rows = []
    for image in store.summaries():
        names = [(name.familiar_name, name.tag or _NONE) for name in _fitting(image.names, pattern)]
        if not names and pattern is None:
            names = [(_NONE, _NONE)]
        rows += [_image_row(image, *name) for name in names]
    return rows


def _fitting(names: Sequence[Reference], pattern: str | None) -> list[Reference]:
    """The names that `NAME[:TAG]` means, NAME short or whole, with the wildcards of Go's path.Match.

    Raises `UsageError` for a pattern that is none.
    """
    if pattern is None:
        return list(names)
    from layertool.build.gopath import BadPattern, match

    head, colon, tag = pattern.rpartition(":")
    if not colon or "/" in tag:  # no tag, or the colon of a port
        head, tag = pattern, "*"
    try:
        return [
            name
            for name in names
            if match(tag, name.tag or "")
            and (match(head, name.familiar_name) or match(head, name.name))
        ]
    except BadPattern as error:
        raise UsageError(str(error)) from None


def _image_row(image: Summary, name: str, tag: str) -> dict[str, Any]:
    return {
        "name": name,
        "tag": tag,
        "id": image.id,
        "digest": image.manifest_digest,
        "created": image.created,
        "size": image.sizes.total,
        "unique": image.sizes.unique,
        "shared": image.sizes.shared,
        "compressed": image.sizes.compressed,
        "layers": image.sizes.layers,
    }


class _Node:
    """A layer in the tree of all images: what stands on it, and which images end with it."""

    def __init__(self) -> None:
        self.above: dict[str, _Node] = {}
        self.images: list[str] = []


def _print_tree(store: Store, pattern: str | None) -> None:
    from layertool.cli.tables import human

    sizes = store.layer_bytes()
    root = _Node()
    for image in store.images():
        if pattern is not None and not _fitting(image.names, pattern):
            continue
        node = root
        for diff_id in image.diff_ids:
            node = node.above.setdefault(diff_id, _Node())
        names = [name.familiar for name in image.names]
        node.images.append(", ".join(names) or f"{_NONE} {image.id.short}")
    for label in root.images:
        print(f"{label} (no layers)")
    texts = {str(diff_id): human(size) for diff_id, size in sizes.items()}
    # An image may have thousands of layers: no recursion.
    pending = _branches(root, "")
    while pending:
        prefix, last, layer, node = pending.pop()
        label = f"{layer.partition(':')[2][:12]} {texts.get(layer, '?')}"
        named = f"  {' | '.join(node.images)}" if node.images else ""
        print(f"{prefix}{'└─' if last else '├─'}{label}{named}")
        pending += _branches(node, prefix + ("  " if last else "│ "))


def _branches(node: _Node, prefix: str) -> list[tuple[str, bool, str, _Node]]:
    """What stands on a node, to be taken from the end."""
    found = [(prefix, False, diff_id, above) for diff_id, above in node.above.items()]
    if found:
        found[-1] = (prefix, True, *found[-1][2:])
    return found[::-1]


@app.command()
def history(
    image: _ImageName,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A list with created, created_by, size (bytes), comment, empty_layer, diff_id.",
        ),
    ] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Do not cut columns.")] = False,
) -> None:
    """Show how an image was made, the last step first.

    SIZE is what the step's layer takes on disk.

    Example: layertool history debian
    """
    from layertool.cli.tables import age, human, one_line, print_json, print_table
    from layertool.insight.steps import steps
    from layertool.store import Store

    store = Store.open()
    found = store.resolve(image)
    rows = steps(found, store.layer_bytes())
    if not found.config.history_matches:
        print("the history does not match the layers: shown by position", file=sys.stderr)
    if as_json:
        print_json([row.to_dict() for row in reversed(rows)])
        return
    print_table(
        ("CREATED", "CREATED BY", "SIZE", "LAYER", "COMMENT"),
        [
            (
                age(row.created),
                one_line(row.created_by, None if no_trunc else _CREATED_BY_WIDTH),
                human(row.size),
                row.diff_id.partition(":")[2][: None if no_trunc else 12],
                one_line(row.comment, None if no_trunc else _CREATED_BY_WIDTH),
            )
            for row in reversed(rows)
        ],
    )


@app.command()
def inspect(
    names: Annotated[list[str], typer.Argument(metavar="IMAGE|CONTAINER…", help="Names or ids.")],
    template: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            help="Go template: {{.Config.Env}}, {{json .}}, {{index .RepoTags 0}}.",
        ),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--type", help="Only images, or only containers.")
    ] = None,
) -> None:
    """Print all that is known about images and containers, as a JSON list with docker's keys.

    A name that both have means the container.

    Example: layertool inspect debian
    """
    from layertool.cli import inspection
    from layertool.cli.several import for_each
    from layertool.cli.tables import print_json
    from layertool.cli.template import render
    from layertool.store import Store

    store = Store.open()
    found: list[dict[str, Any]] = []
    try:
        for_each(names, lambda name: found.append(inspection.inspect(store, name, kind)))
    finally:  # as docker: what was found is shown beside the message about what was not
        if template is None:
            print_json(found)
        else:
            sys.stdout.writelines(f"{render(template, each)}\n" for each in found)


@app.command()
def tag(
    image: _ImageName,
    name: Annotated[str, typer.Argument(metavar="NAME[:TAG]", help="One more name for it.")],
) -> None:
    """Give an image one more name. An image that had the name before keeps its other ones.

    Example: layertool tag debian registry.example/base:12
    """
    from layertool.oci.names import Reference
    from layertool.store import Store

    reference = Reference.parse(name)
    if reference.digest is not None:
        raise UsageError(f"{name}: a digest names content already; give NAME:TAG")
    store = Store.open()
    store.tag(store.resolve(image), reference)


@app.command()
def rmi(
    names: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Names or ids.")],
    force: Annotated[
        bool,
        typer.Option(
            "-f", "--force", help="All names of an id; of an image in use, which itself stays."
        ),
    ] = False,
) -> None:
    """Remove names, and with its last name the image and what only it had.

    Example: layertool rmi debian:12
    """
    from layertool.cli.several import for_each
    from layertool.store import Store

    store = Store.open()

    def act(name: str) -> None:
        try:
            lines = store.remove_image(name, force=force)
        except InUse as error:
            raise Conflict(f"{error}: {_how_to_free(store, error.users)}") from None
        for line in lines:
            print(line)

    for_each(names, act)


def _how_to_free(store: Store, users: Sequence[str]) -> str:
    """What to do about the containers that use an image."""
    from layertool.sandbox import lifecycle

    found = [lifecycle.summary(store.container(name)) for name in users]
    mounted = [str(each.mountpoint) for each in found if each.state == "mounted"]
    others = [each.name for each in found if each.state != "mounted"]
    ways = [f"layertool umount {' '.join(mounted)}"] if mounted else []
    ways += [f"layertool rm {' '.join(others)}"] if others else []
    return f"first {' and '.join(ways)}, or take only its name away with rmi --force"
