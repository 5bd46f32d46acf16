"""POSIX ACL inheritance, for objects that are built outside the directory they will appear in.

Values are the kernel's xattr form (linux/posix_acl_xattr.h): a version word, then entries of
tag, permissions and id, all little-endian. Source: acl(5), posix_acl_create(9).
"""

from __future__ import annotations

import struct

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"

_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


def inherit(default: bytes, mode: int) -> tuple[int, bytes | None]:
    """(mode, access ACL or None) of an object made with *mode* below a directory with *default*.

    The umask plays no part: the default ACL replaces it. The result's access ACL is None when the
    mode alone says the same.
    """
    entries = list(_ENTRY.iter_unpack(default[_HEADER.size :]))
    tags = {tag for tag, _, _ in entries}
    group_tag = _MASK if _MASK in tags else _GROUP_OBJ
    shifts = {_USER_OBJ: 6, group_tag: 3, _OTHER: 0}
    masked = []
    for tag, perm, who in entries:
        shift = shifts.get(tag)
        if shift is not None:
            perm &= mode >> shift & 7
            mode = mode & ~(7 << shift) | perm << shift
        masked.append((tag, perm, who))
    if not tags & {_USER, _GROUP, _MASK}:
        return mode, None
    return mode, default[: _HEADER.size] + b"".join(_ENTRY.pack(*entry) for entry in masked)
