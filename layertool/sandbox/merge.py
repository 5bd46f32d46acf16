"""The merged view of a stack of layers, by the kernel's overlayfs or by our own union."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from layertool.archive.directories import copy_attributes
from layertool.errors import LayertoolError
from layertool.sandbox import initlayer, linux, namespaces, overlay, runtime
from layertool.sandbox.initlayer import InitLayer
from layertool.sandbox.process import FAILED

Driver = Literal["auto", "kernel", "fuse"]

_UNMOUNT_PATIENCE: Final = 2.0  # seconds


@contextlib.contextmanager
def merged(
    layers: Sequence[Path],
    upper: Path | None,
    work: Path | None,
    at: Path,
    driver: str = "auto",
    *,
    init: InitLayer | None = None,
    volatile: bool = False,
) -> Iterator[Path]:
    """Show `layers` (top first) under `upper` at directory `at` while the context lasts.

    With `init`, a layer with what a sandboxed process needs is put directly below the upper, in
    `AT.init`, and removed afterwards: its files are seen, and are never in the upper. Without
    an upper the view is read-only. `volatile` skips syncing, for an upper that does not outlive
    this process. Missing directories `upper`, `work` and `at` are made.

    Needs the right to mount: an ordinary user's process is moved into a user namespace, which
    works only while it has a single thread (call `namespaces.enter` early otherwise).
    Raises LayertoolError when the driver cannot be used here.
    """
    if os.geteuid() != 0:
        namespaces.enter()
    for directory in (upper, work, at):
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
    # Equal layers (two empty ones are common) are one directory, which overlayfs takes only once
    # (ELOOP). The lower of two adds nothing: what it shows or hides, the upper one does too.
    stack = list(dict.fromkeys(layers))
    init_at = at.with_name(at.name + ".init")
    try:
        if init is not None:
            stack.insert(0, initlayer.build(init_at, init, stack))
        if upper is not None and stack:
            dress_as_root(upper, stack[0])
        with _mounted(stack, upper, work, at, choose(driver, stack, upper or at), volatile):
            yield at
    finally:
        if init is not None:
            shutil.rmtree(init_at, ignore_errors=True)


def dress_as_root(upper: Path, top: Path) -> None:
    """Give a fresh upper the attributes of the root directory below it, which it will hide."""
    if any(upper.iterdir()):
        return
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        copy_attributes(fd, upper)
    finally:
        os.close(fd)


def choose(driver: str, layers: Sequence[Path], on: Path) -> Driver:
    """Resolve `auto`: the kernel's overlayfs if it really works for us here, else our union.

    `on` is a directory on the file system of the upper.
    """
    if driver == "auto":
        if len(layers) > overlay.MAX_LAYERS or overlay.why_not(on.parent) is not None:
            return "fuse"
        return "kernel"
    if driver == "kernel":
        return "kernel"
    if driver == "fuse":
        return "fuse"
    raise LayertoolError(f"driver {driver}: must be auto, kernel or fuse", exit_code=FAILED)


@contextlib.contextmanager
def _mounted(
    layers: Sequence[Path],
    upper: Path | None,
    work: Path | None,
    at: Path,
    driver: Driver,
    volatile: bool,
) -> Iterator[None]:
    if driver == "fuse":
        with _fuse(layers, upper, work, at, volatile):
            yield
        return
    try:
        overlay.mount(layers, upper, work, at, volatile=volatile)
    except OSError as error:
        raise LayertoolError(
            f"{at}: kernel overlayfs cannot be mounted: {error.strerror}; try --driver fuse",
            exit_code=FAILED,
        ) from None
    try:
        yield
    finally:
        unmount(at)


@contextlib.contextmanager
def _fuse(
    layers: Sequence[Path], upper: Path | None, work: Path | None, at: Path, volatile: bool
) -> Iterator[None]:
    import unionfs

    options: dict[str, Any] = {"allow_other": True, "redirect_dir": "nofollow"}
    if not namespaces.in_user_namespace():
        # A root file system: its setuid programs and device nodes are meant.
        options |= {"suid": True, "dev": True}
    if volatile and upper is not None:
        options["volatile"] = True
    try:
        union = unionfs.mount(
            lowers=layers or [runtime.empty_directory("0")],
            upper=upper,
            work=work,
            mountpoint=at,
            die_with_caller=True,
            **options,
        )
    except unionfs.UnionError as error:
        raise LayertoolError(str(error), exit_code=FAILED) from None
    with union:
        yield


def unmount(at: Path) -> None:
    """Unmount, waiting for stragglers a moment; then detach, so that nothing is left behind."""
    deadline = time.monotonic() + _UNMOUNT_PATIENCE
    while True:
        try:
            linux.umount(os.fsencode(at))
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        if time.monotonic() > deadline:
            linux.umount(os.fsencode(at), linux.MNT_DETACH)
            return
        time.sleep(0.02)
