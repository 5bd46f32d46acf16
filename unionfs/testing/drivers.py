"""Who is compared: each way to mount a stack of layers, and whether it is possible here.

A driver is named ``NAME[@userns][:OPTION,OPTION…]``: where it lives and what it is mounted with
are part of the name, so ``kernel@userns`` is kernel overlayfs in a user namespace and
``unionfs:redirect_dir=off`` is ours with one option. ``cmd:PROGRAM WORDS`` is any program that is
called like fuse-overlayfs: ``PROGRAM WORDS -o lowerdir=…,upperdir=…,workdir=… MOUNTPOINT``.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from unionfs.errors import UnionError
from unionfs.testing.place import Place


@dataclass(frozen=True)
class Stack:
    """The directories of one mount; lowers are top first. without an upper it is read-only."""

    lowers: tuple[str, ...]
    upper: str | None
    work: str | None
    mountpoint: str

    def options(self, extra: Sequence[str] = ()) -> str:
        """In the grammar that kernel overlayfs, fuse-overlayfs and ours share."""
        parts = [f"lowerdir={':'.join(self.lowers)}"]
        if self.upper is not None:
            parts += [f"upperdir={self.upper}", f"workdir={self.work}"]
        return ",".join([*parts, *extra])


Mount = Callable[[Place, Stack, Sequence[str]], None]


def mount_kernel(place: Place, stack: Stack, options: Sequence[str]) -> None:
    """mount(2); a user namespace can only write user.overlay.*."""
    extra = ["userxattr", *options] if place.name == "userns" else options
    place.call("mount_kernel", options=stack.options(extra), mountpoint=stack.mountpoint)


def mount_union(place: Place, stack: Stack, options: Sequence[str]) -> None:
    """Our program."""
    arguments = ["-o", stack.options(options), stack.mountpoint]
    place.call("mount_union", arguments=arguments, mountpoint=stack.mountpoint)


def mount_fuse_overlayfs(place: Place, stack: Stack, options: Sequence[str]) -> None:
    """fuse-overlayfs."""
    mount_command(("fuse-overlayfs",), place, stack, options)


def mount_unionfs_fuse(place: Place, stack: Stack, options: Sequence[str]) -> None:
    """unionfs-fuse, which takes its branches as a word of its own and needs cow to be a union."""
    branches = [f"{lower}=RO" for lower in stack.lowers]
    if stack.upper is not None:
        branches.insert(0, f"{stack.upper}=RW")
    extra = ",".join(["cow", "allow_other", "default_permissions", "suid", "dev", *options])
    argv = ["unionfs-fuse", "-o", extra, ":".join(branches), stack.mountpoint]
    place.call("mount_program", argv=argv, mountpoint=stack.mountpoint)


def mount_command(
    command: Sequence[str], place: Place, stack: Stack, options: Sequence[str]
) -> None:
    """A program with fuse-overlayfs's command line."""
    argv = [*command, "-o", stack.options(options), stack.mountpoint]
    place.call("mount_program", argv=argv, mountpoint=stack.mountpoint)


@dataclass(frozen=True)
class Driver:
    """One way to mount.

    mount is None for a plain directory, in which the layers are merged by copying: the reference
    for POSIX. traits name what `rules` and the generator must know about it.
    """

    name: str
    family: str
    mount: Mount | None
    place: str = "host"
    options: tuple[str, ...] = ()
    traits: frozenset[str] = field(default_factory=frozenset)
    program: str = ""

    def missing(self) -> str | None:
        """Why it cannot be used here, or None; what to do is part of the reason."""
        if os.geteuid() != 0:
            return "the lab needs root: mounts, owners and devices are made; run it with sudo"
        if self.program and shutil.which(self.program) is None:
            return f"{self.program} is not installed"
        if self.family == "kernel":
            return missing_overlayfs()
        if self.mount is not None:
            return missing_fuse(self.place)
        return None


def missing_overlayfs() -> str | None:
    """Why kernel overlayfs cannot be used."""
    with open("/proc/filesystems", encoding="ascii") as table:
        if any(line.split()[-1] == "overlay" for line in table):
            return None
    return "this kernel has no overlayfs; try: modprobe overlay"


def missing_fuse(place: str) -> str | None:
    """Why FUSE cannot be used."""
    if not os.path.exists("/dev/fuse"):
        return "/dev/fuse is missing; try: modprobe fuse"
    if place == "userns" and os.stat("/dev/fuse").st_mode & 0o006 != 0o006:
        return "users may not open /dev/fuse; as udev does it: chmod 666 /dev/fuse"
    return None


FAMILIES: dict[str, tuple[Mount | None, str, frozenset[str]]] = {
    "kernel": (mount_kernel, "", frozenset({"overlay-format", "kernel"})),
    "unionfs": (mount_union, "", frozenset({"overlay-format", "ours", "pyfuse3"})),
    "fuse-overlayfs": (
        mount_fuse_overlayfs, "fuse-overlayfs", frozenset({"overlay-format", "fuse-overlayfs"})
    ),
    "unionfs-fuse": (mount_unionfs_fuse, "unionfs-fuse", frozenset({"unionfs-fuse"})),
    "directory": (None, "", frozenset({"directory"})),
}  # fmt: skip

ALL_ON = "redirect_dir=on,index=on,metacopy=on,xino=on"
# What the lab compares when it is asked for everything.
PRESETS: tuple[str, ...] = (
    "directory",
    "kernel",
    f"kernel:{ALL_ON}",
    "kernel@userns",
    "unionfs",
    "unionfs:redirect_dir=off",
    "unionfs:writeback=0",
    "unionfs:userxattr",
    "unionfs@userns",
    "fuse-overlayfs",
    "fuse-overlayfs@userns",
    "unionfs-fuse",
)


def find_driver(name: str) -> Driver:
    """The driver of that name; UnionError says why there is none or why it cannot run here."""
    driver = parse_driver(name)
    reason = driver.missing()
    if reason is not None:
        raise UnionError(f"driver {name}: {reason}")
    return driver


def parse_driver(name: str) -> Driver:
    """The driver of that name, whether or not it can run here."""
    if name.startswith("cmd:"):
        return command_driver(name)
    head, _, options = name.partition(":")
    family, _, place = head.partition("@")
    if family not in FAMILIES or place not in ("", "userns"):
        raise UnionError(
            f"unknown driver {name!r}; known are {', '.join(FAMILIES)}, each with @userns and "
            ":OPTIONS, and cmd:PROGRAM"
        )
    mount, program, traits = FAMILIES[family]
    chosen = tuple(option for option in options.split(",") if option)
    where = place or "host"
    return Driver(
        name, family, mount, where, chosen, traits | option_traits(family, where, chosen), program
    )


def command_driver(name: str) -> Driver:
    """A user's program."""
    words = shlex.split(name.removeprefix("cmd:"))
    if not words:
        raise UnionError("cmd: needs a program, as in --right 'cmd:./my-union --flag'")

    def mount(place: Place, stack: Stack, options: Sequence[str]) -> None:
        mount_command(words, place, stack, options)

    traits = frozenset({"overlay-format", "command"})
    return Driver(name, "command", mount, "host", (), traits, words[0])


def option_traits(family: str, place: str, options: Sequence[str]) -> frozenset[str]:
    """What options change about which differences are expected."""
    traits = set()
    redirects = "redirect_dir=on" in options or (
        family == "unionfs" and "redirect_dir=off" not in options
    )
    if family == "directory" or (redirects and not (family == "kernel" and place == "userns")):
        traits.add("renames-merged-directories")
    # A directory has none that are lower: what it does when one is removed, no union can do.
    if "index=on" in options or family == "unionfs":
        traits.add("coherent-hardlinks")
    if "index=on" in options and family == "kernel":
        traits |= {"index", "counts-lost-names"}
    if family == "directory":
        traits.add("counts-lost-names")
    if "metacopy=on" in options and family == "kernel":
        traits.add("metacopy")
    if place == "userns" or "userxattr" in options:
        traits.add("userxattr")
    return frozenset(traits)


def compatible(left: Driver, right: Driver) -> bool:
    """Whether each can mount what the other wrote: the same format, ids and xattr family."""
    shared = left.traits & right.traits
    return (
        "overlay-format" in shared
        and left.place == right.place
        and ("userxattr" in left.traits) == ("userxattr" in right.traits)
    )
