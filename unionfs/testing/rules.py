"""What is not compared, and which differences are expected: two tables, with a reason each.

`NORMALISATIONS` take out of a record what no two mounts can have in common. `QUIRKS` name the
differences that stay when two drivers are both right, or when one of them is wrong in a known way
that ours must not copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unionfs.testing import language as op
from unionfs.testing.crew import Outcome
from unionfs.testing.language import Operation
from unionfs.testing.snapshot import Record, Tree

# Layers and utimens operations use times before this one (2017); "now" comes after it.
RECENT_NS = 1_500_000_000 * 10**9
# Of smaller files the disk may allocate everything at once.
HOLLOW_SIZE = 65_536
PRIVATE_XATTRS = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.")


@dataclass(frozen=True)
class Normalisation:
    """A field of a record that is rewritten before two records are compared."""

    field: str
    why: str
    apply: Callable[[Record], Any]


def drop(record: Record) -> None:
    """Leave the field out."""


def unless_directory(field: str) -> Callable[[Record], Any]:
    """Leave the field out of directories."""
    return lambda record: None if record.get("type") == "dir" else record.get(field)


def coarse_time(record: Record) -> Any:
    """A set time as it is, a time of this run as "now"."""
    return "now" if record["mtime"] > RECENT_NS else record["mtime"]


def public_xattrs(record: Record) -> Any:
    """The xattrs without those of a union's own format."""
    return {n: v for n, v in record["xattrs"].items() if not n.startswith(PRIVATE_XATTRS)}


def listing_agrees(record: Record) -> Any:
    """Whether readdir(3) told the type and the inode number that stat(2) tells."""
    if "type" not in record:
        return record["listed"][0]
    return record["listed"] == [record["type"], record["ino"]]


NORMALISATIONS: tuple[Normalisation, ...] = (
    Normalisation("dev", "each mount has its own", drop),
    Normalisation("ino", "only equality means something: see inode_classes()", drop),
    Normalisation("blocks", "allocation belongs to the disk: see is_hollow()", drop),
    Normalisation(
        "nlink",
        "a union cannot count subdirectories without reading every layer; the kernel says 1 for "
        "merged directories and find(1) takes 1 for unknown",
        unless_directory("nlink"),
    ),
    Normalisation("size", "of a directory: belongs to the disk", unless_directory("size")),
    Normalisation("mtime", "two runs are not at one moment; old times must be kept", coarse_time),
    Normalisation(
        "xattrs",
        "overlay.{origin,impure,uuid,…} are the format, and each mount hides only its own family",
        public_xattrs,
    ),
    Normalisation(
        "listed", "what readdir says is compared with what stat says on the same side",
        listing_agrees,
    ),
)  # fmt: skip


def normalise(record: Record) -> Record:
    """The comparable form of one record."""
    result = dict(record)
    for rule in NORMALISATIONS:
        if rule.field in record:
            result[rule.field] = rule.apply(record)
    return {name: value for name, value in result.items() if value is not None}


def forgets_numbers(traits: frozenset[str]) -> bool:
    """Whether inode numbers of copied-up files mean nothing.

    Kernel overlayfs with userxattr has no file handles to remember the lower inode by: the
    numbers change at a remount, and two names of one copied-up file have two.
    """
    return {"kernel", "userxattr"} <= traits


def normalise_tree(tree: Tree, before: Tree | None = None, *, numbers: bool = True) -> Tree:
    """The comparable form of a tree.

    With the tree of the same mount before a remount (after which nothing waits to be written any
    more), files that are mostly a hole are named. With numbers, hard links become the path of their
    class, and each record says whether its inode number was kept over the remount.
    """
    classes = inode_classes(tree)
    result = {}
    for path, record in tree.items():
        result[path] = normalise(record)
        if before is not None and is_hollow(record):
            result[path]["mostly a hole"] = True
        if not numbers:
            continue
        if record.get("type") not in (None, "dir"):
            result[path]["same inode as"] = classes[path]
        if before is not None and "ino" in before.get(path, {}) and "ino" in record:
            result[path]["inode kept over the remount"] = before[path]["ino"] == record["ino"]
    return result


def is_hollow(record: Record) -> bool:
    """Whether less than half of a big file is allocated: a copy-up must not write out its holes."""
    return bool(
        record.get("type") == "file"
        and record["size"] >= HOLLOW_SIZE
        and record["blocks"] * 512 < record["size"] / 2
    )


def inode_classes(tree: Tree) -> dict[str, str]:
    """For each path, the first path that has the same inode."""
    first: dict[int, str] = {}
    return {path: first.setdefault(tree[path].get("ino", -1), path) for path in sorted(tree)}


def normalise_outcome(outcome: Outcome, numbers: dict[int, int] | None) -> Outcome:
    """The comparable form of an answer.

    numbers, when inode numbers are never used twice here, maps those seen so far on this side to
    their order of appearance: a number that changes at a copy-up shows as a new one.
    """
    result = outcome.get("result")
    if isinstance(result, list):
        return {"result": sorted(result)}  # readdir(3) promises no order
    if not isinstance(result, dict) or "ino" not in result:
        return outcome
    plain = normalise(result)
    if numbers is not None:
        plain["inode"] = numbers.setdefault(result["ino"], len(numbers))
    return {"result": plain}


@dataclass(frozen=True)
class Quirk:
    """A difference that is expected when one side has a trait.

    odd is the outcome of the side with the trait, other that of the side without it. When the
    states part there, parts is true: the case is then run again without that operation.
    """

    name: str
    why: str
    trait: str
    lacking: bool  # the trait is missing on the odd side, instead of present
    operations: tuple[type[Operation], ...]
    matches: Callable[[Operation, Outcome, Outcome], bool]
    parts: bool = True


def answers(*errors: str) -> Callable[[Operation, Outcome, Outcome], bool]:
    """The odd side fails with one of these, named as errno.errorcode does (ENOTSUP: EOPNOTSUPP)."""
    return lambda _operation, odd, _other: odd.get("errno") in errors


def only_field(field: str, odd_value: Any) -> Callable[[Operation, Outcome, Outcome], bool]:
    """Both succeed and differ in one field, which has this value on the odd side."""

    def matches(_operation: Operation, odd: Outcome, other: Outcome) -> bool:
        a, b = odd.get("result"), other.get("result")
        if not (isinstance(a, dict) and isinstance(b, dict)):
            return False
        return a.get(field) == odd_value and {**a, field: 0} == {**b, field: 0}

    return matches


def smaller_field(field: str) -> Callable[[Operation, Outcome, Outcome], bool]:
    """Both succeed and differ in one number, which is smaller on the odd side."""

    def matches(_operation: Operation, odd: Outcome, other: Outcome) -> bool:
        a, b = odd.get("result"), other.get("result")
        if not (isinstance(a, dict) and isinstance(b, dict)):
            return False
        return a.get(field, 0) < b.get(field, 0) and {**a, field: 0} == {**b, field: 0}

    return matches


def anything(_operation: Operation, _odd: Outcome, _other: Outcome) -> bool:
    """Every difference."""
    return True


CHANGES_BY_FD = (op.Fchmod, op.Fchown, op.Futimens, op.Fsetxattr, op.Reopen)

QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        "directory rename",
        "without redirect_dir=on kernel overlayfs and fuse-overlayfs answer EXDEV for a directory "
        "with a lower part; ours renames it",
        "renames-merged-directories", True, (op.Rename,), answers("EXDEV"),
    ),
    Quirk(
        "RENAME_WHITEOUT",
        "kernel overlayfs refuses it; ours needs it to be the upper of another overlay",
        "kernel", False, (op.Rename,), answers("EINVAL"),
    ),
    Quirk(
        "unlinked lower file",
        "kernel overlayfs cannot copy up a lower file whose name is gone: EEXIST or ENOENT; "
        "POSIX has it work",
        "kernel", False, CHANGES_BY_FD, answers("EEXIST", "ENOENT", "ESTALE"),
    ),
    Quirk(
        "link count of an unlinked lower file",
        "kernel overlayfs says 1 where POSIX wants 0",
        "kernel", False, (op.Fstat,), only_field("nlink", 1), parts=False,
    ),
    Quirk(
        "time of a metadata-only copy",
        "when the data follows, kernel overlayfs sets the modification time; opening a file does not",
        "metacopy", False, (op.Stat, op.Fstat), only_field("mtime", "now"), parts=False,
    ),
    Quirk(
        "name of a lower hard link removed",
        "of all unions only kernel overlayfs with index=on remembers that a lower file lost a name",
        "counts-lost-names", False, (op.Stat, op.Fstat), smaller_field("nlink"), parts=False,
    ),
    Quirk(
        "read-only mapping",
        "kernel overlayfs leaves a mapping made before a copy-up on the old data: documented as "
        "non-standard",
        "kernel", False, (op.MapRead,), anything, parts=False,
    ),
    Quirk(
        "no O_TMPFILE",
        "pyfuse3 has no tmpfile handler: EOPNOTSUPP, and callers fall back to a named file",
        "pyfuse3", False, (op.Open,), answers("ENOTSUP"),
    ),
    Quirk(
        "no fallocate",
        "pyfuse3 has no fallocate handler",
        "pyfuse3", False, (op.Fallocate,), answers("ENOTSUP"),
    ),
    Quirk(
        "no SEEK_DATA and SEEK_HOLE",
        "pyfuse3 has no lseek handler: the kernel takes the whole file for data",
        "pyfuse3", False, (op.Seek,), anything, parts=False,
    ),
    Quirk(
        "no inode flags",
        "pyfuse3 has no ioctl handler",
        "pyfuse3", False, (op.GetFlags,), answers("ENOTTY"), parts=False,
    ),
)  # fmt: skip


def find_quirk(
    operation: Operation,
    left: Outcome,
    right: Outcome,
    left_traits: frozenset[str],
    right_traits: frozenset[str],
) -> Quirk | None:
    """The row that explains why these two differ, if there is one."""
    sides = ((left, right, left_traits), (right, left, right_traits))
    for quirk in QUIRKS:
        if not isinstance(operation, quirk.operations):
            continue
        for odd, other, traits in sides:
            if (quirk.trait in traits) != quirk.lacking and quirk.matches(operation, odd, other):
                return quirk
    return None


@dataclass(frozen=True)
class TreeQuirk:
    """A field of a tree's record that may differ when one side has a trait.

    stage is a part of the name of the stage; matches gets the value on the side with the trait and
    the other.
    """

    name: str
    why: str
    trait: str
    stage: str
    field: str
    matches: Callable[[Any, Any], bool]


WHOLE = "the whole record"
"""The field of a `TreeQuirk` about a path that one side lacks."""

SPECIAL = ("fifo", "socket", "char", "block")

TREE_QUIRKS: tuple[TreeQuirk, ...] = (
    TreeQuirk(
        "unlinked lower special file",
        "kernel overlayfs brings it back under its old name when its attributes are changed through "
        "a descriptor; POSIX has it stay gone",
        "kernel", "", WHOLE,
        lambda kernel, other: bool(kernel) and other is None and kernel.get("type") in SPECIAL,
    ),
    TreeQuirk(
        "index entry counted",
        "with index=on the kernel keeps one more name of a copied-up hard link in work/index, which "
        "it takes off the link count; other drivers on that upper count it",
        "index", " on the upper of ", "nlink", lambda indexed, plain: indexed + 1 == plain,
    ),
    TreeQuirk(
        "name of a lower hard link removed",
        "with index=on the kernel remembers that a lower file lost a name; others, the kernel with "
        "index=off among them, go on showing the lower's link count",
        "counts-lost-names", "", "nlink", lambda fewer, more: fewer < more,
    ),
    TreeQuirk(
        "time of a metadata-only copy",
        "when the data follows, kernel overlayfs sets the modification time; opening a file does not",
        "metacopy", "", "mtime", lambda kernel, other: kernel == "now",
    ),
    TreeQuirk(
        "holes of less than 1 MiB",
        "kernel overlayfs copies up in pieces of 1 MiB and leaves out only whole ones",
        "kernel", "after a remount", "mostly a hole", lambda kernel, other: kernel is None,
    ),
)  # fmt: skip


def expected_in_tree(
    stage: str, left: Any, right: Any, left_traits: frozenset[str], right_traits: frozenset[str]
) -> bool:
    """Whether two records, cut down to what differs, differ only as `TREE_QUIRKS` say."""
    if not (isinstance(left, dict) and isinstance(right, dict)):
        left, right = {WHOLE: left}, {WHOLE: right}
    sides = ((left, right, left_traits), (right, left, right_traits))
    return all(
        any(
            quirk.field == name and quirk.stage in stage and quirk.trait in traits
            and quirk.matches(odd[name], other[name])
            for quirk in TREE_QUIRKS
            for odd, other, traits in sides
        )
        for name in left
    )  # fmt: skip
