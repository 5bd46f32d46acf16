"""The on-disk vocabulary of a union layer: whiteouts, opaque marks, redirects, origins, escaping.

Pure functions over names, stat results and xattr values; nothing here touches a disk.
Source: Documentation/filesystems/overlayfs.rst and fs/overlayfs/ of the Linux kernel; AUFS for ``.wh.``.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass

TRUSTED = b"trusted.overlay."
"""xattr family the kernel uses when mounted with privilege."""
USER = b"user.overlay."
"""xattr family the kernel uses with ``-o userxattr``, the only one an unprivileged user can write."""
FUSE_OVERLAYFS = b"user.fuseoverlayfs."
"""xattr family that rootless fuse-overlayfs 1.x writes; we read it and never write it."""
OVERRIDE_STAT = b"user.containers.override_stat"
"""``uid:gid:mode[:type]`` for owners that a rootless process could not set (containers/storage)."""

FAMILIES = (TRUSTED, USER, FUSE_OVERLAYFS)

AUFS_PREFIX = b".wh."
AUFS_OPAQUE = b".wh..wh..opq"
FUSE_OVERLAYFS_LITTER = b".wh..opq"
"""char 0:0 that fuse-overlayfs drops in new directories: a whiteout for a name nobody has."""

NAME_MAX = 255
REDIRECT_MAX = 256
"""Longest redirect value in bytes that the kernel follows (module parameter redirect_max)."""

# --- whiteouts ---


def is_whiteout(mode: int, rdev: int) -> bool:
    """Whether a stat result is the kernel's whiteout, a character device 0:0."""
    return rdev == 0 and stat.S_ISCHR(mode)


def aufs_target(name: bytes) -> bytes | None:
    """The name that the AUFS whiteout *name* deletes, or None when it deletes nothing.

    ``.wh..wh.*`` are AUFS's own files (``.wh..wh..opq``, ``.wh..wh.plnk``): they hide nobody.
    """
    target = name[len(AUFS_PREFIX) :]
    return target if target and not target.startswith(b".wh.") else None


NESTED_WHITEOUT = b"overlay.whiteout"
"""Suffix, after our family, of the mark on an empty file that stands for somebody else's whiteout.

A union on top of ours keeps its whiteouts in our upper. As devices 0:0 they would be ours; stored
as the escaped form of the xattr whiteout, kernel overlayfs passes them to the upper union too.
"""


def is_nested_whiteout(size: int, xattrs: frozenset[bytes]) -> bool:
    """Whether a regular file stands for a whiteout of the union on top of ours."""
    return not size and not xattrs.isdisjoint((TRUSTED + NESTED_WHITEOUT, USER + NESTED_WHITEOUT))


# --- private xattrs ---


def escape(name: bytes) -> bytes:
    """The name under which a user's xattr *name* is stored.

    A union stacked on ours keeps its marks in ``trusted.overlay.*``; they must not become ours,
    so one ``overlay.`` is inserted, as kernel overlayfs does ("nesting overlayfs mounts").
    """
    for family in (TRUSTED, USER):
        if name.startswith(family):
            return family + b"overlay." + name[len(family) :]
    return name


def unescape(raw: bytes) -> bytes | None:
    """What a user sees of the stored xattr *raw*: its name, or None when it is private to the union."""
    for family in FAMILIES:
        if raw.startswith(family):
            rest = raw[len(family) :]
            if family is not FUSE_OVERLAYFS and rest.startswith(b"overlay."):
                return family + rest[len(b"overlay.") :]
            return None
    return raw


def is_private(raw: bytes) -> bool:
    """Whether the stored xattr *raw* is the union's own and must not be copied up."""
    return unescape(raw) is None


# --- redirects ---


def valid_redirect(value: bytes) -> bool:
    """Whether *value* may be followed: absolute and clean, or one plain name.

    A hostile layer could otherwise climb with ``..``; the kernel refuses the same shapes.
    """
    if value.startswith(b"/"):
        parts = value[1:].split(b"/")
        return all(part not in (b"", b".", b"..") for part in parts)
    return bool(value) and b"/" not in value and value not in (b".", b"..")


# --- origin: the file handle of the lower inode a copy-up came from ---

_ORIGIN = struct.Struct("=BBBBB16s")
_ORIGIN_MAGIC = 0xFB
_FILEID_INO32_GEN = 1


@dataclass(frozen=True, slots=True)
class Handle:
    """A kernel file handle (name_to_handle_at(2)): its type and opaque bytes."""

    type: int
    fid: bytes


def encode_origin(handle: Handle, uuid: bytes) -> bytes:
    """The value of ``overlay.origin`` (struct ovl_fb) for *handle* on the file system *uuid* (16 bytes)."""
    size = _ORIGIN.size + len(handle.fid)
    return _ORIGIN.pack(0, _ORIGIN_MAGIC, size, 0, handle.type, uuid) + handle.fid


def decode_origin(value: bytes) -> Handle | None:
    """The handle in an ``overlay.origin`` value, or None when it is empty or malformed."""
    if len(value) < _ORIGIN.size:
        return None
    version, magic, size, _flags, kind, _uuid = _ORIGIN.unpack_from(value)
    if version != 0 or magic != _ORIGIN_MAGIC or size != len(value):
        return None
    return Handle(kind, value[_ORIGIN.size :])


def handle_inode(handle: Handle) -> int | None:
    """The inode number inside *handle* where its layout is known (ext2/3/4, small XFS, tmpfs), else None."""
    if handle.type == _FILEID_INO32_GEN and len(handle.fid) == 8:
        return int.from_bytes(handle.fid[:4], "little")
    if handle.type == _FILEID_INO32_GEN and len(handle.fid) == 12:
        # tmpfs (shmem_encode_fh): the generation, then the number in two halves.
        return int.from_bytes(handle.fid[4:], "little")
    return None


# --- ownership kept beside the file ---


def parse_override(value: bytes) -> tuple[int, int, int] | None:
    """(uid, gid, mode) of an ``override_stat`` value, mode with the file type when it is given."""
    fields = value.split(b":")
    if len(fields) < 3:
        return None
    try:
        uid, gid, mode = int(fields[0]), int(fields[1]), int(fields[2], 8)
    except ValueError:
        return None
    return (uid, gid, mode & 0o7777)
