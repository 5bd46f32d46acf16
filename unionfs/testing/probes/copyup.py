"""What copies a lower object up, and what it keeps."""

from unionfs.testing.language import (
    Access,
    Chmod,
    Chown,
    Create,
    GetFlags,
    GetXattr,
    Link,
    ListDir,
    Open,
    RawUpper,
    ReadFile,
    Remount,
    SetXattr,
    Stat,
    Truncate,
    Utimens,
    Write,
    WriteFile,
)
from unionfs.testing.layers import directory, file, special
from unionfs.testing.probes.answers import Same
from unionfs.testing.probes.probe import Declared, Mounting, Probe, Step, does, fails, gives, has

IMMUTABLE = Mounting("lowerdir=l,upperdir=upper,workdir=work", immutable=("l/a",))
RULE = "overlayfs.rst, non-directories"


def goes_up(by: Step) -> tuple[Step, ...]:
    """A change of a lower file brings it up with its content and modification time."""
    return (
        has(Stat("a"), mtime=Same("time of a")),
        by,
        has(RawUpper("a"), type="file"),
        gives(ReadFile("a"), "1:x"),
        has(Stat("a"), mtime=Same("time of a")),
    )


PROBES = (
    Probe(
        "copy-up-at-open",
        "opening for writing copies up, even when nothing is written",
        f"{RULE}: at opening for write access",
        ((file("a", "x"),),),
        (does(Open(0, "a", "RDWR")), has(RawUpper("a"), type="file", size=1)),
        of_unions=True,
    ),
    Probe(
        "copy-up-not-at-reading",
        "reading, listing and asking copy nothing up",
        RULE,
        ((directory("d"), file("d/a", "x")),),
        (
            gives(ReadFile("d/a"), "1:x"),
            gives(ListDir("d"), ["a file"]),
            gives(Access("d/a", "write"), True),
            has(RawUpper("."), names=[]),
        ),
        of_unions=True,
    ),
    Probe(
        "open-read-only-truncating",
        "O_RDONLY with O_TRUNC truncates a lower file",
        "open(2): on many systems it is truncated; the kernel's file systems do",
        ((file("a", "x"),),),
        (
            does(Open(0, "a", "RDONLY|TRUNC")),
            has(Stat("a"), size=0),
            does(Remount()),
            gives(ReadFile("a"), "0:"),
        ),
    ),
    Probe(
        "open-exclusive",
        "O_CREAT with O_EXCL of a lower name",
        "open(2): EEXIST",
        ((file("a", "x"),),),
        (fails(Create("a"), "EEXIST"),),
    ),
    Probe(
        "device-write",
        "writing to a lower device goes to the device",
        "overlayfs.rst: only objects are copied up, and the device is not one",
        ((special("null", "char", (1, 3), 0o666),),),
        (
            does(Open(0, "null", "WRONLY")),
            gives(Write(0, "x"), 1),
            gives(RawUpper("null"), None),
        ),
        of_unions=True,
    ),
    Probe(
        "link-of-lower",
        "link(2) of a lower file: both names are one file, also after a remount",
        "link(2)",
        ((file("a", "x"),),),
        (
            does(Link("a", "b")),
            has(Stat("a"), identity=Same("file"), nlink=2),
            has(Stat("b"), identity=Same("file"), nlink=2),
            does(WriteFile("b", "y", how="append")),
            gives(ReadFile("a"), "2:xy"),
            does(Remount()),
            has(Stat("a"), ino=Same("later"), nlink=2),
            has(Stat("b"), ino=Same("later"), nlink=2),
        ),
    ),
    Probe(
        "copy-up-by-chmod",
        "chmod(2) of a lower file keeps its content and modification time",
        "POSIX chmod()",
        ((file("a", "x"),),),
        goes_up(does(Chmod("a", 0o600))),
    ),
    Probe(
        "copy-up-by-chown",
        "chown(2) of a lower file keeps its content and modification time",
        "POSIX chown()",
        ((file("a", "x"),),),
        goes_up(does(Chown("a", 5, 6))),
    ),
    Probe(
        "copy-up-by-setxattr",
        "setxattr(2) of a lower file keeps its content and modification time",
        "setxattr(2)",
        ((file("a", "x"),),),
        (*goes_up(does(SetXattr("a", "user.k", "v"))), gives(GetXattr("a", "user.k"), "1:v")),
    ),
    Probe(
        "copy-up-by-utimens",
        "utimensat(2) of a lower file sets its times and nothing else",
        "utimensat(2)",
        ((file("a", "x", 0o640, uid=5, gid=6),),),
        (
            does(Utimens("a", 10**18, 10**18 + 5)),
            has(Stat("a"), mtime=10**18 + 5, mode="0640", uid=5, gid=6),
            gives(ReadFile("a"), "1:x"),
        ),
    ),
    Probe(
        "copy-up-keeps-xattrs",
        "extended attributes go up with the file",
        "overlayfs.rst: metadata is copied",
        ((file("a", "x", xattrs={"user.k": "v"}),),),
        (does(Chmod("a", 0o600)), does(Remount()), gives(GetXattr("a", "user.k"), "1:v")),
    ),
    Probe(
        "truncate-lower",
        "truncate(2) keeps the bytes before the new end",
        "truncate(2)",
        ((file("a", "abcdef"),),),
        (
            does(Truncate("a", 2)),
            gives(ReadFile("a"), "2:ab"),
            does(Remount()),
            gives(ReadFile("a"), "2:ab"),
        ),
    ),
    Probe(
        "copy-up-in-closed-directory",
        "a user writes to a file of its own in a directory that it may not write",
        "POSIX open(): the directory's write permission is for names",
        ((directory("d", 0o555, uid=1000, gid=1000), file("d/a", "x", uid=1000, gid=1000)),),
        (
            does(WriteFile("d/a", "y", how="append", who=2)),
            gives(ReadFile("d/a"), "2:xy"),
            has(Stat("d"), mode="0555", uid=1000),
        ),
    ),
    Probe(
        "immutable-lower",
        "a lower file with chattr +i cannot be changed, and nothing is copied up",
        "ioctl_iflags(2), FS_IMMUTABLE_FL: EPERM",
        ((file("a", "x"),),),
        (
            fails(Chmod("a", 0o600), "EPERM"),
            fails(WriteFile("a", "y"), "EPERM"),
            fails(SetXattr("a", "user.k", "v"), "EPERM"),
            gives(RawUpper("a"), None),
        ),
        mounting=IMMUTABLE,
    ),
    Probe(
        "immutable-lower-shown",
        "lsattr(1) shows that flag",
        "ioctl_iflags(2)",
        ((file("a", "x"),),),
        (gives(GetFlags("a"), "immutable"),),
        mounting=IMMUTABLE,
        declared=(Declared("unionfs*", "get_flags: ENOTTY", "pyfuse3 has no handler for ioctl"),),
    ),
)
