"""A case as a POSIX shell script: what can be pasted into a bug report and read by anybody.

The shell has words for what is done by path. Descriptors, mappings, directory streams and running
programs it has not in the same sense: a case with those is printed as Python (see `script`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence

from unionfs.errors import UnionError
from unionfs.testing import language as op
from unionfs.testing.compare import Case, Difference
from unionfs.testing.drivers import Driver
from unionfs.testing.language import ACTORS, Operation
from unionfs.testing.layers import Entry
from unionfs.testing.script import command

# mkdir -m and touch set the mode in a second call; mv looks at the target and copies when it must.
# Perl and Python make the one call that is meant.
SETUP = r"""
BASE=$(mktemp -d /dev/shm/unionfs-lab-XXXXXX)

create() { perl -MFcntl -e 'sysopen(F, shift, O_WRONLY|O_CREAT|O_EXCL, oct shift) or die "$!\n"' "$@"; }
make_dir() { perl -e 'mkdir(shift, oct shift) or die "$!\n"' "$@"; }
renameat2() {
    python3 -c 'import ctypes, os, sys
libc, (old, new, flags) = ctypes.CDLL(None, use_errno=True), map(os.fsencode, sys.argv[1:])
sys.exit(libc.renameat2(-100, old, -100, new, int(flags)) and os.strerror(ctypes.get_errno()))' "$@"
}
say() { printf '%s\n' "$1"; }
repeat() { n=0; while [ $n -lt "$2" ]; do printf "$1"; n=$((n + 1)); done; }

side() {
    upper=$BASE/$1/upper work=$BASE/$1/work mountpoint=$BASE/$1/mnt
    mkdir -p "$upper" "$work" "$mountpoint"
    options=lowerdir=$lowers,upperdir=$upper,workdir=$work
    branches=$upper=RW:$(echo "$lowers" | sed 's/:/=RO:/g')=RO
    echo "== $1"
}

enter() { mount_it && cd "$mountpoint"; }
leave() { cd / && umount "$mountpoint"; }
show() { find . -mindepth 1 -printf '    %M %n %U %G %s %p %l\n' | sort -k 6; }
""".strip()

RENAME_FLAGS = {"noreplace": 1, "exchange": 2, "whiteout": 4}
TEST_FLAGS = {"exists": "-e", "read": "-r", "write": "-w", "execute": "-x"}
NODE_TYPES = {"fifo": "p", "char": "c", "block": "b"}
DD = {"truncate": "", "append": " conv=notrunc oflag=append", "inside": " conv=notrunc"}


def shell_script(
    case: Case, drivers: Sequence[Driver], differences: Iterable[Difference] = ()
) -> str:
    """The script; differences go to its head as comments. UnionError when the shell has no words."""
    steps = [line for operation in case.operations for line in step(operation)]
    names = " and ".join(driver.name for driver in drivers)
    lines = ["#!/bin/sh", f"# {names}: run as root, sh THIS_FILE"]
    if any(driver.place == "userns" for driver in drivers):
        lines.append(
            "# For @userns: unshare --user --map-root-user --map-auto --mount sh THIS_FILE"
        )
    for difference in differences:
        lines += [f"#   {line}" for line in str(difference).splitlines()]
    lines += [
        SETUP,
        "",
        *layer_lines(case),
        "",
        "operations() {",
        *indented(steps),
        "    show",
        "}",
    ]
    for driver in drivers:
        lines += ["", f"side {quote(driver.name.replace('/', '-'))}"]
        lines += [f"mount_it() {{ {mount_line(driver)}; }}", "enter && operations && leave"]
    return "\n".join([*lines, "", 'echo "The layers and uppers are in $BASE."']) + "\n"


def indented(lines: Iterable[str]) -> list[str]:
    """One level deeper."""
    return [f"    {line}" for line in lines]


def quote(text: str) -> str:
    """One word of the shell."""
    return shlex.quote(text)


def quote_gently(text: str) -> str:
    """One word, in double quotes when nothing in it is special there: easier to read."""
    return quote(text) if set(text) & set('"$`\\\n') else f'"{text}"'


def path(text: str) -> str:
    """A path as a word that no program takes for an option."""
    return quote(text if text.startswith("/") else f"./{text}")


def escaped(text: str) -> str:
    """Text as a word for the format of printf(1): only what it would touch is written in octal."""
    made = re.sub(r"[^ !#$&(-\[\]-~]|%|'", lambda match: f"\\{ord(match[0]):03o}", text)
    return quote(made)


def mount_line(driver: Driver) -> str:
    """The command that mounts, with shell variables in place of its blanks."""
    blanks = {f"{{{name}}}": f'"${name}"' for name in ("options", "branches", "mountpoint")}
    words = []
    for word in command(driver):
        parts = re.split(r"(\{\w+\})", word)
        words.append("".join(blanks.get(part) or (quote(part) if part else "") for part in parts))
    return " ".join(words)


def layer_lines(case: Case) -> list[str]:
    """Commands that make the layers; the variable lowers names them."""
    lines = []
    for number, layer in enumerate(case.layers):
        lines.append(f'mkdir "$BASE/lower{number}" && cd "$BASE/lower{number}" || exit')
        lines += [line for entry in layer for line in entry_lines(entry)]
    roots = ":".join(f"$BASE/lower{number}" for number in range(len(case.layers)))
    return [*lines, f'lowers="{roots}"']


def entry_lines(entry: Entry) -> list[str]:
    """Commands that make one entry in the current directory."""
    here = path(entry.path)
    major, minor = entry.rdev
    match entry.kind:
        case "hardlink":
            return [f"link {path(entry.target)} {here}"]
        case "symlink":
            return [f"ln -s {quote(entry.target)} {here}"]
        case "whiteout":
            return [f"mknod {here} c 0 0"]
        case "dir":
            lines = [f"mkdir {here}"]
        case "file":
            lines = [f"repeat {escaped(entry.text)} {entry.times} > {here}"]
            lines += [] if entry.size is None else [f"truncate -s {entry.size} {here}"]
        case "fifo":
            lines = [f"mkfifo {here}"]
        case "char" | "block":
            lines = [f"mknod {here} {NODE_TYPES[entry.kind]} {major} {minor}"]
        case "socket":
            lines = [socket_line(here)]
    lines += [f"chown {entry.uid}:{entry.gid} {here}"] * bool(entry.uid or entry.gid)
    lines.append(f"chmod {0o644 if entry.mode is None else entry.mode:o} {here}")
    lines += [f"setfattr -n {n} -v {quote(v)} {here}" for n, v in entry.xattrs.items()]
    if entry.opaque:
        lines.append(f"setfattr -n trusted.overlay.opaque -v y {here}")
    return lines


def socket_line(here: str) -> str:
    """The shell has no word for a socket."""
    return f"python3 -c 'import os, sys; os.mknod(sys.argv[1], 0o140644)' {here}"


def step(operation: Operation) -> list[str]:
    """One operation: its name, the command, and the status it ends with."""
    match operation:
        case op.Remount():
            return ["leave", "enter"]
        case op.Umask(mask=mask):
            if operation.who:
                raise no_words(operation)
            return [f"umask {mask:04o}"]
        case op.RawUpper(path=name):
            return [f'stat "$upper"/{quote(name)}']
        case op.RawLower(path=name, layer=layer):
            return [f'stat "$BASE/lower{layer}"/{quote(name)}']
    if type(operation) not in WORDS:
        raise no_words(operation)
    line = WORDS[type(operation)](operation)
    identity = ACTORS[operation.who]
    if identity.uid:
        user = f"setpriv --reuid {identity.uid} --regid {identity.gid} --clear-groups "
        # A function is not a program: such a line is given to a shell of that user.
        line = f"{user} sh -c {quote(f'{functions(line)}{line}')}"
    return [f"say {quote_gently(str(operation))}", f'{line}; echo "    status $?"']


def functions(line: str) -> str:
    """The definitions of SETUP that a line uses, for another shell."""
    found = re.findall(r"^(\w+)\(\) \{.*?\}$", SETUP, re.DOTALL | re.MULTILINE)
    texts = re.findall(r"^\w+\(\) \{.*?\}$", SETUP, re.DOTALL | re.MULTILINE)
    used = set(line.split())
    return "".join(f"{text}\n" for name, text in zip(found, texts, strict=True) if name in used)


def no_words(operation: Operation) -> UnionError:
    """What to say when the shell cannot do it."""
    return UnionError(f"the shell has no words for {operation}: print the case as Python")


def write_file(operation: op.WriteFile) -> str:
    """One write(2) of everything, as dd makes it."""
    text = f"repeat {escaped(operation.text)} {operation.times}"
    return (
        f"{text} | dd bs=16M iflag=fullblock status=none of={path(operation.path)}"
        f"{DD[operation.how]}"
    )


def rename(operation: op.Rename) -> str:
    """renameat2(2)."""
    bits = sum(RENAME_FLAGS[name] for name in operation.flags.split("|") if name)
    return f"renameat2 {path(operation.source)} {path(operation.target)} {bits}"


def mknod(operation: op.Mknod) -> str:
    """mknod(1), which knows no files and sockets."""
    here, device = path(operation.path), f"{operation.major} {operation.minor}"
    match operation.kind:
        case "file":
            return f"create {here} {operation.mode:o}"
        case "socket":
            return socket_line(here)
        case kind:
            numbers = "" if kind == "fifo" else f" {device}"
            return f"mknod -m {operation.mode:o} {here} {NODE_TYPES[kind]}{numbers}"


def utimens(operation: op.Utimens) -> str:
    """Two calls of touch(1), as it sets both times to one value."""
    stamps = (f"@{ns // 10**9}.{ns % 10**9:09d}" for ns in (operation.atime, operation.mtime))
    atime, mtime = stamps
    here = path(operation.path)
    return f"touch -hac -d {atime} {here} && touch -hmc -d {mtime} {here}"


def default_acl(operation: op.SetDefaultAcl) -> str:
    """setfacl(1)."""
    user, group, other = operation.user, operation.group, operation.other
    return (
        f"setfacl -d -m u::{user:o},g::{group:o},m::{group:o},o::{other:o} {path(operation.path)}"
    )


def get_attribute(operation: op.GetXattr) -> str:
    """getfattr(1)."""
    return f"getfattr -h -n {quote(operation.name)} {path(operation.path)}"


def set_attribute(operation: op.SetXattr) -> str:
    """setfattr(1), which cannot ask for a new or an old one."""
    if operation.how != "any":
        raise no_words(operation)
    return (
        f"setfattr -h -n {quote(operation.name)} -v {quote(operation.value)} {path(operation.path)}"
    )


WORDS: dict[type[Operation], Callable[..., str]] = {
    op.Stat: lambda o: f"stat -c '%F %a %u:%g %s bytes, %h links' {path(o.path)}",
    op.Access: lambda o: f"test {TEST_FLAGS[o.mode]} {path(o.path)}",
    op.NameMax: lambda o: f"getconf NAME_MAX {path(o.path)}",
    op.ReadFile: lambda o: f"cat {path(o.path)} && echo",
    op.WriteFile: write_file,
    op.Create: lambda o: f"create {path(o.path)} {o.mode:o}",
    op.Truncate: lambda o: f"truncate -c -s {o.size} {path(o.path)}",
    op.Mkdir: lambda o: f"make_dir {path(o.path)} {o.mode:o}",
    op.Rmdir: lambda o: f"rmdir {path(o.path)}",
    op.Unlink: lambda o: f"unlink {path(o.path)}",
    op.Rename: rename,
    op.Link: lambda o: f"ln -PT {path(o.source)} {path(o.target)}",
    op.Symlink: lambda o: f"ln -sT {quote(o.target)} {path(o.path)}",
    op.Readlink: lambda o: f"readlink {path(o.path)}",
    op.Mknod: mknod,
    op.Chmod: lambda o: f"chmod {o.mode:04o} {path(o.path)}",
    op.Chown: lambda o: f"chown -h {o.uid}:{o.gid} {path(o.path)}",
    op.Utimens: utimens,
    op.SetXattr: set_attribute,
    op.GetXattr: get_attribute,
    op.RemoveXattr: lambda o: f"setfattr -h -x {quote(o.name)} {path(o.path)}",
    op.ListXattrs: lambda o: f"getfattr -h -m - {path(o.path)}",
    op.SetDefaultAcl: default_acl,
    op.GetFlags: lambda o: f"lsattr -d {path(o.path)}",
    op.ListDir: lambda o: f"ls -AF {path(o.path)}",
    op.RemoveTree: lambda o: f"rm -r {path(o.path)}",
}
