"""Inode and device numbers."""

from dataclasses import replace

from unionfs.testing.language import (
    Chmod,
    Fstat,
    Misnumbered,
    Open,
    Remount,
    Rename,
    Stat,
    WriteFile,
)
from unionfs.testing.layers import directory, file, symlink
from unionfs.testing.probes.answers import Other, Same
from unionfs.testing.probes.probe import Declared, Mounting, Probe, does, gives, has

POSIX = "POSIX <sys/stat.h>: st_dev and st_ino together identify the file"
TWO = Mounting(
    "lowerdir=one/l:two/l,upperdir=upper,workdir=work", ("one/l", "two/l"), ("one", "two")
)

NO_XATTRS = Declared(
    "unionfs@userns*",
    "stat: ino changed",
    "a symbolic link cannot hold user.* xattrs (xattr(7)), so nothing remembers it",
)

PROBES = (
    Probe(
        "number-at-copy-up",
        "a file keeps its numbers when it is copied up",
        POSIX,
        ((file("a", "x"),),),
        (
            has(Stat("a"), identity=Same("file")),
            does(Open(0, "a", "RDONLY")),
            does(WriteFile("a", "y", how="append")),
            has(Stat("a"), identity=Same("file")),
            has(Fstat(0), identity=Same("file")),
        ),
    ),
    Probe(
        "number-of-file-over-remount",
        "a copied-up file keeps its inode number over a remount",
        "backup and tar(1) recognise files by it",
        ((file("a", "x"),),),
        (
            has(Stat("a"), ino=Same("inode")),
            does(WriteFile("a", "y", how="append")),
            does(Remount()),
            has(Stat("a"), ino=Same("inode")),
        ),
    ),
    Probe(
        "number-of-directory-over-remount",
        "a lower directory keeps its inode number over a remount",
        "backup and tar(1) recognise files by it",
        ((directory("d"), file("d/a", "x")),),
        (
            has(Stat("d"), ino=Same("inode")),
            does(Remount()),
            has(Stat("d"), ino=Same("inode")),
        ),
    ),
    Probe(
        "number-of-changed-directory-over-remount",
        "a directory that was copied up keeps its inode number over a remount",
        "backup and tar(1) recognise files by it",
        ((directory("d"), file("d/a", "x")),),
        (
            has(Stat("d"), ino=Same("inode")),
            does(Chmod("d", 0o700)),
            has(Stat("d"), ino=Same("inode")),
            does(Remount()),
            has(Stat("d"), ino=Same("inode")),
        ),
    ),
    Probe(
        "number-of-renamed-over-remount",
        "a file that was renamed keeps its inode number over a remount",
        "backup and tar(1) recognise files by it",
        ((file("a", "x"),),),
        (
            has(Stat("a"), ino=Same("inode")),
            does(Rename("a", "b")),
            has(Stat("b"), ino=Same("inode")),
            does(Remount()),
            has(Stat("b"), ino=Same("inode")),
        ),
    ),
    Probe(
        "number-of-symlink-over-remount",
        "a symbolic link that was renamed keeps its inode number over a remount",
        "backup and tar(1) recognise files by it",
        ((symlink("s", "a"),),),
        (
            has(Stat("s"), ino=Same("inode")),
            does(Rename("s", "t")),
            does(Remount()),
            has(Stat("t"), ino=Same("inode")),
        ),
        declared=(NO_XATTRS, replace(NO_XATTRS, drivers="unionfs*userxattr*")),
    ),
    Probe(
        "number-in-listing",
        "readdir(3) gives the inode numbers that stat(2) gives, also of what was copied up",
        "POSIX <dirent.h>: d_ino; find(1), tar(1) and git(1) compare them",
        (
            (directory("d"), file("d/a"), directory("d/m")),
            (directory("d"), file("d/b"), symlink("d/l", "a"), directory("d/m")),
        ),
        (
            gives(Misnumbered("d"), []),
            does(Chmod("d/b", 0o600)),
            does(WriteFile("d/new", "x")),
            gives(Misnumbered("d"), []),
            does(Remount()),
            gives(Misnumbered("d"), []),
        ),
    ),
    Probe(
        "two-disks-numbers-in-listing",
        "readdir(3) gives the numbers of stat(2) where layers lie on two file systems",
        "POSIX <dirent.h>: d_ino",
        (
            (directory("d"), file("d/a"), directory("d/m")),
            (directory("d"), file("d/b"), directory("d/m")),
        ),
        (gives(Misnumbered("d"), []), does(Chmod("d/b", 0o600)), gives(Misnumbered("d"), [])),
        mounting=TWO,
    ),
    Probe(
        "two-disks-one-device",
        "layers on two file systems show one device number",
        "POSIX: find -xdev, du -x and rm --one-file-system stop where st_dev changes",
        ((file("a", "x"),), (file("b", "y"), directory("d"))),
        (
            has(Stat("a"), dev=Same("device")),
            has(Stat("b"), dev=Same("device")),
            has(Stat("d"), dev=Same("device")),
        ),
        mounting=TWO,
    ),
    Probe(
        "two-disks-two-files",
        "files of one inode number on two file systems are two files",
        POSIX,
        ((file("a", "x"),), (file("b", "y"),)),
        (has(Stat("a"), identity=Same("file")), has(Stat("b"), identity=Other("file"))),
        mounting=TWO,
    ),
    Probe(
        "two-disks-number-at-copy-up",
        "a file keeps its numbers when it is copied up to another file system",
        POSIX,
        ((file("a", "x"),), (file("b", "y"),)),
        (
            has(Stat("b"), identity=Same("file")),
            does(WriteFile("b", "z", how="append")),
            has(Stat("b"), identity=Same("file")),
        ),
        mounting=TWO,
    ),
    Probe(
        "two-disks-numbers-over-remount",
        "files and directories of two file systems keep their numbers over a remount",
        "backup and tar(1) recognise files by it",
        ((file("a", "x"), directory("c")), (file("b", "y"), directory("d"))),
        (
            *(has(Stat(name), ino=Same(name)) for name in "abcd"),
            does(Remount()),
            *(has(Stat(name), ino=Same(name)) for name in "abcd"),
        ),
        mounting=TWO,
    ),
)
