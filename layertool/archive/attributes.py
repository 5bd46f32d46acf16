"""Owner, mode, extended attributes and times of what is unpacked.

Order matters: chown clears the set-id bits and `security.capability`, chmod changes the mask of an
ACL, so owner, then mode, then xattrs; times last. (chown(2), capabilities(7), acl(5))
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from layertool.archive import headers, whiteouts
from layertool.archive.headers import Entry
from layertool.archive.owner import OVERRIDE, Override, Owner, set_owner

# Labels and ACLs of the machine that packed mean nothing on this one.
OF_THE_HOST = frozenset({b"security.selinux", b"security.ima", b"security.evm", b"system.nfs4_acl"})
_UNSETTABLE = (errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES, errno.E2BIG)
_KINDS = {
    headers.FILE: stat.S_IFREG,
    headers.DIRECTORY: stat.S_IFDIR,
    headers.FIFO: stat.S_IFIFO,
    headers.CHARACTER: stat.S_IFCHR,
    headers.BLOCK_DEVICE: stat.S_IFBLK,
}

Warn = Callable[[str, str], None]
"""Takes a kind, of which only the first is reported, and the message."""


class Attributes:
    """Sets what an entry says about a file just made.

    `escaped`: the tree is a layer of an overlay, whose private names must stay free.
    """

    def __init__(self, owner: Owner, *, escaped: bool, warn: Warn) -> None:
        self._owner = owner
        self._escaped = escaped
        self._warn = warn

    def to_open(self, fd: int, entry: Entry) -> None:
        """For files, directories and placeholders, by descriptor; times excepted."""
        mode = entry.mode
        if self._owner is Owner.KEEP:
            os.chown(fd, entry.uid, entry.gid)
        elif self._owner is Owner.RECORD:
            mode = self._set_or_record(fd, entry)
        os.chmod(fd, mode)
        if entry.xattrs:
            self._xattrs(fd, entry, follow=True)

    def clear(self, fd: int) -> None:
        """Remove the extended attributes of a directory that gets those of an entry instead."""
        try:
            names = os.listxattr(fd)
        except OSError as error:
            if error.errno in _UNSETTABLE:
                return
            raise
        for name in names:
            if os.fsencode(name) not in OF_THE_HOST:
                os.removexattr(fd, name)

    def to_name(self, parent_fd: int, name: bytes, entry: Entry) -> None:
        """For symlinks and special files, which cannot be opened harmlessly; times included."""
        self._owner_of_name(parent_fd, name, entry)
        if entry.type != headers.SYMLINK:
            _chmod_special(parent_fd, name, entry.mode)
        if entry.xattrs:
            self._xattrs(b"/proc/self/fd/%d/%s" % (parent_fd, name), entry, follow=False)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent_fd, follow_symlinks=False)

    def placeholder(self, fd: int, entry: Entry) -> None:
        """An empty file for a device that cannot be made, remembering what it stands for."""
        self._record(fd, entry)
        os.chmod(fd, 0o600)

    def _owner_of_name(self, parent_fd: int, name: bytes, entry: Entry) -> None:
        if self._owner is Owner.IGNORE:
            return
        try:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent_fd, follow_symlinks=False)
        except OSError as error:
            if self._owner is Owner.KEEP or error.errno not in _UNSETTABLE:
                raise
            # Symlinks and special files carry no user.* attributes (xattr(7)): it is lost.
            if (entry.uid, entry.gid) != (0, 0):
                self._warn(
                    "owner of a link",
                    f"{headers.shown(entry.name)}: belongs to {entry.uid}:{entry.gid}, which cannot "
                    "be set, and symlinks cannot remember it: now it is yours",
                )

    def _set_or_record(self, fd: int, entry: Entry) -> int:
        """The mode to give the file."""
        usable = 0 if os.geteuid() == 0 else 0o700 if entry.type == headers.DIRECTORY else 0o600
        if not set_owner(fd, entry.uid, entry.gid) or usable & ~entry.mode:
            self._record(fd, entry)
        return entry.mode | usable

    def _record(self, fd: int, entry: Entry) -> None:
        kind = _KINDS[entry.type]
        override = Override(entry.uid, entry.gid, entry.mode, kind, entry.major, entry.minor)
        try:
            os.setxattr(fd, OVERRIDE, override.encode())
        except OSError as error:
            if error.errno not in _UNSETTABLE:
                raise
            self._warn(
                "owner",
                f"{headers.shown(entry.name)}: the owner cannot be set, and this file system "
                "cannot remember it",
            )

    def _xattrs(self, target: int | bytes, entry: Entry, *, follow: bool) -> None:
        for name, value in entry.xattrs.items():
            on_disk = self._name_on_disk(name)
            if on_disk is None:
                continue
            try:
                os.setxattr(target, on_disk, value, follow_symlinks=follow)
            except ValueError:
                self._warn("name", f"{headers.shown(entry.name)}: attribute name with a NUL")
            except OSError as error:
                if error.errno not in _UNSETTABLE:
                    raise
                family = name.partition(b".")[0]
                self._warn(
                    f"xattr {family!r}",
                    f"{headers.shown(entry.name)}: cannot set the attribute "
                    f"{headers.shown(name)}: {os.strerror(error.errno or 0)}",
                )

    def _name_on_disk(self, name: bytes) -> bytes | None:
        """None for what must not come from an archive: it would lie to the tools that read it."""
        if name in OF_THE_HOST or name == OVERRIDE or name.startswith(whiteouts.FUSE_OVERLAYFS):
            return None
        escaped = whiteouts.escape(name)
        return escaped if self._escaped or escaped == name else None


def _chmod_special(parent_fd: int, name: bytes, mode: int) -> None:
    """chmod(2) follows symlinks: pin the file first, in case somebody swaps it (CVE-2021-32760)."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        # A symlink pinned so has no mode: EOPNOTSUPP.
        os.chmod(b"/proc/self/fd/%d" % fd, mode)
    finally:
        os.close(fd)
