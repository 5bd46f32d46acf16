"""What the options of a mount mean, and which are refused."""

from unionfs.testing.language import (
    Create,
    ListDir,
    Mkdir,
    RawUpper,
    ReadFile,
    Remount,
    RemoveTree,
    Rename,
    Stat,
    WriteFile,
)
from unionfs.testing.layers import Layers, directory, file
from unionfs.testing.probes.probe import Declared, Mounting, Probe, Step, does, fails, gives, has

RST = "overlayfs.rst"
ONE: Layers = ((file("a", "x"),),)
TWO: Layers = ((file("a", "x"),), (file("b", "y"),))
READ_A = (gives(ReadFile("a"), "1:x"),)
RW = ",upperdir=upper,workdir=work"


def numbered(count: int) -> Probe:
    """A stack of that many lower layers, empty but for the first and the last."""
    names = tuple(str(number) for number in range(1, count + 1))
    empty: Layers = ((),) * (count - 2)
    return Probe(
        f"mount-{count}-lowers",
        f"{count} lower layers",
        "nothing in the format limits them",
        ((file("a", "first"),), *empty, (file("z", "last"),)),
        (gives(ReadFile("a"), "5:first"), gives(ReadFile("z"), "4:last")),
        mounting=Mounting(f"lowerdir={':'.join(names)}{RW}", names),
        of_unions=True,
    )


def mounts_anyway(why: str) -> tuple[Declared, ...]:
    """Ours mounts what should be refused."""
    return (Declared("unionfs*", "mount: works", why),)


def question(
    name: str,
    title: str,
    source: str,
    mounting: Mounting,
    layers: Layers = ONE,
    steps: tuple[Step, ...] = READ_A,
    declared: tuple[Declared, ...] = (),
) -> Probe:
    """A probe about the mount; what is refused can be asked nothing."""
    asked = steps if mounting.right else ()
    return Probe(
        name, title, source, layers, asked, mounting=mounting, of_unions=True, declared=declared
    )


PROBES = (
    question(
        "mount-colon",
        r"lowerdir=l\:c names the directory l:c",
        f"{RST}: colons can be escaped by a backslash",
        Mounting(rf"lowerdir=l\:c{RW}", ("l:c",)),
    ),
    question(
        "mount-comma",
        r"lowerdir=l\,m names the directory l,m",
        "mount options end at a comma that is not escaped",
        Mounting(rf"lowerdir=l\,m{RW}", ("l,m",)),
    ),
    question(
        "mount-backslash",
        r"lowerdir=l\\b names the directory l\b",
        f"{RST}: a backslash escapes",
        Mounting(rf"lowerdir=l\\b{RW}", (r"l\b",)),
    ),
    question(
        "mount-bare-backslash",
        r"lowerdir=l\b does not: the backslash only escapes, so the directory lb is meant",
        f"{RST}: a backslash escapes",
        Mounting(rf"lowerdir=l\b{RW}", (r"l\b",), right=False),
    ),
    question(
        "mount-relative",
        "layers named relative to the current directory",
        "path_resolution(7); containers-storage does so to keep the options short",
        Mounting(f"lowerdir=d/l{RW}", ("d/l",)),
    ),
    question(
        "mount-one-lower",
        "one lower layer without an upper is a read-only view of it",
        "nothing in it is impossible",
        Mounting("lowerdir=l"),
        steps=(*READ_A, fails(Create("n"), "EROFS")),
    ),
    question(
        "mount-two-lowers",
        "two lower layers without an upper are a read-only view",
        f"{RST}, multiple lower layers",
        Mounting("lowerdir=l:m", ("l", "m")),
        TWO,
        (*READ_A, gives(ReadFile("b"), "1:y"), fails(Create("n"), "EROFS")),
    ),
    question(
        "mount-read-only",
        "ro with an upper shows the upper, read-only",
        "mount(8), ro",
        Mounting(f"ro,lowerdir=l{RW}"),
        steps=(*READ_A, fails(Create("n"), "EROFS")),
    ),
    question(
        "mount-without-work",
        "an upper without a work directory is refused",
        f"{RST}: the workdir needs to be an empty directory",
        Mounting("lowerdir=l,upperdir=upper", right=False),
    ),
    question(
        "mount-empty-lower",
        "an empty name at the end of lowerdir is refused",
        "path_resolution(7): an empty pathname is not a directory",
        Mounting(f"lowerdir=l:{RW}", right=False),
        declared=mounts_anyway("as fuse-overlayfs: its callers write empty items"),
    ),
    question(
        "mount-same-lower-twice",
        "one directory as two layers is refused",
        f"{RST}: ELOOP, overlapping layers are undefined",
        Mounting(f"lowerdir=l:l{RW}", right=False),
        declared=mounts_anyway("as fuse-overlayfs: a layer that is only read does no harm twice"),
    ),
    question(
        "mount-unknown-option",
        "an unknown option is refused",
        "mount(2): EINVAL",
        Mounting(f"no_such_option=1,lowerdir=l{RW}", right=False),
        declared=mounts_anyway(
            "as fuse-overlayfs it warns, for podman passes options of the kernel; --strict refuses"
        ),
    ),
    question(
        "mount-work-inside-upper",
        "a work directory inside the upper is refused",
        f"{RST}: upper and work must be separate subtrees",
        Mounting("lowerdir=l,upperdir=upper,workdir=upper/work", right=False),
    ),
    question(
        "mount-missing-lower",
        "a lower directory that does not exist is refused",
        "mount(2): ENOENT",
        Mounting(f"lowerdir=l:missing{RW}", right=False),
    ),
    question(
        "mount-upper-in-use",
        "a second mount with the same upper is refused",
        f"{RST}: may result in undefined behavior",
        Mounting(f"lowerdir=l{RW}", right=False, twice=True),
    ),
    question(
        "mount-stale-work",
        "what a crash left in the work directory is removed",
        f"{RST}: the workdir is prepared for use",
        # The work directory lies next to the upper.
        Mounting(f"lowerdir=l{RW}", work=(directory("work"), file("work/#1", "litter"))),
        steps=(gives(RawUpper("../work/work/#1"), None), *READ_A),
    ),
    numbered(500),
    numbered(501),
    question(
        "mount-redirect-in-lower",
        "a redirect in a layer is followed",
        f"{RST}, redirect_dir; the layer was made by a rename",
        Mounting(f"lowerdir=l:m{RW}", ("l", "m")),
        (
            (directory("new", xattrs={"trusted.overlay.redirect": "old"}), file("new/b", "y")),
            (directory("old"), file("old/a", "x")),
        ),
        (gives(ListDir("new"), ["a file", "b file"]), gives(ReadFile("new/a"), "1:x")),
    ),
    question(
        "mount-data-only-lower",
        "a data-only layer gives content to a metacopy file and no names",
        f"{RST}, data-only lower layers",
        Mounting(f"lowerdir=l::data{RW}", ("l", "data")),
        (
            (
                file(
                    "meta",
                    size=4,
                    xattrs={
                        "trusted.overlay.metacopy": "",
                        "trusted.overlay.redirect": "/blob",
                    },
                ),
            ),
            (file("blob", "data"),),
        ),
        (gives(ReadFile("meta"), "4:data"), gives(ListDir("."), ["meta file"])),
    ),
    question(
        "mount-metacopy-without-data",
        "a metacopy file whose data is nowhere is never read as zeros",
        f"{RST}, metadata only copy up",
        Mounting(f"lowerdir=l:m{RW}", ("l", "m")),
        (
            (file("meta", size=4, xattrs={"trusted.overlay.metacopy": ""}), file("a", "x")),
            (file("b", "y"),),
        ),
        (fails(ReadFile("meta"), "EIO", "EPERM", "ENOENT", "ENODATA"),),
    ),
    question(
        "mount-below-another",
        "kernel overlayfs can have its upper in the mount",
        f"{RST}: an upper needs xattrs, d_type, whiteouts and RENAME_WHITEOUT",
        Mounting(f"lowerdir=l{RW}", stacked=True),
        ((file("a", "x"), file("b", "y"), directory("d"), file("d/old")),),
        (
            does(WriteFile("a", "z", how="append")),
            gives(ReadFile("a"), "2:xz"),
            does(Rename("b", "c")),
            does(RemoveTree("d")),
            does(Mkdir("d")),
            gives(ListDir("."), ["a file", "c file", "d dir"]),
            gives(ListDir("d"), []),
            does(Remount()),
            gives(ReadFile("a"), "2:xz"),
            gives(ListDir("."), ["a file", "c file", "d dir"]),
            gives(ListDir("d"), []),
        ),
    ),
    question(
        "mount-shows-later-writes",
        "what is written lies in the upper as an ordinary file, for tools that read it there",
        f"{RST}: the upper is a normal directory",
        Mounting(f"lowerdir=l{RW}"),
        steps=(
            does(WriteFile("n", "new")),
            has(Stat("n"), size=3),
            has(RawUpper("n"), type="file", size=3),
        ),
    ),
)
