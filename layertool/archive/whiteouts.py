"""Deletions in layers: OCI's names for them, and the marks that unions read on disk.

In a tar, `.wh.NAME` deletes NAME of the layers below and `.wh..wh..opq` hides all that the layers
below have in its directory. On disk the kernel's overlayfs wants a character device 0:0 and the
xattr `overlay.opaque`; aufs style keeps the names. (image-spec layer.md; Documentation/
filesystems/overlayfs.rst)
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from typing import Protocol

PREFIX = b".wh."
OPAQUE_NAME = b".wh..wh..opq"
_META_PREFIX = b".wh..wh."
_WHITEOUT_DEVICE = os.makedev(0, 0)

TRUSTED = b"trusted.overlay."
USER = b"user.overlay."
FAMILIES = (TRUSTED, USER)
FUSE_OVERLAYFS = b"user.fuseoverlayfs."
# Another value hides nothing: "deletions in this directory are marked by xattr".
_OPAQUE = b"y"
_NO_XATTRS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM)
_CANNOT = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL)


def is_meta(name: bytes) -> bool:
    """Names that aufs kept for itself (`.wh..wh.plnk`, `.wh..wh.aufs`); also the opaque mark."""
    return name.startswith(_META_PREFIX)


def is_whiteout_device(info: os.stat_result) -> bool:
    """Whether the kernel's overlayfs takes this for a whiteout."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == _WHITEOUT_DEVICE


class Markers(Protocol):
    """How deletions are marked in a layer directory. Both return nothing and may raise OSError."""

    def whiteout(self, parent_fd: int, name: bytes) -> None:
        """Mark `name`, which does not exist in this layer, as deleted."""

    def opaque(self, directory_fd: int) -> None:
        """Mark the directory as hiding what is below it."""


class AufsMarkers:
    """Plain files, for file systems and users that allow no more."""

    def whiteout(self, parent_fd: int, name: bytes) -> None:
        try:
            _empty_file(parent_fd, PREFIX + name)
        except OSError as error:
            # Names of more than 251 bytes leave no room for the prefix; every union reads this.
            if error.errno != errno.ENAMETOOLONG:
                raise
            _device(parent_fd, name)

    def opaque(self, directory_fd: int) -> None:
        _empty_file(directory_fd, OPAQUE_NAME)


class KernelMarkers:
    """What overlayfs reads; each mark falls back to aufs style where the kernel refuses it."""

    def __init__(self) -> None:
        self._fallback = AufsMarkers()

    def whiteout(self, parent_fd: int, name: bytes) -> None:
        try:
            _device(parent_fd, name)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self._fallback.whiteout(parent_fd, name)

    def opaque(self, directory_fd: int) -> None:
        # Only root of the machine may write trusted.*; overlayfs reads user.* with `userxattr`.
        for family in FAMILIES:
            try:
                os.setxattr(directory_fd, family + b"opaque", _OPAQUE)
                return
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
        self._fallback.opaque(directory_fd)


def read_xattrs(target: int | bytes) -> dict[bytes, bytes]:
    """All extended attributes of an open file, or of a path without following it."""
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return {}
        raise
    return {os.fsencode(name): os.getxattr(target, name, follow_symlinks=follow) for name in names}


def private_value(xattrs: Mapping[bytes, bytes], name: bytes) -> bytes | None:
    """The value of an overlay's private attribute, whichever family wrote it."""
    for family in (*FAMILIES, FUSE_OVERLAYFS):
        if family + name in xattrs:
            return xattrs[family + name]
    return None


def is_opaque(directory_fd: int) -> bool:
    """Whether an attribute marks the directory as hiding what is below it."""
    return private_value(read_xattrs(directory_fd), b"opaque") == _OPAQUE


def escape(name: bytes) -> bytes:
    """The name under which a layer on disk keeps an attribute of the image.

    An attribute of an overlay *inside* the image must not act on the overlay that the layer is
    part of: the kernel's nesting rule inserts one more `overlay.`.
    """
    for family in FAMILIES:
        if name.startswith(family):
            return family + b"overlay." + name[len(family) :]
    return name


def unescape(name: bytes) -> bytes | None:
    """The inverse; None for an attribute that is private to the overlay and no part of the image."""
    for family in FAMILIES:
        if name.startswith(family):
            inner = name[len(family) :]
            return family + inner[len(b"overlay.") :] if inner.startswith(b"overlay.") else None
    return None if name.startswith(FUSE_OVERLAYFS) else name


def _device(parent_fd: int, name: bytes) -> None:
    # Allowed without privileges in a user namespace since Linux 5.8.
    os.mknod(name, stat.S_IFCHR, _WHITEOUT_DEVICE, dir_fd=parent_fd)


def _empty_file(parent_fd: int, name: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(name, flags, 0o644, dir_fd=parent_fd))
    except FileExistsError:
        pass
