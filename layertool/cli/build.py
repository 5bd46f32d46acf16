"""Images from a Dockerfile: build; and what a context holds: context ls."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from layertool.errors import LayertoolError, UsageError

if TYPE_CHECKING:
    from layertool.build.context import Source
    from layertool.build.options import Options
    from layertool.build.progress import Reporter
    from layertool.oci.names import Reference
    from layertool.store import Image, Store

app = typer.Typer()
context_app = typer.Typer(no_args_is_help=True)
app.add_typer(context_app, name="context")

_STYLES = ("auto", "plain", "json")
_NETWORKS = ("default", "host", "none")
_FORMATS = ("docker-archive", "oci", "oci-archive")


@app.command()
def build(
    context: Annotated[
        str, typer.Argument(metavar="CONTEXT", help="Directory to copy from; - is stdin.")
    ],
    tag: Annotated[
        list[str] | None, typer.Option("-t", "--tag", help="Name of the image; repeatable.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("-f", "--file", help="The Dockerfile (CONTEXT/Dockerfile); - is stdin."),
    ] = None,
    build_arg: Annotated[
        list[str] | None,
        typer.Option("--build-arg", help="NAME=VALUE for an ARG, or NAME of the environment."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Stop at this stage.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every step.")] = False,
    no_cache_filter: Annotated[
        list[str] | None,
        typer.Option("--no-cache-filter", help="Run every step of this stage; repeatable."),
    ] = None,
    pull: Annotated[
        bool, typer.Option("--pull", help="Ask the registry even for images that are here.")
    ] = False,
    platform: Annotated[str | None, typer.Option(help="OS/ARCH[/VARIANT] of base images.")] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", help="id=ID,src=FILE or id=ID,env=NAME; for RUN --mount."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="KEY=VALUE in the image.")
    ] = None,
    network: Annotated[str, typer.Option(help="default, host or none, for RUN.")] = "default",
    progress: Annotated[str, typer.Option(help="auto, plain or json.")] = "auto",
    squash: Annotated[
        bool, typer.Option("--squash", help="Merge the new layers into one.")
    ] = False,
    source_date_epoch: Annotated[
        str | None,
        typer.Option("--source-date-epoch", help="Latest time in the image, seconds since 1970."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only report mistakes; exit 1 when there are any.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Write the image to this archive too.")
    ] = None,
    output_format: Annotated[
        str | None, typer.Option("--format", help="Of -o: docker-archive, oci or oci-archive.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Build twice and compare the digests.")
    ] = False,
    debug_shell: Annotated[
        bool, typer.Option("--debug-shell", help="Open a shell in a RUN step that fails.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print only the image id, and errors.")
    ] = False,
    driver: Annotated[str, typer.Option(help="auto, kernel or fuse.")] = "auto",
) -> None:
    """Build an image from a Dockerfile and print its id.

    Steps that depend on nothing changed come from the cache; for others the first input that
    differs is named. Progress goes to stderr. With - as CONTEXT stdin is a tar of a context, or a
    Dockerfile that needs none.

    Example: layertool build -t app -f Dockerfile .
    """
    from layertool.build.context import opened_source
    from layertool.build.options import Options, Secret, parse_pairs
    from layertool.build.progress import make_reporter
    from layertool.epoch import parse_epoch
    from layertool.oci.names import Reference

    _one_of("--progress", progress, _STYLES)
    _one_of("--network", network, _NETWORKS)
    archive = _archive(output, output_format)
    secrets = [Secret.parse(text) for text in secret or ()]
    options = Options(
        build_args=parse_pairs("--build-arg", build_arg or (), inherit=True),
        target=target,
        no_cache=no_cache,
        no_cache_stages=[name for names in no_cache_filter or () for name in names.split(",")],
        platform=platform,
        secrets={one.id: one for one in secrets},
        labels=parse_pairs("--label", label or ()),
        network="none" if network == "none" else "host",
        squash=squash,
        epoch=parse_epoch(source_date_epoch),
        driver=driver,
        debug_shell=debug_shell,
        pull=pull,
    )
    names = [Reference.parse(name) for name in tag or ()]
    with opened_source(context, file) as source:
        if check:
            raise typer.Exit(_report_findings(source, options))
        reporter = make_reporter(progress, quiet=quiet)
        try:
            with _termination_as_interrupt():
                store, image = _build(source, options, reporter, names, verify=verify)
                if archive is not None:
                    _export(store, image, archive, names)
        finally:
            reporter.close()
    print(image.id)


def _archive(output: str | None, output_format: str | None) -> str | None:
    """Where -o and --format send the image, as a transport; None for the store alone."""
    if output_format is not None:
        _one_of("--format", output_format, _FORMATS)
        if output is None:
            raise UsageError("--format: needs -o OUT")
    if output is not None and output.startswith("type="):
        raise UsageError(f"-o {output}: give the path alone, and its kind with --format")
    return f"{output_format}:{output}" if output_format else output


def _build(
    source: Source,
    options: Options,
    reporter: Reporter,
    names: Sequence[Reference],
    *,
    verify: bool,
) -> tuple[Store, Image]:
    from layertool.build.builder import Builder
    from layertool.build.verify import build_twice
    from layertool.sandbox import enter
    from layertool.store import Store

    # Before there are threads: mounts then vanish with us, and an ordinary user is root.
    enter()
    with _one_line_for_disks("nothing was stored"):
        store = Store.open()
        if verify:
            return store, build_twice(store, source, options, reporter, names)
        return store, Builder(store, source, options, reporter).build(names)


def _export(store: Store, image: Image, archive: str, names: Sequence[Reference]) -> None:
    from layertool.transport import open_sink, save_from

    with _one_line_for_disks(f"the image is in the store as {image.id}, not in {archive}"):
        save_from(store, image, open_sink(archive), names)


@contextmanager
def _one_line_for_disks(consequence: str) -> Iterator[None]:
    """Turn an error of a disk into one that says what the build left."""
    try:
        yield
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        raise LayertoolError(f"{where}{error.strerror or error}; {consequence}") from None


def _report_findings(source: Source, options: Options) -> int:
    """Print what --check found; the exit status."""
    from layertool.build.check import check
    from layertool.build.images import platform_args
    from layertool.build.parser import parse_dockerfile
    from layertool.build.scope import BuildArgs

    file = parse_dockerfile(source.dockerfile, source.name)
    args = BuildArgs(options.build_args, platform_args(options))
    found = check(file, source, args)
    for warning in found:
        place = warning.place
        print(f"{place.file}:{place.line}: {warning.rule}: {warning.message}: {place.short}")
    return 1 if found else 0


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let TERM end a build as Ctrl-C does: programs stopped, nothing half-made left."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_of(flag: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UsageError(f"{flag} {value}: must be one of {', '.join(allowed)}")


@context_app.callback()
def context_group() -> None:
    """What a build context holds."""


@context_app.command("ls")
def list_files(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="The context.")] = ".",
    file: Annotated[
        str | None, typer.Option("-f", "--file", help="The Dockerfile, for its ignore file.")
    ] = None,
    why: Annotated[
        bool, typer.Option("--why", help="Show what is ignored too, and the rule that decided.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A list of path, sent, size, rule (FILE:LINE PATTERN)."),
    ] = False,
) -> None:
    """List the files of a build context that COPY can see.

    With --why also those it cannot: `+` is sent, `-` ignored; an ignored directory that no `!`
    rule reaches into is one line.

    Example: layertool context ls --why .
    """
    import json
    from dataclasses import asdict
    from pathlib import Path

    from layertool.build.context import WHAT, find_ignore, list_context
    from layertool.build.text import visible
    from layertool.build.tree import Tree

    root = Path(directory)
    ignore = find_ignore(root, Path(file) if file else root / "Dockerfile")
    with Tree(root, WHAT, ignore=ignore) as tree:
        listed = list(list_context(tree))
    if as_json:
        print(json.dumps([asdict(item) for item in listed if why or item.sent], indent=2))
        return
    sent = [item for item in listed if item.sent]
    for item in listed:
        path = visible(item.path)
        if why:
            print(f"{'+' if item.sent else '-'} {path}" + (f"  ({item.rule})" if item.rule else ""))
        elif item.sent:
            print(path)
    size = sum(item.size for item in sent)
    print(f"{len(sent)} files, {size} bytes are sent", file=sys.stderr)
