"""RUN --mount: from the flag's value to something the sandbox can mount."""

from __future__ import annotations

import contextlib
import fcntl
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from layertool.build.cache import Input
from layertool.build.copying import Writer
from layertool.build.draft import Draft
from layertool.build.expand import ExpandError
from layertool.build.gopath import clean
from layertool.build.instructions import Mount
from layertool.build.mountflag import parse_mount
from layertool.build.place import Place
from layertool.build.scope import Scope
from layertool.build.selection import select
from layertool.build.step import Services
from layertool.build.tree import Tree
from layertool.build.workspace import (
    Workspace,
    cache_directory,
    context_view,
)
from layertool.errors import LayertoolError
from layertool.sandbox import Bind, Tmpfs, linux

SECRETS = "/run/secrets"
_CACHE_MODE = 0o755
_SECRET_MODE = 0o400


@dataclass(frozen=True, slots=True)
class Prepared:
    """Mounts ready for the sandbox, and variables that secrets become."""

    binds: tuple[Bind | Tmpfs, ...]
    env: dict[str, str]


class Mounts:
    """The mounts of one RUN. `before` and `scope` are as the instruction finds them."""

    def __init__(
        self,
        flags: tuple[str, ...],
        place: Place,
        services: Services,
        before: Draft,
        scope: Scope,
    ) -> None:
        self._place = place
        self._services = services
        self._workdir = before.workdir()
        self._mounts = [self._parse(flag, scope) for flag in flags]

    def _parse(self, flag: str, scope: Scope) -> Mount:
        try:
            mount = parse_mount(flag, lambda word: scope.expand(word, self._place))
        except (ValueError, ExpandError) as error:
            self._place.fail(str(error))
        if self.target(mount) == "/":
            self._place.fail("a mount cannot cover /")
        return mount

    def target(self, mount: Mount) -> str:
        """Where a mount goes, absolute; without a target, and for one like `.`, the WORKDIR."""
        if mount.type == "secret" and not mount.target:
            return f"{SECRETS}/{posixpath.basename(mount.id)}"
        return clean(posixpath.join("/", self._workdir, mount.target))

    # -- what the step depends on

    def inputs(self) -> Iterator[Input]:
        """The content of what is bound; of caches and secrets only that they are there."""
        for mount in self._mounts:
            target = self.target(mount)
            yield Input("setting", f"--mount {target}", repr(mount))
            if mount.type != "bind" and not mount.from_:
                continue
            if mount.from_:
                draft = self._services.find(mount.from_, self._place)
                yield Input("source", mount.from_, draft.content_digest())
            else:
                yield from self._context_inputs(mount, target)

    def _context_inputs(self, mount: Mount, target: str) -> Iterator[Input]:
        with self._services.source.open_tree() as tree:
            selection = select(tree, [_literal(mount.source)], "/")
            for name, value in selection.inputs(self._services.hashes, None):
                yield Input("file", posixpath.join(target, name), value)

    # -- making them

    @contextlib.contextmanager
    def prepared(self, workspace: Workspace) -> Iterator[Prepared]:
        """Everything open and in place while the context lasts."""
        with contextlib.ExitStack() as stack:
            binds: list[Bind | Tmpfs] = []
            env: dict[str, str] = {}
            for number, mount in enumerate(self._mounts):
                target = self.target(mount)
                if mount.type == "tmpfs":
                    binds.append(Tmpfs(target, size=mount.size))
                elif mount.type == "secret":
                    self._secret(mount, target, workspace, stack, binds, env)
                elif mount.type == "cache":
                    path = stack.enter_context(self._cache(mount, workspace, number))
                    binds.append(Bind(path, target, mount.read_only))
                else:
                    path = stack.enter_context(self._source(mount, workspace, number))
                    binds.append(Bind(path, target, mount.read_only))
            yield Prepared(tuple(binds), env)

    @contextlib.contextmanager
    def _source(self, mount: Mount, workspace: Workspace, number: int) -> Iterator[Path]:
        """The path that a mount binds; links in it stay inside their root (CVE-2024-1753)."""
        name = f"mount{number}"
        writable = not mount.read_only
        if mount.from_:
            draft = self._services.find(mount.from_, self._place)
            layers = self._services.layer_dirs(draft)
            view = workspace.view(layers, name, writable=writable)
        else:
            view = context_view(workspace, self._services.source, name, writable=writable)
        with view as root, Tree(root, f"mount source {mount.from_ or 'of the context'}") as tree:
            yield root / tree.find(mount.source).path

    # -- caches

    @contextlib.contextmanager
    def _cache(self, mount: Mount, workspace: Workspace, number: int) -> Iterator[Path]:
        """A directory that outlives the build. Its owner and mode are set when it is made."""
        identifier = mount.id or self.target(mount)
        parent = self._services.store.build_directory("mounts")
        base = cache_directory(parent, identifier)
        with _locked_cache(base, mount.sharing) as directory:
            content = directory / "content"
            if not content.exists():
                self._make_cache(mount, content, workspace, number)
            yield content

    def _make_cache(self, mount: Mount, content: Path, workspace: Workspace, number: int) -> None:
        """Fill a new cache aside and rename it, so that a half-filled one is never used."""
        fresh = workspace.room / f"cache{number}"
        fresh.mkdir()
        if mount.from_:
            with self._source(mount, workspace, number) as source:
                _copy_tree(source, fresh)
        fresh.chmod(_CACHE_MODE if mount.mode is None else mount.mode)
        _chown(fresh, mount.uid or 0, mount.gid or 0)
        try:
            os.rename(fresh, content)
        except OSError:
            if not content.is_dir():  # else another build made it first
                raise

    # -- secrets

    def _secret(
        self,
        mount: Mount,
        target: str,
        workspace: Workspace,
        stack: contextlib.ExitStack,
        binds: list[Bind | Tmpfs],
        env: dict[str, str],
    ) -> None:
        identifier = mount.id or mount.source or posixpath.basename(mount.target)
        secret = self._services.options.secrets.get(identifier)
        if secret is None:
            if mount.required:
                self._place.fail(f"secret {identifier} is required; give --secret id={identifier}")
            return
        content = secret.read()
        if mount.env is not None:
            env[mount.env or identifier] = content.decode("utf-8", "surrogateescape")
            if not mount.target:
                return
        directory = stack.enter_context(_secret_directory(workspace))
        file = directory / str(len(binds))
        file.write_bytes(content)
        file.chmod(_SECRET_MODE if mount.mode is None else mount.mode)
        _chown(file, mount.uid or 0, mount.gid or 0)
        binds.append(Bind(file, target, read_only=True))


@contextlib.contextmanager
def _secret_directory(workspace: Workspace) -> Iterator[Path]:
    """Memory, not disk: a crash must leave no secret behind."""
    directory = workspace.room / "secrets"
    if directory.exists():
        yield directory
        return
    directory.mkdir(mode=0o700)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("tmpfs", os.fspath(directory), "tmpfs", flags, "mode=700,size=64m")
    try:
        yield directory
    finally:
        linux.umount(os.fspath(directory), linux.MNT_DETACH)


@contextlib.contextmanager
def _locked_cache(base: Path, sharing: str) -> Iterator[Path]:
    """The directory of a cache by its sharing: `locked` waits, `private` takes another."""
    for number in range(1 << 16):
        directory = base if number == 0 else base.with_name(f"{base.name}.{number}")
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if sharing == "private":
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                # A shared user keeps a private one out, and the other way round.
                fcntl.flock(fd, fcntl.LOCK_EX if sharing == "locked" else fcntl.LOCK_SH)
        except BlockingIOError:
            os.close(fd)
            continue
        try:
            yield directory
        finally:
            os.close(fd)
        return
    raise LayertoolError(f"{base}: too many private caches in use")


def _copy_tree(source: Path, target: Path) -> None:
    root_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with (
            Tree(source, "the cache's source", keep_ids=True) as tree,
            Writer(root_fd) as writer,
        ):
            writer.copy(select(tree, ["."], "/"), "/")
    finally:
        os.close(root_fd)


def _chown(path: Path, uid: int, gid: int) -> None:
    info = path.stat()
    if (info.st_uid, info.st_gid) != (uid, gid):
        try:
            os.chown(path, uid, gid)
        except OSError as error:
            raise LayertoolError(
                f"uid={uid},gid={gid}: cannot be given here: {error.strerror}; drop them from"
                " --mount, or map subordinate ids in /etc/subuid"
            ) from None


def _literal(source: str) -> str:
    """A mount's source is a path, not a pattern."""
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in source) or "."
