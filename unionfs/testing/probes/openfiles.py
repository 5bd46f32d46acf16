"""Open files, mappings and locks while the tree changes below them."""

from unionfs.testing.language import (
    Fchmod,
    Flock,
    Fsetxattr,
    Fstat,
    Fsync,
    Ftruncate,
    Futimens,
    LinkFd,
    Map,
    MapRead,
    MapSync,
    MapWrite,
    Open,
    PosixLock,
    Read,
    ReadFile,
    Rename,
    Reopen,
    Start,
    Stop,
    Unlink,
    Write,
    WriteFile,
)
from unionfs.testing.layers import file
from unionfs.testing.probes.probe import Declared, Probe, does, fails, gives, has

# A static ELF program for x86-64 that waits: one segment, and "pause" (system call 34) in a loop.
WAITER = (
    b"\x7fELF\x02\x01\x01" + bytes(9)
    + b"\x02\x00\x3e\x00\x01\x00\x00\x00" + (0x400078).to_bytes(8, "little")
    + (64).to_bytes(8, "little") + bytes(8 + 4)
    + b"\x40\x00\x38\x00\x01\x00\x00\x00\x00\x00\x00\x00"
    + b"\x01\x00\x00\x00\x05\x00\x00\x00" + bytes(8)
    + (0x400000).to_bytes(8, "little") * 2 + (129).to_bytes(8, "little") * 2
    + (0x1000).to_bytes(8, "little")
    + b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"
).decode("latin-1")  # fmt: skip

PROBES = (
    Probe(
        "descriptor-from-before-copy-up",
        "a descriptor from before a copy-up reads what was written since",
        "POSIX write(): a later read of the file returns the data",
        ((file("a", "x"),),),
        (
            does(Open(0, "a", "RDONLY")),
            does(WriteFile("a", "y", how="append")),
            gives(Read(0, 9, 0), "2:xy"),
            has(Fstat(0), size=2),
        ),
    ),
    Probe(
        "mapping-from-before-copy-up",
        "a shared mapping from before a copy-up shows what was written since",
        "POSIX mmap(): MAP_SHARED; overlayfs.rst calls its own answer non-standard",
        ((file("a", "xxxx"),),),
        (
            does(Open(0, "a", "RDONLY")),
            does(Map(0, 0, 4, "read")),
            gives(MapRead(0, 0, 4), "4:xxxx"),
            does(WriteFile("a", "y", how="inside")),
            gives(MapRead(0, 0, 4), "4:yxxx"),
        ),
    ),
    Probe(
        "mapping-written",
        "what is written to a shared mapping is in the file",
        "POSIX mmap(), msync()",
        ((file("a", "xxxx"),),),
        (
            does(Open(0, "a", "RDWR")),
            does(Map(0, 0, 4, "write")),
            does(MapWrite(0, 1, "yy")),
            does(MapSync(0)),
            gives(ReadFile("a"), "4:xyyx"),
        ),
    ),
    Probe(
        "running-program",
        "a lower program that runs cannot be opened for writing",
        "open(2): ETXTBSY",
        ((file("p", WAITER, 0o755),),),
        (
            does(Start(0, "p")),
            fails(Open(0, "p", "WRONLY"), "ETXTBSY"),
            does(Stop(0)),
        ),
    ),
    Probe(
        "unlinked-works",
        "an open file works on after it was unlinked",
        "POSIX unlink(): until its last reference is closed",
        ((file("a", "x"),),),
        (
            does(Open(0, "a", "RDWR")),
            does(Unlink("a")),
            does(Write(0, "yz", offset=1)),
            does(Ftruncate(0, 2)),
            does(Fchmod(0, 0o600)),
            does(Fsetxattr(0, "user.k", "v")),
            does(Fsync(0)),
            gives(Read(0, 9, 0), "2:xy"),
            has(Fstat(0), size=2, mode="0600"),
        ),
    ),
    Probe(
        "unlinked-link-count",
        "an open file that was unlinked has no links",
        "POSIX unlink()",
        ((file("a", "x"),),),
        (does(Open(0, "a", "RDWR")), does(Unlink("a")), has(Fstat(0), nlink=0)),
    ),
    Probe(
        "unlinked-read-only-works",
        "a lower file that is open for reading can be changed after it was unlinked",
        "POSIX unlink(), fchmod(), futimens()",
        ((file("a", "x"),),),
        (
            does(Open(0, "a", "RDONLY")),
            does(Unlink("a")),
            gives(Read(0, 9, 0), "1:x"),
            does(Fchmod(0, 0o600)),
            does(Futimens(0, 10**18, 10**18)),
            does(Reopen(1, 0, "RDWR")),
        ),
    ),
    Probe(
        "unlinked-read-only-link-count",
        "a lower file that is open for reading has no links after it was unlinked",
        "POSIX unlink()",
        ((file("a", "x"),),),
        (does(Open(0, "a", "RDONLY")), does(Unlink("a")), has(Fstat(0), nlink=0)),
    ),
    Probe(
        "unlinked-cannot-return",
        "an unlinked file cannot be given a name again",
        "linkat(2), AT_SYMLINK_FOLLOW: ENOENT when the link count is 0",
        ((file("a", "x"),),),
        (does(Open(0, "a", "RDWR")), does(Unlink("a")), fails(LinkFd(0, "b"), "ENOENT")),
    ),
    Probe(
        "replaced-works",
        "an open file works on after another was renamed over it",
        "POSIX rename()",
        ((file("a", "x"), file("b", "y")),),
        (
            does(Open(0, "b", "RDWR")),
            does(Rename("a", "b")),
            gives(Read(0, 9, 0), "1:y"),
            does(Write(0, "z", offset=0)),
            gives(ReadFile("b"), "1:x"),
        ),
    ),
    Probe(
        "temporary-file",
        "O_TMPFILE, and giving it a name",
        "open(2), O_TMPFILE",
        ((file("a", "x"),),),
        (
            does(Open(0, ".", "RDWR|TMPFILE")),
            does(Write(0, "y")),
            does(LinkFd(0, "b")),
            gives(ReadFile("b"), "1:y"),
        ),
        declared=(
            Declared(
                "unionfs*", "open: ENOTSUP",
                "pyfuse3 has no handler for it; programs then make a named file",
            ),
        ),
    ),
    Probe(
        "flock",
        "flock(2) works between processes, over a copy-up",
        "flock(2)",
        ((file("a", "x"),),),
        (
            does(Open(0, "a", "RDONLY")),
            does(Flock(0, "exclusive")),
            does(Open(0, "a", "RDWR", who=1)),
            fails(Flock(0, "exclusive", who=1), "EAGAIN"),
            does(Flock(0, "unlock")),
            does(Flock(0, "exclusive", who=1)),
        ),
    ),
    Probe(
        "posix-lock",
        "record locks work between processes",
        "fcntl(2), F_SETLK: EAGAIN or EACCES",
        ((file("a", "xxxx"),),),
        (
            does(Open(0, "a", "RDWR")),
            does(Open(0, "a", "RDWR", who=1)),
            does(PosixLock(0, "exclusive", 0, 2)),
            fails(PosixLock(0, "exclusive", 1, 2, who=1), "EAGAIN", "EACCES"),
            does(PosixLock(0, "exclusive", 2, 2, who=1)),
        ),
    ),
)  # fmt: skip
