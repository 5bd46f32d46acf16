"""Layers by hand: chroot, mount, umount, mounts; and doctor."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layertool.errors import Conflict, LayertoolError, NotFound, UsageError

if TYPE_CHECKING:
    from layertool.sandbox.doctor import Check
    from layertool.sandbox.mounts import Record
    from layertool.store import Image, Store

app = typer.Typer()

_LAYERS_HELP = "A layer directory; each further one lies on top of those before it."


@app.command(context_settings={"allow_interspersed_args": False})
def chroot(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE] [--] [CMD…]", help="With -l no image is named."),
    ] = None,
    layer: Annotated[list[Path] | None, typer.Option("-l", "--layer", help=_LAYERS_HELP)] = None,
    upper: Annotated[
        Path | None, typer.Option(help="Directory for changes; without one all is read-only.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Work directory beside the upper (UPPER.work).")
    ] = None,
    env: Annotated[list[str] | None, typer.Option("-e", "--env", help="NAME=VALUE.")] = None,
    workdir: Annotated[
        str | None, typer.Option("-w", "--workdir", help="Directory inside.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("-u", "--user", help="NAME or UID, with :GROUP.")
    ] = None,
    volume: Annotated[
        list[str] | None, typer.Option("-v", "--volume", help="SOURCE:TARGET[:ro].")
    ] = None,
    network: Annotated[str, typer.Option(help="host or none.")] = "host",
    driver: Annotated[str, typer.Option(help="auto, kernel or fuse.")] = "auto",
) -> None:
    """Run a command in a union of layer directories, or of an image, isolated like a container.

    No container is made of it: changes go to --upper. Layer directories need no store; an image
    also gives its environment, working directory, user and command, as for `run`. With a terminal
    on both ends the command gets one of its own. The exit status is the command's.

    Example: layertool chroot -l base -l app --upper up -- /bin/sh
    """
    from layertool.sandbox import enter, merged, runner
    from layertool.sandbox.spec import ContainerSpec, RunFlags

    stack = _Stack(_top_first(layer), words or ()) if layer else _stack_of_image(words or ())
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    flags = RunFlags(
        command=stack.command,
        env=env or (),
        workdir=workdir,
        user=user,
        volumes=volume or (),
        network=network,
        tty=interactive,
        stdin=True,
    )
    spec = ContainerSpec.from_image("", stack.config, flags)
    with stack.kept:
        enter()
        with (
            _work_directory(upper, work) as beside,
            _mountpoint() as at,
            merged(stack.layers, upper, beside, at, driver, init=spec.init_layer()) as root,
        ):
            status = runner.run(root, spec.process())
    raise typer.Exit(status)


@dataclass(frozen=True)
class _Stack:
    """Layer directories, top first, and what is to run in them.

    `config` is that of the image they come from, and `kept` the context in which they stay.
    """

    layers: Sequence[Path]
    command: Sequence[str]
    config: Mapping[str, Any] = field(default_factory=dict)
    kept: AbstractContextManager[object] = field(default_factory=contextlib.nullcontext)


def _stack_of_image(words: Sequence[str]) -> _Stack:
    """`IMAGE [--] [CMD…]`."""
    from layertool.cli.containers import run_config
    from layertool.store import Store

    if not words:
        raise UsageError("chroot IMAGE [CMD…], or chroot -l LAYER… -- CMD…")
    store = Store.open()
    image = store.resolve(words[0])
    command = words[2:] if words[1:2] == ["--"] else words[1:]
    return _Stack(image.layer_dirs(), command, run_config(image), _kept(store, image))


@contextlib.contextmanager
def _kept(store: Store, image: Image) -> Iterator[None]:
    """Meanwhile the layers stay, even if somebody removes the image."""
    with store.lease() as lease:
        lease.add(image.manifest_digest, *image.diff_ids)
        yield


def _top_first(layers: Sequence[Path]) -> list[Path]:
    """Given bottom first, as one builds; used top first, as one looks."""
    for path in layers:
        if not path.is_dir():
            raise NotFound(f"{path}: is not a layer directory")
    return [path.absolute() for path in reversed(layers)]


@contextlib.contextmanager
def _mountpoint() -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="layertool-") as room:
        yield Path(room) / "root"


@contextlib.contextmanager
def _work_directory(upper: Path | None, work: Path | None) -> Iterator[Path | None]:
    """The work directory: the given one, or one of ours that is removed afterwards."""
    import shutil

    from layertool.sandbox import mounts

    if upper is None:
        if work is not None:
            raise UsageError("--work means nothing without --upper")
        yield None
        return
    if work is not None:
        yield work
        return
    ours = mounts.work_beside(upper)
    try:
        yield ours
    finally:
        shutil.rmtree(ours, ignore_errors=True)


@app.command()
def mount(
    places: Annotated[
        list[str], typer.Argument(metavar="[IMAGE] DIR", help="With -l no image is named.")
    ],
    layer: Annotated[list[Path] | None, typer.Option("-l", "--layer", help=_LAYERS_HELP)] = None,
    rw: Annotated[bool, typer.Option("--rw", help="Writable, in a new container.")] = False,
    upper: Annotated[Path | None, typer.Option(help="With -l: directory for changes.")] = None,
    work: Annotated[Path | None, typer.Option(help="With -l: work directory.")] = None,
    driver: Annotated[str, typer.Option(help="auto, kernel or fuse.")] = "auto",
) -> None:
    """Mount an image, or layer directories, on DIR. Prints the container that belongs to it.

    An image is mounted read-only; with --rw its changes go to a container, for `diff` and `commit`.
    Root's mounts are seen by everybody. An ordinary user's are made through FUSE, seen by programs
    of that user; those of other users, root included, are kept out by the kernel unless
    user_allow_other is set in /etc/fuse.conf.

    Example: layertool mount debian /mnt
    """
    if layer:
        if len(places) != 1 or rw:
            raise UsageError("mount -l LAYER… [--upper DIR] DIR: neither an image nor --rw")
        _mount_layers(layer, upper, work, Path(places[0]), driver)
        return
    if len(places) != 2 or upper or work:
        raise UsageError("mount [--rw] IMAGE DIR, or mount -l LAYER… [--upper DIR] DIR")
    _mount_image(places[0], Path(places[1]), rw=rw, driver=driver)


def _mount_layers(
    layers: Sequence[Path], upper: Path | None, work: Path | None, at: Path, driver: str
) -> None:
    from layertool.sandbox import mounts

    stack = _top_first(layers)
    ours = mounts.work_beside(upper) if upper is not None and work is None else None
    work = work or ours
    used = mounts.mount(stack, upper, work, at, driver)
    mounts.remember(
        mounts.Record(
            target=str(mounts.resolved(at)),
            source="layers",
            driver=used,
            writable=upper is not None,
            layers=[str(path) for path in stack],
            work=str(ours) if ours else None,
        )
    )


def _mount_image(image_name: str, at: Path, *, rw: bool, driver: str) -> None:
    """A container's record keeps the image from being removed while it is mounted."""
    from layertool.cli.containers import create
    from layertool.sandbox import mounts
    from layertool.sandbox.spec import RunFlags
    from layertool.sandbox.state import State, now
    from layertool.store import Store

    store = Store.open()
    container, layers = create(store, image_name, None, RunFlags())
    try:
        upper, work = (container.upper, container.work) if rw else (None, None)
        used = mounts.mount(layers, upper, work, at, driver)
    except BaseException:
        container.remove()
        raise
    target = str(mounts.resolved(at))
    State(status="mounted", started=now(), mountpoint=target, driver=used).save(container.dir)
    mounts.remember(
        mounts.Record(
            target=target,
            source=image_name,
            driver=used,
            writable=rw,
            container=container.id,
            root=str(store.root),
        )
    )
    if rw:
        print(container.name)


@app.command()
def umount(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR", help="Mount points.")],
    lazy: Annotated[
        bool, typer.Option("-l", "--lazy", help="Now, even if programs still use it.")
    ] = False,
) -> None:
    """Unmount what `mount` has mounted. A container made by --rw stays, with its changes.

    Example: layertool umount /mnt
    """
    from layertool.cli.several import for_each

    for_each(directories, lambda directory: _umount(directory, lazy=lazy))


def _umount(directory: Path, *, lazy: bool) -> None:
    from layertool.sandbox import mounts

    record = mounts.record_of(directory)
    is_there = mounts.find(directory) is not None
    if record is None and is_there and not mounts.is_ours(directory):
        raise Conflict(f"{directory}: is no mount of layertool; use umount(8)")
    if record is None or is_there:
        mounts.umount(directory, lazy=lazy)
    if record is not None:
        _release(record)
        mounts.forget(record)


def _release(record: Record) -> None:
    """A mounted container becomes one that has ended; one that held no changes goes."""
    import shutil

    if record.work is not None:
        shutil.rmtree(record.work, ignore_errors=True)
    if record.container is None or record.root is None:
        return
    from layertool.sandbox.state import State
    from layertool.store import Store

    try:
        container = Store.open(Path(record.root)).container(record.container)
    except NotFound:  # removed by hand
        return
    if record.writable:
        State.load(container.dir, running=False).ended(0).save(container.dir)
    else:
        container.remove()


@app.command("mounts")
def list_mounts(
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="A list with target, source, driver, writable, container, health."
        ),
    ] = False,
) -> None:
    """List what is mounted by hand, and whether it still answers.

    Example: layertool mounts
    """
    from layertool.sandbox import mounts

    found = [(record, mounts.health(record)) for record in mounts.records()]
    if as_json:
        import dataclasses
        import json

        rows = [{**dataclasses.asdict(record), "health": health} for record, health in found]
        print(json.dumps(rows, indent=2))
        return
    for record, health in found:
        access = "rw" if record.writable else "ro"
        print(f"{record.target}\t{record.source}\t{record.driver}\t{access}\t{health}")
        if health != "ok":
            print(f"{record.target}: {health}; run layertool umount on it", file=sys.stderr)


@app.command()
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="A list with name, ok, detail, fix, essential.")
    ] = False,
) -> None:
    """Say what this machine and this user can do, and how to mend what is missing.

    Every line was tried, not guessed. Fails if containers cannot be run at all.

    Example: layertool doctor
    """
    from layertool.sandbox.doctor import examine
    from layertool.store import Store

    checks = list(examine(Store.open().root))
    if as_json:
        import dataclasses
        import json

        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            _print_check(check)
    if any(check.essential and not check.ok for check in checks):
        raise LayertoolError("containers cannot be run here; see the lines above")


def _print_check(check: Check) -> None:
    print(f"{'ok  ' if check.ok else 'LACK'} {check.name}: {check.detail}")
    if not check.ok:
        print(f"     fix: {check.fix}")
