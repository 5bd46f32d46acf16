"""Directories, names, owners and inherited permissions (semantics 2.2)."""

from unionfs.testing.language import (
    Chmod,
    Create,
    ListDir,
    Mkdir,
    Mknod,
    NameMax,
    RawUpper,
    Remount,
    RemoveTree,
    Rename,
    Rmdir,
    SetDefaultAcl,
    Stat,
    Umask,
    Unlink,
)
from unionfs.testing.layers import directory, file
from unionfs.testing.probes.answers import Marked, OneOf, Other, Same
from unionfs.testing.probes.probe import Declared, Probe, does, fails, gives, has

LONGEST = "n" * 255

PROBES = (
    Probe(
        "rmdir-not-empty",
        "rmdir of a lower directory with entries",
        "rmdir(2): ENOTEMPTY or EEXIST",
        ((directory("d"), file("d/a")),),
        (fails(Rmdir("d"), "ENOTEMPTY", "EEXIST"),),
    ),
    Probe(
        "rmdir-emptied",
        "rmdir of a lower directory whose entries were deleted",
        "rmdir(2); overlayfs.rst: one whiteout takes its place",
        ((directory("d"), file("d/a")),),
        (
            does(Unlink("d/a")),
            does(Rmdir("d")),
            fails(Stat("d"), "ENOENT"),
            has(RawUpper("d"), whiteout=True),
            does(Remount()),
            fails(Stat("d"), "ENOENT"),
        ),
    ),
    Probe(
        "mkdir-over-deleted",
        "a directory made where a lower one was deleted is empty and stays so",
        "mkdir(2)",
        ((directory("d"), file("d/old")),),
        (
            does(RemoveTree("d")),
            does(Mkdir("d")),
            gives(ListDir("d"), []),
            does(Remount()),
            gives(ListDir("d"), []),
        ),
    ),
    Probe(
        "mkdir-over-deleted-is-opaque",
        "such a directory is opaque in the kernel's format, so other unions see it empty too",
        "overlayfs.rst, whiteouts and opaque directories",
        ((directory("d"), file("d/old")),),
        (
            does(RemoveTree("d")),
            does(Mkdir("d")),
            has(RawUpper("d"), xattrs=Marked("opaque", "1:y")),
        ),
        of_unions=True,
    ),
    Probe(
        "mkdir-leaves-no-litter",
        "a new directory is empty in the upper too",
        "containers and image tools read the upper as it is",
        ((directory("d"),),),
        (does(Mkdir("d/n")), has(RawUpper("d/n"), names=[])),
    ),
    Probe(
        "directory-link-count",
        "the link count of a directory counts subdirectories, or is 1 for unknown",
        "find(1), -noleaf: 2 plus subdirectories, or 1",
        ((directory("d"), directory("d/a")), (directory("d"), directory("d/b"))),
        (has(Stat("d"), nlink=OneOf((1, 4))), has(Stat("d/a"), nlink=OneOf((1, 2)))),
    ),
    Probe(
        "mknod-whiteout",
        "making a character device 0:0, the whiteout, is refused",
        "overlayfs.rst: it would be a deletion; EPERM as mknod(2) has for refused devices",
        ((file("a"),),),
        (fails(Mknod("w", "char"), "EPERM"),),
        of_unions=True,
    ),
    Probe(
        "name-of-aufs",
        "a file may be called .wh.x",
        "POSIX 3.170: any byte but / and NUL",
        ((file("a"),),),
        (does(Create(".wh.x")), gives(ListDir("."), [".wh.x file", "a file"])),
        declared=(
            Declared(
                "unionfs*",
                "create: EINVAL",
                "the name is a deletion in layers made by image tools, which ours reads; "
                "aufs=off allows it",
            ),
        ),
    ),
    Probe(
        "name-of-255-bytes",
        "names of 255 bytes can be made, and deleted from a lower layer",
        "limits.h NAME_MAX; statvfs(3) f_namemax",
        ((file(LONGEST),),),
        (
            gives(NameMax("."), 255),
            does(Create("m" * 255)),
            does(Unlink(LONGEST)),
            does(Remount()),
            gives(ListDir("."), [f"{'m' * 255} file"]),
        ),
    ),
    Probe(
        "name-of-256-bytes",
        "a name of 256 bytes is too long",
        "open(2): ENAMETOOLONG",
        ((file("a"),),),
        (fails(Create("n" * 256), "ENAMETOOLONG"), fails(Stat("n" * 256), "ENAMETOOLONG")),
    ),
    Probe(
        "setgid-directory",
        "what is made in a lower setgid directory gets its group, and subdirectories the bit",
        "inode(7), S_ISGID",
        ((directory("s", 0o2777, gid=1001),),),
        (
            does(Mkdir("s/d", who=2)),
            does(Create("s/f", who=2)),
            has(Stat("s/d"), mode="2755", uid=1000, gid=1001),
            has(Stat("s/f"), mode="0644", uid=1000, gid=1001),
            has(Stat("s"), mode="2777", gid=1001),
        ),
    ),
    Probe(
        "default-acl-and-umask",
        "where the directory has a default ACL the umask does not count",
        "acl(5), object creation and default ACLs",
        ((directory("d", 0o777),),),
        (
            does(SetDefaultAcl("d", 7, 7, 0)),
            does(Umask(0o077)),
            does(Create("d/f", 0o666)),
            does(Mkdir("d/s", 0o777)),
            has(Stat("d/f"), mode="0660"),
            has(Stat("d/s"), mode="0770"),
        ),
    ),
    Probe(
        "umask",
        "where it has none the umask counts",
        "umask(2)",
        ((directory("d"),),),
        (
            does(Umask(0o027)),
            does(Create("d/f", 0o666)),
            does(Mkdir("d/s", 0o777)),
            has(Stat("d/f"), mode="0640"),
            has(Stat("d/s"), mode="0750"),
        ),
    ),
    Probe(
        "parent-time-at-copy-up",
        "a change of a lower file's mode leaves the times of its directory alone",
        "POSIX chmod(): marks the file, not the directory",
        ((directory("d"), file("d/a")),),
        (
            has(Stat("d"), mtime=Same("time of d")),
            does(Chmod("d/a", 0o600)),
            has(Stat("d"), mtime=Same("time of d")),
            does(Remount()),
            has(Stat("d"), mtime=Same("time of d")),
        ),
    ),
    Probe(
        "parent-time-at-own-copy-up",
        "a change of a lower directory's mode leaves its modification time alone",
        "POSIX chmod(): marks the status change only",
        ((directory("d"), file("d/a")),),
        (
            has(Stat("d"), mtime=Same("time of d")),
            does(Chmod("d", 0o700)),
            has(Stat("d"), mtime=Same("time of d")),
        ),
    ),
    Probe(
        "parent-time-at-create",
        "a new entry changes the directory's modification time",
        "POSIX open(): O_CREAT marks the parent",
        ((directory("d"), file("d/a")),),
        (
            has(Stat("d"), mtime=Same("time of d")),
            does(Create("d/n")),
            has(Stat("d"), mtime=Other("time of d")),
        ),
    ),
    Probe(
        "parent-time-at-unlink",
        "a deleted entry changes the directory's modification time",
        "POSIX unlink()",
        ((directory("d"), file("d/a")),),
        (
            has(Stat("d"), mtime=Same("time of d")),
            does(Unlink("d/a")),
            has(Stat("d"), mtime=Other("time of d")),
        ),
    ),
    Probe(
        "parent-time-at-rename",
        "a renamed entry changes the directory's modification time",
        "POSIX rename()",
        ((directory("d"), file("d/a")),),
        (
            has(Stat("d"), mtime=Same("time of d")),
            does(Rename("d/a", "d/b")),
            has(Stat("d"), mtime=Other("time of d")),
        ),
    ),
    Probe(
        "sticky-directory",
        "in a sticky directory of a lower layer only the owner may delete",
        "unlink(2): EPERM or EACCES",
        ((directory("t", 0o1777), file("t/a", uid=1000, gid=1000)),),
        (
            fails(Unlink("t/a", who=3), "EPERM", "EACCES"),
            does(Unlink("t/a", who=2)),
        ),
    ),
    Probe(
        "owner-of-new",
        "what a user makes belongs to that user and its group",
        "open(2), mkdir(2)",
        ((directory("d", 0o777),),),
        (
            does(Create("d/f", who=2)),
            does(Mkdir("d/s", who=2)),
            has(Stat("d/f"), uid=1000, gid=1000),
            has(Stat("d/s"), uid=1000, gid=1000),
        ),
    ),
)
