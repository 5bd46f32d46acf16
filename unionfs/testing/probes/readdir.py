"""Listing merged directories."""

from unionfs.testing.language import (
    Create,
    CreateMany,
    ListDir,
    OpenDir,
    ReadDir,
    ReadFile,
    RemoveWhileReading,
    RewindDir,
    SeekDir,
    Stat,
    TellDir,
)
from unionfs.testing.layers import directory, file, many, special, symlink, whiteout
from unionfs.testing.probes.answers import Contains, Same, Unordered
from unionfs.testing.probes.probe import Probe, does, fails, gives

# A directory whose forty names lie in two layers.
FORTY = (
    (directory("d"), *(file(f"d/t{n:02d}") for n in range(20))),
    (directory("d"), *(file(f"d/b{n:02d}") for n in range(20))),
)

PROBES = (
    Probe(
        "readdir-rewind",
        "an entry made while a directory is read shows after rewinddir(3)",
        "POSIX rewinddir()",
        FORTY,
        (
            does(OpenDir(0, "d")),
            does(ReadDir(0, 3)),
            does(Create("d/new")),
            does(RewindDir(0)),
            gives(ReadDir(0, 200), Contains("new file")),
        ),
    ),
    Probe(
        "readdir-seek",
        "seekdir(3) to where telldir(3) was goes on with the same entry",
        "POSIX seekdir()",
        FORTY,
        (
            does(OpenDir(0, "d")),
            does(ReadDir(0, 24)),
            does(TellDir(0, 0)),
            gives(ReadDir(0, 5), Same("next five")),
            does(ReadDir(0, 10)),
            does(SeekDir(0, 0)),
            gives(ReadDir(0, 5), Same("next five")),
        ),
    ),
    Probe(
        "readdir-while-deleting",
        "deleting each of 1500 entries while reading meets every one once",
        "POSIX readdir(): entries that stay are returned once",
        (many("d", 60),),
        (
            does(CreateMany("d", 1440)),
            gives(RemoveWhileReading("d"), 1500),
            gives(ListDir("d"), []),
        ),
    ),
    Probe(
        "readdir-no-duplicates",
        "a name that two layers have is listed once, and is the upper one's",
        "overlayfs.rst, merged directories",
        ((directory("d"), file("d/a", "top")), (directory("d"), file("d/a", "low"))),
        (gives(ListDir("d"), ["a file"]), gives(ReadFile("d/a"), "3:top")),
    ),
    Probe(
        "readdir-types",
        "readdir(3) tells the types",
        "readdir(3), d_type",
        (
            (
                directory("d"), file("d/a"), directory("d/d"), symlink("d/l", "a"),
                special("d/p", "fifo"), special("d/s", "socket"),
            ),
            (directory("d"), file("d/l"), directory("d/p")),
        ),
        (
            does(OpenDir(0, "d")),
            gives(ReadDir(0, 9), Unordered(("a file", "d dir", "l symlink", "p fifo", "s socket"))),
        ),
    ),
    Probe(
        "whiteout-hides-below",
        "a whiteout hides lower layers only",
        "overlayfs.rst, whiteouts",
        (
            (file("a", "top"), whiteout("b")),
            (whiteout("a"), file("b", "middle")),
            (file("a", "low"), file("b", "low")),
        ),
        (
            gives(ReadFile("a"), "3:top"),
            fails(Stat("b"), "ENOENT"),
            gives(ListDir("."), ["a file"]),
        ),
    ),
    Probe(
        "opaque-hides-below",
        "an opaque directory hides the directories below it, also the third",
        "overlayfs.rst, opaque directories",
        (
            (directory("d"), file("d/a")),
            (directory("d", opaque=True), file("d/b")),
            (directory("d"), file("d/c")),
        ),
        (gives(ListDir("d"), ["a file", "b file"]), fails(Stat("d/c"), "ENOENT")),
    ),
    Probe(
        "file-ends-the-merge",
        "a file between two directories ends the merge",
        "overlayfs.rst: otherwise the lower object is hidden",
        (
            (directory("d"), file("d/a")),
            (file("d", "between"),),
            (directory("d"), file("d/b")),
        ),
        (gives(ListDir("d"), ["a file"]), fails(Stat("d/b"), "ENOENT")),
    ),
    Probe(
        "xattr-whiteout",
        "an empty file with overlay.whiteout is neither listed nor found",
        "overlayfs.rst: alternatively a whiteout is a file with that xattr",
        (
            (file("a", xattrs={"trusted.overlay.whiteout": "y"}), file("b", "y")),
            (file("a", "x"),),
        ),
        (fails(Stat("a"), "ENOENT"), gives(ListDir("."), ["b file"])),
        of_unions=True,
    ),
)  # fmt: skip
