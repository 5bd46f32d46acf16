"""The mount options: one table, from which come parsing, rendering and the manuals.

`OPTIONS` is the only place where an option is described. `MountOptions` holds what it sets,
`parse_options` reads ``-o`` arguments, `render_options` writes them, and ``manual`` turns the table
into the man page and the README's table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, NamedTuple

from unionfs import optionkinds as kinds
from unionfs.errors import UnionError, printable
from unionfs.faults import Rule
from unionfs.optionkinds import IdRange
from unionfs.optstring import escape, split_escaped, split_options, unescape

RedirectDir = Literal["off", "follow", "nofollow", "on"]
Xino = Literal["off", "auto", "on"]
Fsync = Literal["auto", "strict", "volatile"]
Passthrough = Literal["upper", "all", "off"]

FOREVER = 1e9
"""Seconds for which the kernel may trust an answer when only this mount changes what it shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """Everything a mount is told. None means "the default for this user and these layers".

    Paths are bytes, and absolute when they come from `parse_options`.
    """

    mountpoint: bytes
    lowers: tuple[bytes, ...] = ()
    """Read-only layers, the top one first."""
    data_lowers: tuple[bytes, ...] = ()
    """Layers that only hold the data of metacopy files; their names are not shown."""
    upper: bytes | None = None
    work: bytes | None = None
    read_only: bool = False
    userxattr: bool = False
    aufs: bool = True
    redirect_dir: RedirectDir | None = None
    metacopy: bool | None = None
    index: bool | None = None
    xino: Xino = "auto"
    uid_mapping: tuple[IdRange, ...] = ()
    gid_mapping: tuple[IdRange, ...] = ()
    squash_to_root: bool = False
    squash_to_uid: int | None = None
    squash_to_gid: int | None = None
    xattr_permissions: Literal[0, 1, 2] = 0
    acl: bool = True
    static_nlink: bool = False
    volatile: bool = False
    fsync: Fsync = "auto"
    timeout: float = FOREVER
    writeback: bool = True
    passthrough: Passthrough = "upper"
    awake: bool = False
    noatime: bool = False
    allow_other: bool | None = None
    allow_root: bool = False
    suid: bool | None = None
    dev: bool | None = None
    exec: bool | None = None
    fsname: bytes | None = None
    context: str | None = None
    stats: bool = False
    trace: bytes | None = None
    faults: tuple[Rule, ...] = ()


# --- the table ---


class Option(NamedTuple):
    """One row: what people type, what it sets, and what it means."""

    section: str
    name: str
    field: str
    """The field of `MountOptions` that it sets; several options may set one."""
    kind: kinds.Kind
    default: str
    """The default as people read it; the real one stands in `MountOptions`."""
    help: str
    kernel: bool = False
    """Whether it is set on the FUSE mount itself, so that /proc/mounts shows it."""
    idle: str = ""
    """The beginning of what is read but not acted on yet: the program and the manual say so."""


_LAYERS, _FORMAT, _OWNERS = "Layers", "On-disk format", "Owners and permissions"
_SPEED, _MOUNT, _DEBUG = "Durability and speed", "The mount", "Finding faults"

OPTIONS: tuple[Option, ...] = (
    Option(
        _LAYERS, "lowerdir", "lowers", kinds.Stack(), "required",
        "Read-only layers, the top one first. After ::, layers that only hold data for metacopy "
        "files. Relative paths count from the current directory.",
    ),
    Option(
        _LAYERS, "lowerdir+", "lowers", kinds.Append(), "none",
        "Adds one layer below those given so far; a colon needs no escape in it.",
    ),
    Option(
        _LAYERS, "datadir+", "data_lowers", kinds.Append(), "none",
        "Adds one data-only layer below those given so far.",
    ),
    Option(
        _LAYERS, "upperdir", "upper", kinds.path(), "none: read-only",
        "The layer that takes every change. Any file system with extended attributes will do.",
    ),
    Option(
        _LAYERS, "workdir", "work", kinds.path(), "required with upperdir",
        "Scratch space on the same mount as upperdir, outside it. Nothing of value lies in it.",
    ),
    Option(
        _LAYERS, "ro", "read_only", kinds.Flag("rw"), "rw with an upperdir",
        "Refuse every change, even with an upperdir.", kernel=True,
    ),
    Option(
        _FORMAT, "userxattr", "userxattr", kinds.Flag(), "off",
        "Write user.overlay.* instead of trusted.overlay.* attributes, as kernel overlayfs does in "
        "a user namespace. Without privilege this is what happens anyway.",
    ),
    Option(
        _FORMAT, "redirect_dir", "redirect_dir", kinds.choice("off", "follow", "nofollow", "on"),
        "on as root; else copy",
        "Renaming a directory that has a lower part: on writes a redirect that kernel overlayfs "
        "follows; off and follow answer EXDEV, so that mv(1) copies; nofollow also ignores the "
        "redirects that layers hold. Where the kernel would not follow a redirect, the default "
        "is to copy the directory up and rename the copy.",
    ),
    Option(
        _FORMAT, "metacopy", "metacopy", kinds.switch("off", "on"), "on",
        "Read files whose data lies in a lower layer (metacopy). off answers EPERM for them, as "
        "the kernel does. They are never written.",
    ),
    Option(
        _FORMAT, "index", "index", kinds.switch("off", "on"), "off",
        "Accepted for kernel overlayfs' sake: hard links of a lower file stay one file while "
        "mounted, either way.",
    ),
    Option(
        _FORMAT, "xino", "xino", kinds.choice("off", "auto", "on"), "auto",
        "Accepted for kernel overlayfs' sake: inode numbers are unique over all layers either way.",
    ),
    Option(
        _FORMAT, "aufs", "aufs", kinds.switch("off", "on"), "on",
        "Read .wh.NAME files in layers as deletions, as image layers write them. off shows them as "
        "ordinary files.",
    ),
    Option(
        _OWNERS, "uidmapping", "uid_mapping", kinds.id_ranges(), "none",
        "Show users ONDISK and up as SHOWN and up, and store them in reverse.",
    ),
    Option(
        _OWNERS, "gidmapping", "gid_mapping", kinds.id_ranges(), "none",
        "The same for groups.",
    ),
    Option(
        _OWNERS, "squash_to_root", "squash_to_root", kinds.Flag(), "off",
        "Show everything as owned by 0:0.",
    ),
    Option(
        _OWNERS, "squash_to_uid", "squash_to_uid", kinds.integer("UID", 0, kinds.MAX_ID), "none",
        "Show everything as owned by this user.",
    ),
    Option(
        _OWNERS, "squash_to_gid", "squash_to_gid", kinds.integer("GID", 0, kinds.MAX_ID), "none",
        "Show everything as owned by this group.",
    ),
    Option(
        _OWNERS, "xattr_permissions", "xattr_permissions", kinds.integer("0|1|2", 0, 2), "0",
        "Keep owner and mode in an extended attribute instead of the inode: 1 in "
        "security.fuseoverlayfs, 2 in user.containers.override_stat.", idle="xattr_permissions=",
    ),
    Option(
        _OWNERS, "acl", "acl", kinds.Flag("noacl"), "acl",
        "Honour and copy up POSIX ACLs.",
    ),
    Option(
        _OWNERS, "allow_other", "allow_other", kinds.Flag("noallow_other"), "on as root",
        "Let every user in; file modes then decide. Without privilege this needs "
        "user_allow_other in /etc/fuse.conf.", kernel=True,
    ),
    Option(
        _OWNERS, "allow_root", "allow_root", kinds.Flag(), "off",
        "Let only the mounting user and root in.", kernel=True,
    ),
    Option(
        _SPEED, "volatile", "volatile", kinds.Flag(), "off",
        "Sync nothing, and mark the workdir so that no later mount trusts the upper after a crash.",
    ),
    Option(
        _SPEED, "fsync", "fsync",
        kinds.choice("auto", "strict", "volatile", aliases={"0": "volatile", "1": "auto"}), "auto",
        "auto passes fsync(2) on and syncs the data of a copy-up before it shows; strict also syncs "
        "the metadata and directories of a copy-up; volatile (or 0) answers at once and syncs "
        "nothing.",
    ),
    Option(
        _SPEED, "timeout", "timeout", kinds.seconds(), "1e9",
        "How long the kernel may keep names and attributes. Lower it only if layers change "
        "underneath the mount.",
    ),
    Option(
        _SPEED, "writeback", "writeback", kinds.switch("0", "1"), "1",
        "Let the kernel gather small writes before passing them on. Not with passthrough, which "
        "needs no gathering.",
    ),
    Option(
        _SPEED, "passthrough", "passthrough", kinds.choice("upper", "all", "off"), "upper",
        "Which files the kernel (6.9 or later, for root, without noatime) reads and writes by "
        "itself once they are open: those in the upper (or, of a read-only mount, in the layers), "
        "all of them, or none. With all, a lower file above 128 KiB that was opened for reading "
        "before its copy-up keeps showing the lower data.",
    ),
    Option(
        _SPEED, "awake", "awake", kinds.Flag(), "off",
        "While requests come, keep idle processors from falling asleep, so that callers wake up at "
        "once (PM QoS; for root). Costs power, and pays where waking is slow, as in virtual machines.",
    ),
    Option(
        _SPEED, "static_nlink", "static_nlink", kinds.Flag(), "off",
        "Say 1 for the link count of every directory, which spares counting on slow file systems.",
    ),
    Option(
        _SPEED, "noatime", "noatime", kinds.Flag("atime"), "atime",
        "Do not update access times in the upper. Those in lower layers never change.", kernel=True,
    ),
    Option(
        _MOUNT, "suid", "suid", kinds.Flag("nosuid"), "suid as root",
        "Honour setuid and setgid bits and file capabilities.", kernel=True,
    ),
    Option(
        _MOUNT, "dev", "dev", kinds.Flag("nodev"), "dev as root",
        "Let device nodes be opened.", kernel=True,
    ),
    Option(
        _MOUNT, "exec", "exec", kinds.Flag("noexec"), "exec",
        "Let programs be run.", kernel=True,
    ),
    Option(
        _MOUNT, "fsname", "fsname", kinds.Value("NAME", kinds.non_empty, bytes),
        "SOURCE, else the top layer",
        "What the first column of /proc/mounts shows.", kernel=True,
    ),
    Option(
        _MOUNT, "context", "context", kinds.label(), "none",
        "The SELinux label of every file; commas need no escape within the quotes.", kernel=True,
    ),
    Option(
        _DEBUG, "stats", "stats", kinds.Flag(), "off",
        "Count and time requests; the table is printed at unmount and on SIGUSR1 (in the "
        "foreground to stderr, else to the system log).",
    ),
    Option(
        _DEBUG, "trace", "trace", kinds.file(), "none",
        "Record each request and its answer in this file as JSON lines, for unionfs-lab replay; up "
        "to 256 MiB. Names and what is written are in it; unionfs-lab replay --anonymise hides them.",
    ),
    Option(
        _DEBUG, "faults", "faults", kinds.fault_rules(), "none",
        "Make chosen calls on upperdir and workdir fail, for tests. Rules are KIND:WHICH:ACTION, "
        "joined by +. KIND names a call (open, mkdir, mknod, symlink, link, rename, unlink, rmdir, "
        "chmod, chown, utime, setxattr, removexattr, truncate, write, copy, fsync) or is * for any; "
        "WHICH counts them from the first request, or is * for each; ACTION is the name of an "
        "errno, delay=50ms (or us, or s), kill-before or kill-after. "
        "Example: renameat2:3:EIO+fsync:1:kill-before+write:*:delay=50ms.",
    ),
)  # fmt: skip

# Words of fstab and mount(8) that are not for a file system, words that say what is done anyway,
# and words of fuse-overlayfs that tune a thing which does not exist here (semantics.md 4.1, 4.3).
NOISE = frozenset(
    b"defaults auto noauto user nouser users nousers group nogroup owner noowner nofail _netdev "
    b"_rnetdev async sync dirsync lazytime nolazytime relatime norelatime strictatime "
    b"nostrictatime diratime nodiratime silent loud iversion noiversion mand nomand "
    b"default_permissions kernel_cache splice_read splice_write splice_move fast_ino threaded "
    b"max_write max_read big_writes nonempty subtype comment"
    .split()
)  # fmt: skip
_NOISE_PREFIXES = (b"x-", b"X-")


def _words() -> dict[bytes, tuple[Option, bool]]:
    """Return every bare word, with its option and what it sets it to."""
    words = {}
    for option in OPTIONS:
        if isinstance(option.kind, kinds.Flag):
            words[option.name.encode()] = (option, True)
            if option.kind.opposite:
                words[option.kind.opposite.encode()] = (option, False)
    return words


_WORDS = _words()
_VALUED = {
    option.name.encode(): option for option in OPTIONS if not isinstance(option.kind, kinds.Flag)
}
_DEFAULTS = {
    field.name: field.default for field in fields(MountOptions) if field.default is not MISSING
}


# --- parsing ---


def parse_options(
    groups: Iterable[str | bytes],
    *,
    mountpoint: str | bytes = b"",
    source: str | bytes | None = None,
    cwd: bytes | None = None,
    strict: bool = False,
    warn: Callable[[str], None] = lambda message: None,
) -> MountOptions:
    """Read the arguments of several ``-o``; a later option replaces an earlier one.

    Args:
        source: the word before the mountpoint on the command line; names the mount.
        cwd: what relative paths count from; the current directory when None.
        strict: make an unknown option an error; otherwise *warn* is called with one line.

    Raises:
        UnionError: a value is malformed, options contradict each other, or there is no lower layer.
    """
    found: dict[str, Any] = {}
    for group in groups:
        for name, raw in split_options(os.fsencode(group)):
            if not _read_option(found, name, raw):
                _unknown(printable(_whole(name, raw)), strict, warn)
    found["mountpoint"] = os.fsencode(mountpoint)
    _make_absolute(found, cwd)
    _settle(found, os.fsencode(source) if source else None)
    return MountOptions(**found)


def _unknown(shown: str, strict: bool, warn: Callable[[str], None]) -> None:
    if strict:
        raise UnionError(f"unknown option: {shown}; correct it, or leave out --strict to ignore it")
    warn(f"unknown option ignored: {shown}")


def _read_option(found: dict[str, Any], name: bytes, raw: bytes | None) -> bool:
    """Note what an option sets; returns False when nobody knows it."""
    option = _VALUED.get(name)
    if option is not None:
        if raw is None:
            syntax = option.kind.syntax(option.name)
            raise UnionError(f"option {option.name} needs a value: {syntax}")
        _read_value(found, option, raw)
        return True
    if name in _WORDS:
        option, value = _WORDS[name]
        found[option.field] = value if raw is None else value is _read_bool(option, raw)
        return True
    return name in NOISE or name.startswith(_NOISE_PREFIXES)


def _whole(name: bytes, raw: bytes | None) -> bytes:
    return name if raw is None else name + b"=" + raw


def _read_bool(option: Option, raw: bytes) -> bool:
    """Read the value of a bare word that was given one: ``volatile=1``."""
    try:
        return bool(kinds.switch("0", "1").read(raw))
    except ValueError as error:
        raise UnionError(f"option {option.name}={printable(raw)}: expected {error}") from None


def _read_value(found: dict[str, Any], option: Option, raw: bytes) -> None:
    if isinstance(option.kind, kinds.Stack):
        found["lowers"], found["data_lowers"] = _read_stack(raw)
    elif isinstance(option.kind, kinds.Append):
        if raw:
            found[option.field] = (*found.get(option.field, ()), unescape(raw))
    elif isinstance(option.kind, kinds.Value):
        try:
            found[option.field] = option.kind.read(unescape(raw))
        except ValueError as error:
            shown = printable(_whole(option.name.encode(), raw))
            raise UnionError(f"option {shown}: expected {error}") from None


def _read_stack(raw: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Read ``A:B::DATA::DATA``: an empty item announces that the next one is a data-only layer.

    One colon too many at either end means nothing, as for fuse-overlayfs: tools leave it there.
    """
    items = [unescape(item) for item in split_escaped(raw, b":")]
    if not items[0]:
        del items[0]
    if items and not items[-1]:
        del items[-1]
    lowers: list[bytes] = []
    data: list[bytes] = []
    after_empty = False
    for path in items:
        if path:
            _place(path, lowers, data, after_empty)
        elif after_empty or not lowers:
            raise _stray_colons(raw)
        after_empty = not path
    if after_empty:
        raise _stray_colons(raw)
    return tuple(lowers), tuple(data)


def _stray_colons(raw: bytes) -> UnionError:
    return UnionError(
        f"lowerdir: :: in {printable(raw)} is not between a layer and the data-only layer below it"
    )


def _place(path: bytes, lowers: list[bytes], data: list[bytes], after_empty: bool) -> None:
    if after_empty:
        data.append(path)
    elif data:
        raise UnionError(
            f"lowerdir: {printable(path)} follows the data-only layer {printable(data[-1])} after "
            "one colon; write :: before each data-only layer, and put the others first"
        )
    else:
        lowers.append(path)


def _settle(found: dict[str, Any], source: bytes | None) -> None:
    """Apply what options mean together, and refuse those that contradict each other."""
    if not found.get("lowers"):
        raise UnionError("no lower layer; give at least one: -o lowerdir=DIR[:DIR...]")
    if found.get("upper") is None:
        # Kernel overlayfs, too, ignores a workdir that nothing would use.
        found.update(read_only=True, work=None)
    if found.get("allow_root") and found.get("allow_other"):
        raise UnionError("allow_root and allow_other contradict each other; give one of them")
    if found.get("volatile"):
        if found.get("fsync") == "strict":
            raise UnionError("volatile and fsync=strict contradict each other; give one of them")
        found["fsync"] = "volatile"
    if "fsname" not in found:
        found["fsname"] = _mount_source(found, source)


def _mount_source(found: dict[str, Any], source: bytes | None) -> bytes:
    """Name the mount so that /proc/mounts tells it from others: by its source or its top layer."""
    if source and source != b"none":
        return source
    top: bytes = found.get("upper") or found["lowers"][0]
    return b"unionfs:" + top


def _make_absolute(found: dict[str, Any], cwd: bytes | None) -> None:
    """Resolve paths now: the daemon leaves the directory they count from.

    They are joined and not normalised, since ``..`` after a symlink is not the text before it.
    """
    for name in ("upper", "work", "trace", "mountpoint"):
        if found.get(name):
            found[name] = _absolute(found[name], cwd)
    for name in ("lowers", "data_lowers"):
        found[name] = tuple(_absolute(path, cwd) for path in found.get(name, ()))


def _absolute(path: bytes, cwd: bytes | None) -> bytes:
    if path.startswith(b"/"):
        return path
    return os.path.join(os.getcwdb() if cwd is None else cwd, path)


# --- rendering ---


def render_options(options: MountOptions) -> bytes:
    """Write *options* as one ``-o`` argument that `parse_options` reads back as the same.

    The mountpoint is not part of it. Defaults are left out.
    """
    return b",".join(word for _, word in _written(options))


def libfuse_options(options: MountOptions) -> set[str]:
    """Return those of *options* that are set on the mount itself, as libfuse reads them.

    libfuse splits at commas and removes one level of escapes, as `parse_options` does. What is not
    asked for is left to libfuse and fusermount3, which know what an unprivileged user may do.
    """
    words = {
        os.fsdecode(word)
        for option, word in _written(options)
        if option.kernel and word != b"noallow_other" and option.name != "context"
    }
    if options.context is not None:
        # The kernel splits at commas once more, except within quotes.
        words.add(os.fsdecode(b'context="%b"' % escape(options.context.encode(), (b",",))))
    return words


def idle_options(options: MountOptions) -> list[str]:
    """Return those of *options* that this version reads but does not act on."""
    return [
        printable(word)
        for option, word in _written(options)
        if option.idle and word.startswith(option.idle.encode())
    ]


def _written(options: MountOptions) -> Iterator[tuple[Option, bytes]]:
    for option in OPTIONS:
        value = getattr(options, option.field)
        if value != _DEFAULTS[option.field] and option.name != "lowerdir+":
            for word in option.kind.write(option.name, value):
                yield option, word


def main(arguments: list[str]) -> int:
    """Print the manual in one of its forms: ``python -m unionfs.options --man | --markdown``."""
    from unionfs import manual

    forms = {"--man": manual.man_page, "--markdown": manual.markdown_table}
    if len(arguments) != 1 or arguments[0] not in forms:
        raise SystemExit("usage: python -m unionfs.options --man | --markdown")
    print(forms[arguments[0]](), end="")
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
