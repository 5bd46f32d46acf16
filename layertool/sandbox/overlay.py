"""Mounting the kernel's overlayfs, with any number of layers and any characters in their paths.

Directories go in by descriptor (Linux 6.13), by `/proc/self/fd/N` through fsconfig (6.8), or by
the same names in one option string, whose page of 4096 bytes then limits the number of layers.
None of the three ever quotes a path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from layertool.errors import LayertoolError
from layertool.sandbox import linux, namespaces, runtime

#: OVL_MAX_STACK in fs/overlayfs.
MAX_LAYERS: Final = 500

#: mount(2) takes one page of options, with its final NUL.
_OPTION_BYTES: Final = 4095


def mount(
    layers: Sequence[Path],
    upper: Path | None,
    work: Path | None,
    at: Path,
    *,
    volatile: bool = False,
) -> None:
    """Mount `layers` (top first) under `upper` at `at`; read-only without an upper.

    `volatile` skips every sync: for an upper that is packed or thrown away by this same process.
    Raises OSError, with the kernel's errno, when overlayfs cannot be used here, and LayertoolError
    for more layers than it takes.
    """
    if len(layers) > MAX_LAYERS:
        raise LayertoolError(
            f"{len(layers)} layers: kernel overlayfs takes {MAX_LAYERS}; use --driver fuse"
        )
    with contextlib.ExitStack() as opened:
        lowers = [*layers, *_padding(len(layers), has_upper=upper is not None)]
        lower_fds = [opened.enter_context(_directory(layer)) for layer in lowers]
        directories = [("lowerdir+", fd) for fd in lower_fds]
        if upper is not None and work is not None:
            directories.append(("upperdir", opened.enter_context(_directory(upper))))
            directories.append(("workdir", opened.enter_context(_directory(work))))
        target = opened.enter_context(_directory(at))
        settings = _settings(has_upper=upper is not None, volatile=volatile)
        for attempt in _ATTEMPTS:
            try:
                attempt(directories, settings, target)
                return
            except OSError as error:
                if attempt is _ATTEMPTS[-1] or error.errno not in (errno.EINVAL, errno.ENOSYS):
                    raise


def _padding(layers: int, *, has_upper: bool) -> list[Path]:
    """Empty layers at the bottom: the kernel wants one lower with an upper, two without."""
    missing = (1 if has_upper else 2) - layers
    return [runtime.empty_directory(str(number)) for number in range(missing)]


def _settings(*, has_upper: bool, volatile: bool) -> list[str]:
    """Options that keep an upper representable as a tar: no redirects, no metadata-only copies."""
    settings = ["redirect_dir=nofollow", "index=off", "metacopy=off"]
    if namespaces.in_user_namespace():
        # userxattr excludes redirect_dir and metacopy, and implies what we ask of them.
        settings = ["userxattr", "index=off"]
    if volatile and has_upper:
        settings.append("volatile")
    return settings


def _with_descriptors(
    directories: Sequence[tuple[str, int]], settings: Sequence[str], target: int
) -> None:
    _with_fsconfig(linux.fsconfig_fd, directories, settings, target)


def _with_names(
    directories: Sequence[tuple[str, int]], settings: Sequence[str], target: int
) -> None:
    def set_name(fs_fd: int, key: str, fd: int) -> None:
        linux.fsconfig_string(fs_fd, key, linux.by_fd(fd))

    _with_fsconfig(set_name, directories, settings, target)


def _with_fsconfig(
    set_directory: Callable[[int, str, int], None],
    directories: Sequence[tuple[str, int]],
    settings: Sequence[str],
    target: int,
) -> None:
    fs_fd = linux.fsopen("overlay")
    try:
        linux.fsconfig_string(fs_fd, "source", "layertool")
        for key, fd in directories:
            set_directory(fs_fd, key, fd)
        for setting in settings:
            key, equals, value = setting.partition("=")
            if equals:
                linux.fsconfig_string(fs_fd, key, value)
            else:
                linux.fsconfig_flag(fs_fd, key)
        mount_fd = linux.fsmount(fs_fd)
    finally:
        os.close(fs_fd)
    try:
        linux.move_mount(mount_fd, target)
    finally:
        os.close(mount_fd)


def _with_option_string(
    directories: Sequence[tuple[str, int]], settings: Sequence[str], target: int
) -> None:
    lowers = [linux.by_fd(fd) for key, fd in directories if key == "lowerdir+"]
    options = ["lowerdir=" + ":".join(lowers)]
    options += [f"{key}={linux.by_fd(fd)}" for key, fd in directories if key != "lowerdir+"]
    text = ",".join([*options, *settings])
    if len(text) > _OPTION_BYTES:
        raise OSError(errno.E2BIG, f"{len(lowers)} layers do not fit this kernel's mount options")
    linux.mount("layertool", linux.by_fd(target), "overlay", 0, text)


_ATTEMPTS: Final = (_with_descriptors, _with_names, _with_option_string)


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def why_not(on: Path) -> str | None:
    """None if overlayfs really works for us with an upper on the file system of `on`.

    A mount that succeeds proves little: on an upper without usable attributes or device nodes the
    kernel mounts, and fails later. So a file is deleted and a directory replaced in a small one.
    """
    try:
        room = tempfile.mkdtemp(prefix=".overlay-probe-", dir=on)
    except OSError as error:
        return f"{on}: {error.strerror}"
    try:
        return _probe(Path(room))
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _probe(room: Path) -> str | None:
    lower, upper, work, at = (room / name for name in ("lower", "upper", "work", "at"))
    for directory in (lower, lower / "dir", upper, work, at):
        directory.mkdir()
    (lower / "file").touch()
    try:
        mount([lower], upper, work, at, volatile=True)
    except OSError as error:
        return f"mounting overlayfs: {error.strerror}"
    try:
        (at / "file").unlink()
        (at / "dir").rmdir()
        (at / "dir").mkdir()
    except OSError as error:
        return f"deleting through overlayfs on {room.parent}: {error.strerror}"
    finally:
        linux.umount(os.fsencode(at), linux.MNT_DETACH)
    if not stat.S_ISCHR((upper / "file").lstat().st_mode):
        return f"overlayfs on {room.parent} does not write whiteouts"
    if not any(name.endswith(".overlay.opaque") for name in os.listxattr(upper / "dir")):
        return f"overlayfs on {room.parent} does not mark directories opaque"
    return None
