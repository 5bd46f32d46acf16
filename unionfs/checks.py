"""Refusing mount arguments that cannot work, before anything is created.

Each refusal names the path and the fix. Source: mount rules of kernel overlayfs (ovl_get_layers,
ovl_workdir_ok) and what users of fuse-overlayfs ran into.
"""

from __future__ import annotations

import os
import stat

from .errors import UnionError, printable
from .options import MountOptions


def check(options: MountOptions) -> None:
    """Raise UnionError when *options* cannot be mounted."""
    if not options.lowers:
        raise UnionError("no lowerdir; write -o lowerdir=DIR[:DIR…]")
    _check_mountpoint(options.mountpoint)
    for path in (*options.lowers, *options.data_lowers):
        _check_dir(path, "lowerdir")
    if options.upper is not None:
        _check_upper(options, options.upper)
    elif options.work is not None:
        raise UnionError(
            "workdir without upperdir; add upperdir=DIR, or drop it to mount read-only"
        )
    _check_not_below(options)


def _stat(path: bytes, what: str, fix: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise UnionError(f"{what} {printable(path)}: {error.strerror}; {fix}") from None


def _check_dir(path: bytes, what: str) -> None:
    st = _stat(path, what, "create it or correct the path")
    if not stat.S_ISDIR(st.st_mode):
        raise UnionError(f"{what} {printable(path)} is not a directory; name a directory")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UnionError(
            f"{what} {printable(path)}: permission denied; give this user read and search permission"
        )


def _check_mountpoint(path: bytes) -> None:
    if not path:
        raise UnionError("no mountpoint; see unionfs --help")
    st = _stat(path, "mountpoint", "create the directory first")
    if not stat.S_ISDIR(st.st_mode):
        raise UnionError(f"mountpoint {printable(path)} is not a directory; name a directory")


def _check_upper(options: MountOptions, upper: bytes) -> None:
    _check_dir(upper, "upperdir")
    work = options.work
    if work is None:
        if options.read_only:
            return
        raise UnionError(
            "upperdir without workdir; add workdir=DIR, an empty directory on the same file system"
        )
    _check_dir(work, "workdir")
    if os.stat(work).st_dev != os.stat(upper).st_dev:
        raise UnionError(
            f"workdir {printable(work)} is on another file system than upperdir {printable(upper)}; "
            "put both on one"
        )
    if _inside(work, upper) or _inside(upper, work):
        raise UnionError(
            f"workdir {printable(work)} and upperdir {printable(upper)} are inside one another; "
            "make them separate directories"
        )
    for lower in options.lowers:
        for other, what in ((upper, "upperdir"), (work, "workdir")):
            _check_apart(other, what, lower)


def _check_apart(path: bytes, what: str, lower: bytes) -> None:
    if os.path.samefile(path, lower):
        raise UnionError(f"{printable(path)} is both {what} and lowerdir; a layer must not change")
    if _inside(path, lower) or _inside(lower, path):
        raise UnionError(
            f"{what} {printable(path)} and lowerdir {printable(lower)} are inside one another, "
            "so writing would change the layer; make them separate directories"
        )


def _check_not_below(options: MountOptions) -> None:
    """What lies below the mountpoint is hidden by the mount; reaching it through us would hang."""
    for path, what in (
        *((path, "lowerdir") for path in (*options.lowers, *options.data_lowers)),
        (options.upper, "upperdir"),
        (options.work, "workdir"),
    ):
        if path is not None and _inside(path, options.mountpoint):
            raise UnionError(
                f"{what} {printable(path)} is below the mountpoint {printable(options.mountpoint)}; "
                "mount somewhere else"
            )


def _inside(path: bytes, outer: bytes) -> bool:
    """Whether the directory *path* is below *outer*, symlinks resolved; False for the same one."""
    path, outer = os.path.realpath(path), os.path.realpath(outer)
    return path != outer and os.path.commonpath((path, outer)) == outer
