"""The place where a step works: an empty upper over the layers so far."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from layertool.build.context import Source
from layertool.build.tree import Entry, Tree
from layertool.errors import LayertoolError
from layertool.sandbox import InitLayer, merged
from layertool.sandbox.users import resolve


@dataclass(frozen=True, slots=True)
class Workspace:
    """`room` is empty scratch space on the store's file system; `upper` becomes the layer."""

    room: Path
    driver: str = "auto"

    @property
    def upper(self) -> Path:
        """What the step changed."""
        return self.room / "upper"

    @contextlib.contextmanager
    def root(self, layers: Sequence[Path], init: InitLayer | None = None) -> Iterator[Path]:
        """The root directory the step sees, `layers` top first. Mounts only what it must."""
        self.upper.mkdir(mode=0o755, exist_ok=True)
        self.upper.chmod(0o755)
        if not layers and init is None:
            yield self.upper
            return
        work, at = self.room / "work", self.room / "root"
        with merged(layers, self.upper, work, at, self.driver, init=init, volatile=True) as root:
            yield root

    @contextlib.contextmanager
    def view(self, layers: Sequence[Path], name: str, *, writable: bool = False) -> Iterator[Path]:
        """Other layers to read from; writes, where allowed, are thrown away."""
        at = self.room / name
        if not layers:
            at.mkdir()
            yield at
            return
        upper = self.room / f"{name}.upper" if writable else None
        work = self.room / f"{name}.work" if writable else None
        with merged(layers, upper, work, at, self.driver, volatile=writable) as root:
            yield root


def write_mask(tree: Tree, at: Path) -> Path:
    """A layer of whiteouts that hides from a mounted context what its ignore rules hide.

    Raises LayertoolError where whiteouts cannot be made.
    """
    at.mkdir()
    top = Entry("", os.fstat(tree.fd), tree.ignore.root)
    at.chmod(stat.S_IMODE(top.info.st_mode))
    modes: list[tuple[Path, int]] = []
    for entry in tree.walk_all(top):
        place = at / entry.path
        if entry.is_dir and not (entry.verdict.ignored and tree.ignore.can_skip(entry.path)):
            place.mkdir()
            modes.append((place, stat.S_IMODE(entry.info.st_mode)))
        elif entry.verdict.ignored:
            try:
                os.mknod(place, stat.S_IFCHR, 0)
            except OSError as error:
                raise LayertoolError(
                    f"{entry.path}: cannot hide it from RUN --mount: {error.strerror}"
                ) from None
    for place, mode in reversed(modes):
        place.chmod(mode)
    return at


@contextlib.contextmanager
def context_view(
    workspace: Workspace, source: Source, name: str, *, writable: bool
) -> Iterator[Path]:
    """The context as RUN --mount=type=bind shows it."""
    if not source.ignore.rules and not writable:
        yield source.context
        return
    layers = [source.context.resolve()]
    if source.ignore.rules:
        with source.open_tree() as tree:
            layers.insert(0, write_mask(tree, workspace.room / f"{name}.mask"))
    with workspace.view(layers, name, writable=writable) as root:
        yield root


def resolve_owner(root: Path, text: str) -> tuple[int, int]:
    """`--chown` or USER as numbers; names come from the image's passwd and group.

    A number without a group is its own group, as docker has it. Raises LayertoolError.
    """
    user, _, group = text.partition(":")
    if user.isdecimal() and not group:
        group = user
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        identity = resolve(root_fd, f"{user}:{group}" if group else user)
    finally:
        os.close(root_fd)
    return identity.uid, identity.gid


def needs_names(chown: str) -> bool:
    """Whether an owner is given by name, so that the base's passwd decides."""
    return not all(part.isdecimal() for part in chown.split(":") if part)


def cache_directory(parent: Path, identifier: str) -> Path:
    """Where the content of a cache mount lies; its id is hostile and becomes no path."""
    return parent / hashlib.sha256(identifier.encode("utf-8", "surrogateescape")).hexdigest()
