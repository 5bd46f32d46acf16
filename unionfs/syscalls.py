"""Linux calls that Python's os module does not have, as thin typed functions.

Each raises OSError with the call's errno. Sources: the section 2 man pages of the same names.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from .formats import Handle

_libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

_SYS_OPEN_TREE = 428
_SYS_MOUNT_SETATTR = 442
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_AT_EMPTY_PATH = 0x1000
_MOUNT_ATTR_RDONLY = 0x1
_MOUNT_ATTR_NOATIME = 0x10
_MOUNT_ATTR_ATIME = 0x70
MS_POSIXACL = 1 << 16
MNT_DETACH = 2

_SYNC_FILE_RANGE_WRITE = 2
_SYS_LISTXATTRAT = 465
_AT_SYMLINK_NOFOLLOW = 0x100
_Names = ctypes.c_char * 512
_has_listxattrat = True
_FICLONE = 0x40049409
_FS_IOC_GETFSUUID = 0x80111500
_FS_IOC_GETFLAGS = 0x80086601 if ctypes.sizeof(ctypes.c_long) == 8 else 0x80046601
FS_IMMUTABLE_FL = 0x10
FS_APPEND_FL = 0x20

_MAX_HANDLE_SZ = 128


def _check(result: int, path: bytes | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


_renameat2 = _libc.renameat2
_renameat2.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
)


def renameat2(old_dir: int, old: bytes, new_dir: int, new: bytes, flags: int = 0) -> None:
    """rename(2) relative to two directory descriptors, with RENAME_* *flags*."""
    if _renameat2(old_dir, old, new_dir, new, flags) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old, None, new)


def clone_readonly(path: bytes) -> int:
    """An O_PATH descriptor of a private, read-only, noatime clone of the mount at directory *path*.

    Whatever is done through it cannot change the directory, not even an access time, and what is
    mounted over or below it later is not seen. Needs CAP_SYS_ADMIN over the mount namespace.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    fd = _check(_libc.syscall(_SYS_OPEN_TREE, -100, path, flags), path)
    attr = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOATIME, _MOUNT_ATTR_ATIME, 0, 0)
    try:
        _check(_libc.syscall(_SYS_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, attr, len(attr)), path)
    except OSError:
        os.close(fd)
        raise
    return fd


def list_xattrs(dir_fd: int, name: bytes) -> list[bytes] | None:
    """The xattr names of *name* below *dir_fd*, not following a symlink (listxattrat(2)).

    None where it cannot tell: before Linux 6.13, under a seccomp filter that does not know it, and
    when there are very many names. Takes half the time of listxattr(2) by way of /proc/self/fd.
    """
    global _has_listxattrat
    if not _has_listxattrat:
        return None
    names = _Names()
    flags = _AT_SYMLINK_NOFOLLOW
    size = _libc.syscall(_SYS_LISTXATTRAT, dir_fd, name, flags, names, len(names))
    if size < 0:
        code = ctypes.get_errno()
        _has_listxattrat = code not in (errno.ENOSYS, errno.EPERM)
        if _has_listxattrat and code != errno.ERANGE:
            raise OSError(code, os.strerror(code), name)
        return None
    return names.raw[: size - 1].split(b"\0") if size else []


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _MAX_HANDLE_SZ),
    )


def name_to_handle(dir_fd: int, name: bytes) -> Handle | None:
    """The file handle of *name* below *dir_fd* (not following a symlink), or None without support."""
    handle = _FileHandle(_MAX_HANDLE_SZ)
    mount_id = ctypes.c_int()
    flags = 0 if name else _AT_EMPTY_PATH
    result = _libc.name_to_handle_at(
        dir_fd, name, ctypes.byref(handle), ctypes.byref(mount_id), flags
    )
    if result < 0:
        return None
    where = ctypes.addressof(handle) + _FileHandle.f_handle.offset
    return Handle(handle.handle_type, ctypes.string_at(where, handle.handle_bytes))


def fs_uuid(fd: int) -> bytes:
    """The 16-byte UUID of the file system holding *fd*; zeros where the kernel cannot tell."""
    try:
        answer = fcntl.ioctl(fd, _FS_IOC_GETFSUUID, bytes(17))
    except OSError:
        return bytes(16)
    return answer[1:17] if answer[0] == 16 else bytes(16)


def inode_flags(fd: int) -> int:
    """FS_*_FL flags (chattr(1)) of the open file *fd*; 0 where the file system has none."""
    try:
        # Declared as a long, written as an int (ioctl_iflags(2)).
        return int(struct.unpack_from("=I", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8)))[0])
    except OSError:
        return 0


def clone_file(source: int, target: int) -> bool:
    """Share all of *source*'s blocks with *target* (FICLONE); False where that cannot be done."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def start_writing(fd: int, offset: int, size: int) -> None:
    """Let the disk begin to write these bytes of a file (sync_file_range(2)); promises nothing."""
    _libc.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


def syncfs(fd: int) -> None:
    """Write out everything dirty of the file system holding *fd*."""
    _check(_libc.syncfs(fd))


def mount(source: bytes, target: bytes, kind: bytes, flags: int, data: bytes) -> None:
    """mount(2)."""
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), data), target)


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target, flags), target)


def is_unsupported(error: OSError) -> bool:
    """Whether *error* says that the file system, not the request, is what does not work."""
    return error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTTY)
