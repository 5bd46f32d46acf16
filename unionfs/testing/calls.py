"""The calls of the operation language, done for real by one process.

Each method of `Actor` carries the name of one operation of `unionfs.testing.language`; the worker
calls it, and a printed script contains the source of the methods that it uses, so what people
paste is what the lab ran. For that reason this module needs nothing but the standard library, and
no method needs another module of the lab.
"""

import ctypes
import fcntl
import hashlib
import mmap
import os
import shutil
import signal
import stat
import struct
import subprocess
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.restype = ctypes.c_void_p
LIBC.readdir.argtypes = [ctypes.c_void_p]
LIBC.telldir.restype = ctypes.c_long
LIBC.telldir.argtypes = [ctypes.c_void_p]
LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
LIBC.rewinddir.argtypes = [ctypes.c_void_p]
LIBC.closedir.argtypes = [ctypes.c_void_p]
LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

AT_FDCWD = -100
FICLONE = 0x40049409
FS_IOC_GETFLAGS = 0x80086601
RENAME_FLAGS = {"noreplace": 1, "exchange": 2, "whiteout": 4}
FALLOCATE_MODES = {"allocate": 0, "keep-size": 1, "punch": 3, "zero": 16}
SEEK = {"set": 0, "cur": 1, "end": 2, "data": 3, "hole": 4}
LOCKS = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX, "unlock": fcntl.LOCK_UN}
ACCESS = {"exists": os.F_OK, "read": os.R_OK, "write": os.W_OK, "execute": os.X_OK}
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}
DIRENT_TYPES = {
    1: "fifo", 2: "char", 4: "dir", 6: "block", 8: "file", 10: "symlink", 12: "socket"
}  # fmt: skip


def check(result: int) -> int:
    """Raise the OSError of a C call that answered -1."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def open_flags(names: str) -> int:
    """ "RDWR|CREAT" as a number, always with O_CLOEXEC, and O_NONBLOCK since a fifo would wait."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    for name in names.split("|"):
        flags |= int(getattr(os, "O_" + name))
    return flags


def summary(data: bytes) -> str:
    """Content for people and for comparison: its length, and the bytes or their hash."""
    if len(data) <= 64:
        return f"{len(data)}:{data.decode('latin-1')}"
    return f"{len(data)}:sha256:{hashlib.sha256(data).hexdigest()[:16]}"


def stat_result(st: os.stat_result) -> dict[str, Any]:
    """What stat(2) says, as plain data. Times in ns, sizes in bytes, blocks of 512 bytes."""
    return {
        "type": TYPES[stat.S_IFMT(st.st_mode)],
        "mode": f"{stat.S_IMODE(st.st_mode):04o}",
        "uid": st.st_uid,
        "gid": st.st_gid,
        "size": st.st_size,
        "rdev": f"{os.major(st.st_rdev)}:{os.minor(st.st_rdev)}",
        "nlink": st.st_nlink,
        "ino": st.st_ino,
        "dev": st.st_dev,
        "mtime": st.st_mtime_ns,
        "blocks": st.st_blocks,
    }


class Actor:
    """One process of a sequence; it keeps its descriptors, streams and mappings by number."""

    def __init__(self) -> None:
        self.fds: dict[int, int] = {}
        self.streams: dict[int, int] = {}
        self.positions: dict[int, int] = {}
        self.maps: dict[int, mmap.mmap] = {}
        self.children: dict[int, subprocess.Popen[bytes]] = {}

    def open(self, fd: int, path: str, flags: str, mode: int) -> None:
        new = os.open(path, open_flags(flags), mode)
        if fd in self.fds:
            os.close(self.fds[fd])
        self.fds[fd] = new

    def close(self, fd: int) -> None:
        os.close(self.fds.pop(fd))

    def read(self, fd: int, size: int, offset: int | None) -> str:
        number = self.fds[fd]
        data = os.read(number, size) if offset is None else os.pread(number, size, offset)
        return summary(data)

    def write(self, fd: int, text: str, times: int, offset: int | None) -> int:
        number, data = self.fds[fd], text.encode("latin-1") * times
        return os.write(number, data) if offset is None else os.pwrite(number, data, offset)

    def seek(self, fd: int, offset: int, whence: str) -> int:
        return os.lseek(self.fds[fd], offset, SEEK[whence])

    def ftruncate(self, fd: int, size: int) -> None:
        os.ftruncate(self.fds[fd], size)

    def fallocate(self, fd: int, mode: str, offset: int, length: int) -> None:
        check(LIBC.fallocate(self.fds[fd], FALLOCATE_MODES[mode], offset, length))

    def fsync(self, fd: int) -> None:
        os.fsync(self.fds[fd])

    def fstat(self, fd: int) -> dict[str, Any]:
        return stat_result(os.fstat(self.fds[fd]))

    def fchmod(self, fd: int, mode: int) -> None:
        os.fchmod(self.fds[fd], mode)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        os.fchown(self.fds[fd], uid, gid)

    def futimens(self, fd: int, atime: int, mtime: int) -> None:
        os.utime(self.fds[fd], ns=(atime, mtime))

    def fsetxattr(self, fd: int, name: str, value: str) -> None:
        os.setxattr(self.fds[fd], name, value.encode("latin-1"))

    def fgetxattr(self, fd: int, name: str) -> str:
        return summary(os.getxattr(self.fds[fd], name))

    def reopen(self, fd: int, source: int, flags: str) -> None:
        new = os.open(f"/proc/self/fd/{self.fds[source]}", open_flags(flags))
        if fd in self.fds:
            os.close(self.fds[fd])
        self.fds[fd] = new

    def link_fd(self, fd: int, path: str) -> None:
        # linkat(2) with AT_SYMLINK_FOLLOW, the way open(2) names for giving an O_TMPFILE a name.
        source = f"/proc/self/fd/{self.fds[fd]}"
        check(LIBC.linkat(AT_FDCWD, source.encode(), AT_FDCWD, os.fsencode(path), 0x400))

    def copy_range(self, source: int, target: int, length: int) -> int:
        return os.copy_file_range(self.fds[source], self.fds[target], length, 0, 0)

    def clone(self, source: int, target: int) -> None:
        fcntl.ioctl(self.fds[target], FICLONE, self.fds[source])

    def flock(self, fd: int, kind: str) -> None:
        fcntl.flock(self.fds[fd], LOCKS[kind] | fcntl.LOCK_NB)

    def posix_lock(self, fd: int, kind: str, start: int, length: int) -> None:
        fcntl.lockf(self.fds[fd], LOCKS[kind] | fcntl.LOCK_NB, length, start)

    def map(self, area: int, fd: int, length: int, access: str) -> None:
        modes = {"read": mmap.PROT_READ, "write": mmap.PROT_READ | mmap.PROT_WRITE}
        self.maps[area] = mmap.mmap(self.fds[fd], length, mmap.MAP_SHARED, modes[access])

    def map_read(self, area: int, offset: int, length: int) -> str:
        return summary(self.maps[area][offset : offset + length])

    def map_write(self, area: int, offset: int, text: str) -> None:
        data = text.encode("latin-1")
        self.maps[area][offset : offset + len(data)] = data

    def map_sync(self, area: int) -> None:
        self.maps[area].flush()

    def unmap(self, area: int) -> None:
        self.maps.pop(area).close()

    def stat(self, path: str) -> dict[str, Any]:
        return stat_result(os.lstat(path))

    def access(self, path: str, mode: str) -> bool:
        # Effective ids, as faccessat(2) AT_EACCESS: actors change their effective identity.
        return os.access(path, ACCESS[mode], effective_ids=True)

    def name_max(self, path: str) -> int:
        return os.statvfs(path).f_namemax

    def read_file(self, path: str) -> str:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            return summary(file.read())

    def write_file(self, path: str, text: str, times: int, how: str) -> int:
        flags = {"truncate": os.O_TRUNC, "append": os.O_APPEND, "inside": 0}[how]
        number = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o666
        )
        try:
            return os.write(number, text.encode("latin-1") * times)
        finally:
            os.close(number)

    def create(self, path: str, mode: int) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def truncate(self, path: str, size: int) -> None:
        # To the size that it has: whether the times move is up to the disk, so nothing to compare.
        if os.stat(path).st_size != size:
            os.truncate(path, size)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def rename(self, source: str, target: str, flags: str) -> None:
        bits = sum(RENAME_FLAGS[name] for name in flags.split("|") if name)
        a, b = os.fsencode(source), os.fsencode(target)
        check(LIBC.renameat2(AT_FDCWD, a, AT_FDCWD, b, bits))

    def link(self, source: str, target: str) -> None:
        os.link(source, target, follow_symlinks=False)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def readlink(self, path: str) -> str:
        return os.readlink(path)

    def mknod(self, path: str, kind: str, mode: int, major: int, minor: int) -> None:
        types = {name: bits for bits, name in TYPES.items()}
        os.mknod(path, types[kind] | mode, os.makedev(major, minor))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid, follow_symlinks=False)

    def utimens(self, path: str, atime: int, mtime: int) -> None:
        os.utime(path, ns=(atime, mtime), follow_symlinks=False)

    def set_xattr(self, path: str, name: str, value: str, how: str) -> None:
        flags = {"any": 0, "create": os.XATTR_CREATE, "replace": os.XATTR_REPLACE}[how]
        os.setxattr(path, name, value.encode("latin-1"), flags, follow_symlinks=False)

    def get_xattr(self, path: str, name: str) -> str:
        return summary(os.getxattr(path, name, follow_symlinks=False))

    def remove_xattr(self, path: str, name: str) -> None:
        os.removexattr(path, name, follow_symlinks=False)

    def list_xattrs(self, path: str) -> list[str]:
        return sorted(os.listxattr(path, follow_symlinks=False))

    def set_default_acl(self, path: str, user: int, group: int, other: int) -> None:
        # acl(5), the binary form of linux/posix_acl_xattr.h: version 2, then tag, bits, id.
        entries = [(0x01, user), (0x04, group), (0x10, group), (0x20, other)]
        value = struct.pack("<I", 2) + b"".join(
            struct.pack("<HHI", tag, bits, 0xFFFFFFFF) for tag, bits in entries
        )
        os.setxattr(path, "system.posix_acl_default", value)

    def get_flags(self, path: str) -> str:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            (bits,) = struct.unpack("i", fcntl.ioctl(number, FS_IOC_GETFLAGS, bytes(4)))
        finally:
            os.close(number)
        return "immutable" if bits & 0x10 else "plain"

    def list_dir(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return sorted(
                f"{e.name} {TYPES[stat.S_IFMT(e.stat(follow_symlinks=False).st_mode)]}"
                for e in entries
            )

    def misnumbered(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if e.inode() != os.lstat(e.path).st_ino)

    def open_dir(self, stream: int, path: str) -> None:
        new = LIBC.opendir(os.fsencode(path))
        if not new:
            check(-1)
        if stream in self.streams:
            LIBC.closedir(self.streams[stream])
        self.streams[stream] = new

    def read_dir(self, stream: int, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            # struct dirent of readdir(3): d_ino and d_off of 8 bytes, d_reclen 2, d_type 1, d_name.
            entry = LIBC.readdir(self.streams[stream])
            if not entry:
                break
            name = os.fsdecode(ctypes.string_at(entry + 19))
            kind = DIRENT_TYPES.get(ctypes.string_at(entry + 18, 1)[0], "unknown")
            if name not in (".", ".."):
                found.append(f"{name} {kind}")
        return found

    def tell_dir(self, stream: int, mark: int) -> None:
        self.positions[mark] = LIBC.telldir(self.streams[stream])

    def seek_dir(self, stream: int, mark: int) -> None:
        LIBC.seekdir(self.streams[stream], self.positions[mark])

    def rewind_dir(self, stream: int) -> None:
        LIBC.rewinddir(self.streams[stream])

    def close_dir(self, stream: int) -> None:
        LIBC.closedir(self.streams.pop(stream))

    def remove_while_reading(self, path: str) -> int:
        removed = 0
        with os.scandir(path) as entries:
            for entry in entries:
                os.unlink(entry.path)
                removed += 1
        return removed

    def remove_tree(self, path: str) -> None:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)  # ENOTDIR; rmtree would open it, and wait if it is a fifo
        shutil.rmtree(path)

    def create_many(self, path: str, count: int) -> None:
        for number in range(count):
            os.close(os.open(f"{path}/n{number:06d}", os.O_WRONLY | os.O_CREAT, 0o644))

    def umask(self, mask: int) -> None:
        os.umask(mask)

    def start(self, child: int, path: str, args: list[str]) -> None:
        self.children[child] = subprocess.Popen([os.path.join(os.getcwd(), path), *args])

    def stop(self, child: int) -> int:
        process = self.children.pop(child)
        process.send_signal(signal.SIGKILL)
        return process.wait()
