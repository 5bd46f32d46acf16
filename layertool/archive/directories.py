"""Making one directory on disk look like another."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from layertool.archive import whiteouts


def copy_attributes(source: int, target: int | Path) -> None:
    """Owner, mode, extended attributes and times of an open directory; overlays' marks stay behind.

    An owner that has no number in our user namespace is left out: we could not name it.
    """
    info = os.fstat(source)
    try:
        os.chown(target, info.st_uid, info.st_gid)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
    os.chmod(target, stat.S_IMODE(info.st_mode))
    for name, value in whiteouts.read_xattrs(source).items():
        if whiteouts.unescape(name) is not None:
            os.setxattr(target, name, value)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
