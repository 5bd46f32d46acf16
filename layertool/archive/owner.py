"""Who owns what is unpacked, and how ownership that cannot be set is remembered.

A user without privileges cannot chown. The true owner, mode and type are then kept in the xattr
`user.containers.override_stat`, as containers/storage and fuse-overlayfs do:
`uid:gid:mode[:type]`, type one of file, dir, pipe, `char-MAJOR-MINOR`, `block-MAJOR-MINOR`.
"""

from __future__ import annotations

import enum
import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

OVERRIDE = b"user.containers.override_stat"
_VALUE = re.compile(
    rb"(\d{1,10}):(\d{1,10}):([0-7]{1,7})(?::(file|dir|pipe|symlink|socket|(?:char|block)-\d+-\d+))?"
)
_ALL_IDS = ("0", "0", "4294967295")
_REFUSED = (errno.EPERM, errno.EINVAL, errno.EACCES)


class Owner(enum.Enum):
    """What to do about owners when unpacking."""

    KEEP = "keep"
    """Set them; fails without the privilege."""
    IGNORE = "ignore"
    """Everything belongs to the caller."""
    RECORD = "record"
    """Set them where allowed, remember them in an xattr where not."""


@dataclass(frozen=True, slots=True)
class Override:
    """A remembered stat: `mode` holds permissions, `kind` a file type of stat.S_IF*, or 0."""

    uid: int
    gid: int
    mode: int
    kind: int = 0
    major: int = 0
    minor: int = 0

    def encode(self) -> bytes:
        """The xattr's value."""
        text = b"%d:%d:%04o" % (self.uid, self.gid, self.mode)
        names = {stat.S_IFREG: b"file", stat.S_IFDIR: b"dir", stat.S_IFIFO: b"pipe"}
        if self.kind in names:
            return text + b":" + names[self.kind]
        if self.kind == stat.S_IFCHR:
            return text + b":char-%d-%d" % (self.major, self.minor)
        if self.kind == stat.S_IFBLK:
            return text + b":block-%d-%d" % (self.major, self.minor)
        return text

    @classmethod
    def decode(cls, value: bytes) -> Override | None:
        """None when the value is not of the form."""
        match = _VALUE.fullmatch(value)
        if match is None:
            return None
        kind, major, minor = _kind(match[4] or b"")
        return cls(int(match[1]), int(match[2]), int(match[3], 8) & 0o7777, kind, major, minor)


def default_owner() -> Owner:
    """KEEP where every id can be set: root outside of user namespaces. RECORD elsewhere."""
    if os.geteuid() != 0:
        return Owner.RECORD
    try:
        mapped = Path("/proc/self/uid_map").read_text().split()
    except OSError:
        return Owner.KEEP
    return Owner.KEEP if tuple(mapped) == _ALL_IDS else Owner.RECORD


def stands_for_root(uid: int, gid: int) -> bool:
    """Whether these ids mean 0:0 in a rootless layer: files of the one who unpacked it."""
    return os.geteuid() != 0 and (uid, gid) == (os.geteuid(), os.getegid())


def set_owner(fd: int, uid: int, gid: int) -> bool:
    """Give an open file or directory its owner; False when that is not allowed here."""
    if os.geteuid() != 0:
        # 0:0 is what the caller's own files stand for; no other id can be right on disk.
        return (uid, gid) == (0, 0)
    try:
        os.chown(fd, uid, gid)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True


def _kind(name: bytes) -> tuple[int, int, int]:
    """Type, major and minor number of a type name."""
    word, _, numbers = name.partition(b"-")
    kinds = {
        b"file": stat.S_IFREG,
        b"dir": stat.S_IFDIR,
        b"pipe": stat.S_IFIFO,
        b"symlink": stat.S_IFLNK,
        b"socket": stat.S_IFSOCK,
        b"char": stat.S_IFCHR,
        b"block": stat.S_IFBLK,
    }
    major, _, minor = numbers.partition(b"-")
    return kinds.get(word, 0), int(major or 0), int(minor or 0)
