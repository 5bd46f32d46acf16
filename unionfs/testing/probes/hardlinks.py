"""Hard links of a lower layer."""

from unionfs.testing.language import Create, Link, ReadFile, Remount, Stat, Unlink, WriteFile
from unionfs.testing.layers import directory, file, hardlink
from unionfs.testing.probes.answers import Same
from unionfs.testing.probes.probe import Declared, Probe, does, gives, has

LINKED = ((file("h1", "A\n"), hardlink("h2", "h1"), directory("d"), hardlink("d/h3", "h1")),)

PROBES = (
    Probe(
        "hard-link-written",
        "what is written to one name is read by the others",
        "POSIX link(): two names of one file",
        LINKED,
        (
            does(WriteFile("h1", "B\n", how="append")),
            gives(ReadFile("h2"), "4:A\nB\n"),
            gives(ReadFile("d/h3"), "4:A\nB\n"),
            has(Stat("h1"), identity=Same("file"), nlink=3),
            has(Stat("d/h3"), identity=Same("file"), nlink=3),
        ),
    ),
    Probe(
        "hard-link-written-then-remounted",
        "what was written to one name is read there after a remount",
        "write(2)",
        LINKED,
        (
            does(WriteFile("h1", "B\n", how="append")),
            does(Remount()),
            gives(ReadFile("h1"), "4:A\nB\n"),
        ),
    ),
    Probe(
        "hard-links-stay-linked-over-remount",
        "what was written to one name is read at the others after a remount",
        "POSIX link(): two names of one file",
        LINKED,
        (
            does(WriteFile("h1", "B\n", how="append")),
            does(Remount()),
            gives(ReadFile("h2"), "4:A\nB\n"),
            gives(ReadFile("d/h3"), "4:A\nB\n"),
            has(Stat("h1"), ino=Same("inode"), nlink=3),
            has(Stat("d/h3"), ino=Same("inode"), nlink=3),
        ),
    ),
    Probe(
        "hard-link-count-after-unlink",
        "removing one name of a lower file takes one from its link count, for good",
        "POSIX unlink()",
        LINKED,
        (
            has(Stat("h1"), nlink=3),
            does(Unlink("h2")),
            does(Remount()),
            has(Stat("h1"), nlink=2),
        ),
        declared=(
            Declared(
                "unionfs*",
                "stat: nlink 3",
                "as kernel overlayfs without index=on: to remember it would cost a copy-up of the "
                "file for a name less",
            ),
        ),
    ),
    Probe(
        "hard-link-count-of-new",
        "links of new files are counted",
        "POSIX link(), unlink()",
        ((file("x"),),),
        (
            does(Create("a")),
            does(Link("a", "b")),
            has(Stat("a"), nlink=2, identity=Same("file")),
            has(Stat("b"), nlink=2, identity=Same("file")),
            does(Unlink("a")),
            has(Stat("b"), nlink=1, identity=Same("file")),
        ),
    ),
)
