"""Content, holes, special files and what a write takes away."""

from unionfs.testing.language import (
    Chmod,
    Chown,
    Clone,
    CopyRange,
    Fallocate,
    GetFlags,
    GetXattr,
    Open,
    RawLower,
    RawUpper,
    ReadFile,
    Readlink,
    Remount,
    Seek,
    Stat,
    Truncate,
    WriteFile,
)
from unionfs.testing.layers import file, special, symlink
from unionfs.testing.probes.answers import AtMost, Same
from unionfs.testing.probes.probe import Declared, Probe, Step, does, fails, gives, has, tries

MIB = 1 << 20
# capabilities(7), version 2: cap_net_raw, effective and permitted.
CAPABILITY = "\x01\x00\x00\x02\x00\x20\x00\x00" + "\x00" * 12
SETUID = ((file("s", "x", 0o4757, uid=1000, gid=1000),),)
CLEARED = "inode(7), S_ISUID; POSIX write(), chown()"


def stays(kind: str) -> tuple[Step, ...]:
    """And even when that fails, it becomes nothing else."""
    return (
        tries(Chown("f", 5, 6)),
        has(Stat("f"), type=kind),
        does(Remount()),
        has(Stat("f"), type=kind),
    )


def keeps_type(kind: str) -> tuple[Step, ...]:
    """A special file stays what it is when its owner changes."""
    return (
        does(Chown("f", 5, 6)),
        has(Stat("f"), type=kind, uid=5, gid=6),
        does(Remount()),
        has(Stat("f"), type=kind, uid=5, gid=6),
    )


PROBES = (
    Probe(
        "sparse-copy-up",
        "a sparse file of 64 MiB stays sparse when it is copied up (blocks of 512 bytes)",
        "nothing may fill the disk that was not written",
        ((file("s", "x", size=64 * MIB),),),
        (
            does(WriteFile("s", "y", how="inside")),
            has(Stat("s"), size=64 * MIB),
            has(RawUpper("s"), blocks=AtMost(4096)),
        ),
    ),
    Probe(
        "fallocate",
        "fallocate(2)",
        "fallocate(2)",
        ((file("a", "x"),),),
        (
            does(Open(0, "a", "RDWR")),
            does(Fallocate(0, "allocate", 0, 8192)),
            has(Stat("a"), size=8192),
        ),
        declared=(Declared("unionfs*", "fallocate: ENOTSUP", "pyfuse3 has no handler for it"),),
    ),
    Probe(
        "punch-hole",
        "fallocate(2) with FALLOC_FL_PUNCH_HOLE",
        "fallocate(2)",
        ((file("a", "x" * 8),),),
        (
            does(Open(0, "a", "RDWR")),
            does(Fallocate(0, "punch", 2, 4)),
            gives(ReadFile("a"), "8:xx\0\0\0\0xx"),
        ),
        declared=(Declared("unionfs*", "fallocate: ENOTSUP", "pyfuse3 has no handler for it"),),
    ),
    Probe(
        "seek-hole",
        "lseek(2) finds the holes of a lower file, for cp(1) and tar(1)",
        "lseek(2), SEEK_HOLE; that there is none but the end is allowed too, and slow",
        ((file("s", "x" * 4096, size=MIB),),),
        (does(Open(0, "s", "RDONLY")), gives(Seek(0, 0, "hole"), 4096)),
        declared=(
            Declared(
                "unionfs*", f"seek: {MIB}",
                "pyfuse3 has no handler for lseek; copy-up itself keeps holes",
            ),
        ),
    ),
    Probe(
        "copy-file-range",
        "copy_file_range(2) from a lower file to a new one",
        "copy_file_range(2)",
        ((file("a", "abcd"),),),
        (
            does(Open(0, "a", "RDONLY")),
            does(Open(1, "b", "RDWR|CREAT")),
            gives(CopyRange(0, 1, 4), 4),
            gives(ReadFile("b"), "4:abcd"),
        ),
    ),
    Probe(
        "clone",
        "FICLONE is refused with an error after which cp --reflink=auto copies",
        "ioctl_ficlone(2): EOPNOTSUPP where the file system cannot",
        ((file("a", "abcd"),),),
        (
            does(Open(0, "a", "RDONLY")),
            does(Open(1, "b", "RDWR|CREAT")),
            fails(Clone(0, 1), "ENOTSUP"),
        ),
    ),
    Probe(
        "inode-flags",
        "lsattr(1) reads a lower file's flags",
        "ioctl_iflags(2)",
        ((file("a", "x"),),),
        (gives(GetFlags("a"), "plain"),),
        declared=(Declared("unionfs*", "get_flags: ENOTTY", "pyfuse3 has no handler for ioctl"),),
    ),
    Probe(
        "lower-access-time",
        "reading does not touch the lower layer's access time",
        "overlayfs.rst: lower layers are never changed",
        ((file("a", "x"),),),
        (
            has(RawLower("a"), atime=Same("access time")),
            gives(ReadFile("a"), "1:x"),
            has(RawLower("a"), atime=Same("access time")),
        ),
        of_unions=True,
    ),
    Probe(
        "setuid-at-write",
        "a write by another user takes the setuid bit of a lower file away",
        CLEARED,
        SETUID,
        (
            does(WriteFile("s", "y", how="append", who=3)),
            has(Stat("s"), mode="0757", uid=1000),
        ),
    ),
    Probe(
        "setuid-at-truncate",
        "truncate(2) by another user takes the setuid bit away",
        CLEARED,
        SETUID,
        (does(Truncate("s", 0, who=3)), has(Stat("s"), mode="0757", uid=1000)),
    ),
    Probe(
        "setuid-at-chown",
        "chown(2) takes the setuid bit away",
        CLEARED,
        SETUID,
        (does(Chown("s", 5, 6)), has(Stat("s"), mode="0757", uid=5, gid=6)),
    ),
    Probe(
        "setuid-at-chmod",
        "chmod(2) with the setuid bit keeps it through the copy-up",
        "POSIX chmod()",
        SETUID,
        (does(Chmod("s", 0o4755)), does(Remount()), has(Stat("s"), mode="4755", uid=1000)),
    ),
    Probe(
        "capability-kept",
        "file capabilities go up with the file",
        "capabilities(7): security.capability",
        ((file("p", "x", 0o755, xattrs={"security.capability": CAPABILITY}),),),
        (
            does(Chmod("p", 0o711)),
            does(Remount()),
            gives(GetXattr("p", "security.capability"), f"20:{CAPABILITY}"),
        ),
    ),
    Probe(
        "capability-at-chown",
        "chown(2) takes file capabilities away",
        "capabilities(7), as for setuid",
        ((file("p", "x", 0o755, xattrs={"security.capability": CAPABILITY}),),),
        (does(Chown("p", 5, 6)), fails(GetXattr("p", "security.capability"), "ENODATA")),
    ),
    Probe(
        "fifo-copy-up",
        "a lower fifo is still one after a change of its owner",
        "chown(2)",
        ((special("f", "fifo"),),),
        keeps_type("fifo"),
    ),
    Probe(
        "fifo-stays-fifo",
        "a lower fifo is still one after a change of its owner was refused",
        "chown(2)",
        ((special("f", "fifo"),),),
        stays("fifo"),
    ),
    Probe(
        "socket-copy-up",
        "a lower socket is still one after a change of its owner",
        "chown(2)",
        ((special("f", "socket"),),),
        keeps_type("socket"),
    ),
    Probe(
        "device-copy-up",
        "a lower device is still one after a change of its owner",
        "chown(2)",
        ((special("f", "char", (1, 3)),),),
        (*keeps_type("char"), has(Stat("f"), rdev="1:3")),
    ),
    Probe(
        "device-stays-device",
        "a lower device is still one after a change of its owner was refused",
        "chown(2)",
        ((special("f", "char", (1, 3)),),),
        stays("char"),
    ),
    Probe(
        "symlink-copy-up",
        "a lower symbolic link keeps its target after a change of its owner",
        "chown(2), lchown",
        ((symlink("f", "target"),),),
        (*keeps_type("symlink"), gives(Readlink("f"), "target")),
    ),
)  # fmt: skip
