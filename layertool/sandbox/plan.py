"""From a `Process` as asked for to one that can be started: everything looked up in the root."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from layertool.errors import LayertoolError
from layertool.sandbox import inroot, users
from layertool.sandbox.process import (
    DEFAULT_PATH,
    DOCKER_CAPABILITIES,
    FAILED,
    Bind,
    Process,
    Tmpfs,
)
from layertool.sandbox.users import Identity


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount with its place resolved: `target` has no links in it."""

    spec: Bind | Tmpfs
    target: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A process ready to start. Paths are as seen inside, without links."""

    rootfs: Path
    process: Process
    executable: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    identity: Identity
    capabilities: frozenset[int]
    mounts: tuple[Mounted, ...]


def prepare(rootfs: Path, process: Process) -> Plan:
    """Resolve user, command, working directory and mount points inside `rootfs`.

    Raises LayertoolError with docker's exit codes: 127 command not found, 126 not executable,
    125 for the rest.
    """
    if not process.argv:
        raise LayertoolError(
            "no command: the image names none, so give one after the image", exit_code=FAILED
        )
    with _root(rootfs) as root_fd:
        identity = users.resolve(root_fd, process.user, process.groups)
        env = _environment(process, identity)
        cwd = inroot.working_directory(root_fd, process.cwd or "/")
        mounts = tuple(Mounted(spec, _target(root_fd, spec)) for spec in process.mounts)
        executable = process.argv[0]
        if not _hidden_by_mount(executable, mounts):
            executable = inroot.find_executable(root_fd, executable, env["PATH"], cwd)
    return Plan(
        rootfs=rootfs,
        process=process,
        executable=executable,
        argv=tuple(process.argv),
        env=env,
        cwd=cwd,
        identity=identity,
        capabilities=capability_numbers(process.capabilities),
        mounts=mounts,
    )


def capability_numbers(names: frozenset[str]) -> frozenset[int]:
    """capabilities(7) numbers of names that we know."""
    unknown = names - set(DOCKER_CAPABILITIES)
    if unknown:
        raise LayertoolError(
            f"capability {min(unknown)}: not one of those a container may have", exit_code=FAILED
        )
    return frozenset(DOCKER_CAPABILITIES[name] for name in names)


@contextmanager
def _root(rootfs: Path) -> Iterator[int]:
    try:
        fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LayertoolError(f"{rootfs}: {error.strerror}", exit_code=FAILED) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _environment(process: Process, identity: Identity) -> Mapping[str, str]:
    """docker's additions: PATH, HOME and HOSTNAME unless set, TERM with a terminal."""
    env = {"PATH": DEFAULT_PATH, "HOME": identity.home}
    if process.hostname is not None:
        env["HOSTNAME"] = process.hostname
    if process.tty:
        env["TERM"] = "xterm"
    return env | dict(process.env)


def _target(root_fd: int, spec: Bind | Tmpfs) -> str:
    """Resolve a mount point inside the root, making a missing one.

    Only a root without an init layer lacks any; what is made then stays.
    """
    directory = isinstance(spec, Tmpfs) or spec.source.is_dir()
    try:
        fd = inroot.open_path(root_fd, spec.target)
    except FileNotFoundError:
        parent = inroot.make_directory(
            root_fd, spec.target if directory else os.path.dirname(spec.target)
        )
        try:
            where = inroot.real_path(root_fd, parent)
            if directory:
                return where
            name = os.path.basename(spec.target)
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=parent))
            return f"{where.rstrip('/')}/{name}"
        except OSError as error:
            raise _unusable(spec.target, error.strerror) from None
        finally:
            os.close(parent)
    except OSError as error:
        raise _unusable(spec.target, error.strerror) from None
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode) != directory:
            kind = "directory" if directory else "file"
            raise _unusable(spec.target, f"a {kind} cannot be mounted on something else")
        return inroot.real_path(root_fd, fd)
    finally:
        os.close(fd)


def _unusable(target: str, why: str | None) -> LayertoolError:
    return LayertoolError(f"{target}: cannot be mounted on: {why}", exit_code=FAILED)


def _hidden_by_mount(name: str, mounts: tuple[Mounted, ...]) -> bool:
    """Whether a command given by path comes from a mount, so that the root cannot tell of it."""
    return any(
        name == mount.target or name.startswith(mount.target.rstrip("/") + "/") for mount in mounts
    )
