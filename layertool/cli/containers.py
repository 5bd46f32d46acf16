"""Containers: run, exec, ps, stop, kill, rm, logs, wait, diff, commit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from layertool.errors import LayertoolError, UsageError

if TYPE_CHECKING:
    from typer._click import Context

    from layertool.sandbox.spec import RunFlags
    from layertool.store import Container, Image, Store

#: What follows the image or container belongs to the command, options included.
_COMMAND_FOLLOWS = {"allow_interspersed_args": False}
#: docker's number for "the tool itself failed", so that it differs from what commands return.
_TOOL_FAILED = 125

_ContainerName = Annotated[str, typer.Argument(metavar="CONTAINER", help="Name or id.")]
_ContainerNames = Annotated[list[str], typer.Argument(metavar="CONTAINER…", help="Names or ids.")]

app = typer.Typer()


class _WithDockersNumbers(TyperCommand):
    """In `run` and `exec` exit statuses 1 and 2 belong to the command inside."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if hasattr(error, "format_message"):  # a wrong command line, no request for help
                error.exit_code = _TOOL_FAILED  # type: ignore[attr-defined]
            raise


@app.command(cls=_WithDockersNumbers, context_settings=_COMMAND_FOLLOWS)
def run(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Name or id.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CMD [ARG…]]", help="Instead of the image's CMD."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("-i", "--interactive", help="Hand stdin on.")
    ] = False,
    tty: Annotated[bool, typer.Option("-t", "--tty", help="Give it a terminal.")] = False,
    detach: Annotated[
        bool, typer.Option("-d", "--detach", help="Run in the background; print the id.")
    ] = False,
    remove: Annotated[bool, typer.Option("--rm", help="Remove the container at its end.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the container.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("-e", "--env", help="NAME=VALUE, or NAME of ours.")
    ] = None,
    env_file: Annotated[
        list[Path] | None, typer.Option("--env-file", help="File of NAME=VALUE lines.")
    ] = None,
    workdir: Annotated[
        str | None, typer.Option("-w", "--workdir", help="Directory inside.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("-u", "--user", help="NAME or UID, with :GROUP or :GID.")
    ] = None,
    volume: Annotated[
        list[str] | None, typer.Option("-v", "--volume", help="SOURCE:TARGET[:ro].")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Mount the root read-only.")
    ] = False,
    network: Annotated[str, typer.Option(help="host or none.")] = "host",
    hostname: Annotated[
        str | None, typer.Option("-h", "--hostname", help="Host name inside.")
    ] = None,
    entrypoint: Annotated[
        str | None, typer.Option(help="Instead of the image's ENTRYPOINT.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("-l", "--label", help="KEY=VALUE of the container.")
    ] = None,
    driver: Annotated[str, typer.Option(help="auto, kernel or fuse.")] = "auto",
) -> None:
    """Run a command in a new container.

    The exit status is the command's; 125 if the container could not be started, 126 if the command
    could not be executed, 127 if it was not found, 128+n if signal n ended it.

    Example: layertool run --rm -it debian bash
    """
    from layertool.sandbox.spec import RunFlags
    from layertool.store import Store

    flags = RunFlags(
        command=command or (),
        entrypoint=entrypoint,
        env=env or (),
        env_files=env_file or (),
        workdir=workdir,
        user=user,
        volumes=volume or (),
        labels=label or (),
        hostname=hostname,
        network=network,
        driver=driver,
        read_only=read_only,
        tty=tty,
        stdin=interactive,
        auto_remove=remove,
    )
    with _dockers_exit_codes():
        store = Store.open()
        container, layers = create(store, image, name, flags)
        status = _start(store, container, layers, detach=detach, remove=remove)
    raise typer.Exit(status)


@contextmanager
def _dockers_exit_codes() -> Iterator[None]:
    """The same for what goes wrong after parsing."""
    try:
        yield
    except LayertoolError as error:
        if error.exit_code < _TOOL_FAILED:
            error.exit_code = _TOOL_FAILED
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        raise LayertoolError(
            f"cannot start it: {where}{error.strerror}", exit_code=_TOOL_FAILED
        ) from None


def create(
    store: Store, image_name: str, name: str | None, flags: RunFlags
) -> tuple[Container, Sequence[Path]]:
    """A new container of an image, and the image's layers, top first."""
    from layertool.sandbox.spec import ContainerSpec
    from layertool.sandbox.state import now

    image = store.resolve(image_name)
    spec = ContainerSpec.from_image(image_name, run_config(image), flags)
    record = {**spec.to_dict(), "created": now()}
    container = store.create_container(image, name=name, config=record)
    container.config = {**record, **spec.named(container.id[:12]).to_dict()}
    container.save()
    return container, image.layer_dirs()


def run_config(image: Image) -> dict[str, Any]:
    """The `config` object of an image's configuration, unknown fields included."""
    import json

    config = json.loads(image.config.raw).get("config")
    return config if isinstance(config, dict) else {}


def _start(
    store: Store, container: Container, layers: Sequence[Path], *, detach: bool, remove: bool
) -> int:
    from layertool.sandbox import lifecycle, monitor

    def clean_up() -> None:
        if remove:
            lifecycle.remove(store.container(container.id))

    if detach:
        try:
            monitor.detach(container, layers, afterwards=clean_up)
        except LayertoolError:
            clean_up()
            raise
        print(container.id)
        return 0
    try:
        return monitor.run(container, layers)
    finally:
        clean_up()


@app.command("exec", cls=_WithDockersNumbers, context_settings=_COMMAND_FOLLOWS)
def execute(
    container: Annotated[
        str, typer.Argument(metavar="CONTAINER", help="Name or id of a running one.")
    ],
    command: Annotated[list[str], typer.Argument(metavar="CMD [ARG…]", help="The command.")],
    interactive: Annotated[
        bool, typer.Option("-i", "--interactive", help="Hand stdin on.")
    ] = False,
    tty: Annotated[bool, typer.Option("-t", "--tty", help="Give it a terminal.")] = False,
    env: Annotated[
        list[str] | None, typer.Option("-e", "--env", help="NAME=VALUE, or NAME of ours.")
    ] = None,
    workdir: Annotated[
        str | None, typer.Option("-w", "--workdir", help="Directory inside.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("-u", "--user", help="NAME or UID, with :GROUP or :GID.")
    ] = None,
) -> None:
    """Run a command in a running container. Exit status as with `run`.

    Example: layertool exec web cat /etc/hostname
    """
    from layertool.sandbox import join, lifecycle, runner
    from layertool.sandbox.signals import Forwarder
    from layertool.sandbox.spec import ContainerSpec
    from layertool.store import Store

    with _dockers_exit_codes():
        found = Store.open().container(container)
        init = lifecycle.live_init(found)
        process = ContainerSpec.from_dict(found.config).beside(
            command, env=env or (), cwd=workdir, user=user, tty=tty, stdin=interactive
        )
        with Forwarder() as forwarder:
            status = runner.attend(join.start(init, process), process, forwarder)
    raise typer.Exit(status)


@app.command()
def ps(
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also those that ended.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only ids.")] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A list with id, name, image, command, created, state, status, exit_code, pid,"
            " labels, mountpoint.",
        ),
    ] = False,
) -> None:
    """List containers, newest first.

    Example: layertool ps -a
    """
    from layertool.cli.tables import age, print_json, print_table
    from layertool.sandbox import lifecycle
    from layertool.store import Store

    found = [
        lifecycle.summary(container)
        for container in Store.open().containers()
        if container.dir.exists()  # else somebody removes it right now
    ]
    shown = [each for each in found if everything or each.state in ("running", "mounted")]
    shown.sort(key=lambda each: each.created, reverse=True)
    if as_json:
        import dataclasses

        print_json([dataclasses.asdict(each) for each in shown])
    elif quiet:
        for each in shown:
            print(each.id[:12])
    else:
        rows = [
            (each.id[:12], each.image, _shorten(each.command), age(each.created), each.status,
             each.name)
            for each in shown
        ]  # fmt: skip
        print_table(("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"), rows)


def _shorten(command: Sequence[str], limit: int = 30) -> str:
    text = " ".join(command)
    return text if len(text) <= limit else text[: limit - 1] + "…"


@app.command()
def stop(
    containers: _ContainerNames,
    seconds: Annotated[
        float, typer.Option("-t", "--time", help="Seconds to wait before KILL.")
    ] = 10,
) -> None:
    """Stop containers: the image's stop signal, then KILL.

    Example: layertool stop -t 3 web
    """
    from layertool.cli.several import for_each
    from layertool.sandbox import lifecycle
    from layertool.store import Store

    store = Store.open()

    def act(name: str) -> None:
        lifecycle.stop(store.container(name), seconds)
        print(name)

    for_each(containers, act)


@app.command()
def kill(
    containers: _ContainerNames,
    signal: Annotated[str, typer.Option("-s", "--signal", help="Name or number.")] = "KILL",
) -> None:
    """Send a signal to the main process of containers.

    Example: layertool kill -s HUP web
    """
    from layertool.cli.several import for_each
    from layertool.sandbox import lifecycle
    from layertool.store import Store

    number = lifecycle.signal_number(signal)
    store = Store.open()

    def act(name: str) -> None:
        lifecycle.kill(store.container(name), number)
        print(name)

    for_each(containers, act)


@app.command()
def rm(
    containers: _ContainerNames,
    force: Annotated[bool, typer.Option("-f", "--force", help="Kill those that run.")] = False,
) -> None:
    """Remove containers and what they changed.

    Example: layertool rm web
    """
    from layertool.cli.several import for_each
    from layertool.sandbox import lifecycle
    from layertool.store import Store

    store = Store.open()
    if force:
        # All before the first is removed: an ordinary user enters a namespace for that, from which
        # the containers that still run are out of reach.
        for name in containers:
            with suppress(LayertoolError):
                lifecycle.end(store.container(name))

    def act(name: str) -> None:
        lifecycle.remove(store.container(name), force=force)
        print(name)

    for_each(containers, act)


@app.command()
def wait(
    containers: _ContainerNames,
) -> None:
    """Wait until containers have ended; print their exit statuses.

    Example: layertool wait web
    """
    from layertool.cli.several import for_each
    from layertool.sandbox import lifecycle
    from layertool.store import Store

    store = Store.open()
    for_each(containers, lambda name: print(lifecycle.wait(store.container(name))))


@app.command("logs")
def show_logs(
    container: _ContainerName,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Until the container ends.")
    ] = False,
    timestamps: Annotated[
        bool, typer.Option("-t", "--timestamps", help="Begin each line with its time.")
    ] = False,
    tail: Annotated[
        str, typer.Option("-n", "--tail", help="So many of the last lines, or all.")
    ] = "all",
) -> None:
    """Show what a container has written, each stream on its own.

    Example: layertool logs -f web
    """
    from layertool.sandbox import logs
    from layertool.store import Store

    last = None if tail == "all" else _line_count(tail)
    found = Store.open().container(container)
    still_running = (lambda: found.running) if follow else None
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}
    for piece in logs.read(found.dir, last=last, still_running=still_running):
        stream = streams[piece.stream]
        if timestamps and piece.starts_line:
            stream.write(f"{piece.time} ".encode())
        stream.write(piece.data)
        stream.flush()


def _line_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"--tail {text}: must be a number of lines, or all")
    return int(text)


@app.command()
def diff(
    container: _ContainerName,
    as_json: Annotated[bool, typer.Option("--json", help="A list with kind and path.")] = False,
) -> None:
    """Show what a container changed: A added, C changed, D deleted; sorted by path.

    Example: layertool diff web
    """
    from layertool.sandbox import namespaces
    from layertool.sandbox.changes import changes
    from layertool.store import Store

    store = Store.open()
    found = store.container(container)
    layers = container_layers(store, found)
    namespaces.enter_for_files()
    lines = changes(found.upper, layers)
    if as_json:
        import json

        print(json.dumps([{"kind": c.kind, "path": os.fsdecode(c.path)} for c in lines], indent=2))
        return
    for change in lines:
        sys.stdout.buffer.write(change.kind.encode() + b" " + change.path + b"\n")
    sys.stdout.buffer.flush()


def container_layers(store: Store, container: Container) -> Sequence[Path]:
    """The layers below a container, top first."""
    return store.resolve(container.image_id).layer_dirs() if container.image_id else []


@app.command()
def commit(
    container: _ContainerName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new image.")],
    change: Annotated[
        list[str] | None,
        typer.Option("-c", "--change", help="Dockerfile instruction for the config."),
    ] = None,
    message: Annotated[str, typer.Option("-m", "--message", help="Comment in the history.")] = "",
    author: Annotated[str, typer.Option("-a", "--author", help="Author of the image.")] = "",
    squash: Annotated[bool, typer.Option("--squash", help="One layer instead of all.")] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No progress, only the result.")
    ] = False,
) -> None:
    """Make an image of a container: its changes become one more layer. Prints the image id.

    The base's config and history are kept; only what changed is packed.

    Example: layertool commit --change 'CMD ["vim"]' web debian-with-vi
    """
    from layertool.cli.progress import Meter
    from layertool.oci.names import Reference
    from layertool.sandbox.commit import CommitFlags
    from layertool.sandbox.commit import commit as make_image
    from layertool.store import Store

    reference = Reference.parse(name)
    store = Store.open()
    found = store.container(container)
    base = store.resolve(found.image_id) if found.image_id else None
    flags = CommitFlags(changes=change or (), message=message, author=author, squash=squash)
    with Meter(f"committing {container}", None, quiet=quiet) as meter:
        image = make_image(store, found, base, reference, flags, meter.writing)
    print(image.id)
