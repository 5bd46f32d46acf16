"""A case as a program: Python that builds the layers, mounts each driver and does the operations.

The text contains the source of the calls it needs, so it runs anywhere with python3, as root, and
can be pasted into a bug report.
"""

from __future__ import annotations

import ast
import inspect
import shlex
from collections.abc import Iterable, Sequence

from unionfs.testing import calls, crew
from unionfs.testing.compare import Case, Difference
from unionfs.testing.drivers import Driver
from unionfs.testing.language import ACTORS, Operation, RawLower, RawUpper, Remount
from unionfs.testing.layers import Entry

SETUP = '''
BASE = tempfile.mkdtemp(dir="/dev/shm" if os.path.ismount("/dev/shm") else "/var/tmp")


def mount(command, side, lowers):
    """Mount the layers with a command in which {options}, {branches}, {mountpoint} are filled in."""
    upper, work, point = (f"{BASE}/{side}/{name}" for name in ("upper", "work", "mnt"))
    for path in (upper, work, point):
        os.makedirs(path, exist_ok=True)
    options = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work}"
    branches = ":".join([f"{upper}=RW", *(f"{lower}=RO" for lower in lowers)])
    values = {"options": options, "branches": branches, "mountpoint": point}
    subprocess.run([word.format(**values) for word in command], check=True)
    return point


def unmount(point):
    subprocess.run(["umount", point], check=True)


def leave(actor):
    """Let go of what the operations left open, for it keeps the mount busy."""
    for number in actor.fds.values():
        os.close(number)
    for area in actor.maps.values():
        area.close()
    for stream in actor.streams.values():
        LIBC.closedir(stream)
    for child in actor.children.values():
        child.kill()
        child.wait()
    os.chdir("/")


def show(path):
    """The tree below a path, one line an object."""
    for directory, names, files in sorted(os.walk(path)):
        for name in sorted(names + files):
            full = os.path.join(directory, name)
            try:
                print("   ", describe(full), os.path.relpath(full, path), xattrs(full))
            except OSError as error:
                print("   ", os.path.relpath(full, path), error.strerror)


def describe(path):
    st = os.lstat(path)
    size = "-" if stat.S_ISDIR(st.st_mode) else st.st_size
    return f"{stat.filemode(st.st_mode)} {st.st_nlink} {st.st_uid} {st.st_gid} {size}"


def xattrs(path):
    """The names of its extended attributes, where there are such things."""
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        return error.strerror
'''

COMMANDS: dict[str, tuple[str, ...]] = {
    "kernel": ("mount", "-t", "overlay", "overlay", "-o", "{options}", "{mountpoint}"),
    "unionfs": ("unionfs", "-o", "{options}", "{mountpoint}"),
    "fuse-overlayfs": ("fuse-overlayfs", "-o", "{options}", "{mountpoint}"),
    "unionfs-fuse": (
        "unionfs-fuse", "-o", "cow,allow_other,default_permissions,suid,dev", "{branches}",
        "{mountpoint}",
    ),
}  # fmt: skip


def case_script(
    case: Case, drivers: Sequence[Driver], differences: Iterable[Difference] = ()
) -> str:
    """The program; differences go to its head as comments."""
    lines = ["#!/usr/bin/env python3", f"# {' and '.join(d.name for d in drivers)} differ:"]
    for difference in differences:
        lines += [f"#   {line}" for line in str(difference).splitlines()]
    lines += ["# Run as root: python3 THIS_FILE", ""]
    lines += [imports(), sources(case.operations), SETUP, *layer_code(case)]
    lines += ["", "COMMANDS = {"]
    lines += [f"    {driver.name!r}: {list(command(driver))!r}," for driver in drivers]
    lines += ["}", "", "", *sequence_code(case.operations)]
    lines.append('print("The layers and uppers are in", BASE)')
    return "\n".join(lines) + "\n"


def command(driver: Driver) -> tuple[str, ...]:
    """The words that mount a driver, with its options behind the layers."""
    if driver.family == "command":
        words = (*shlex.split(driver.name.removeprefix("cmd:")), "-o", "{options}", "{mountpoint}")
    elif driver.family in COMMANDS:
        words = COMMANDS[driver.family]
    else:
        # A plain directory is not mounted: edit by hand.
        return (f"mount-{driver.family}", "-o", "{options}", "{mountpoint}")
    extra = list(driver.options)
    if driver.family == "kernel" and driver.place == "userns":
        extra.insert(0, "userxattr")
    options = ",".join(["{options}", *extra])
    return tuple(options if word == "{options}" else word for word in words)


def imports() -> str:
    """What the pasted sources import."""
    names = (
        "contextlib ctypes errno fcntl hashlib json mmap os shutil signal socket stat struct "
        "subprocess tempfile"
    )
    lines = [f"import {name}" for name in names.split()]
    return "\n".join([*lines, "from typing import Any"])


def sources(operations: Iterable[Operation]) -> str:
    """The parts of `calls` that these operations use, and `crew` when there are several actors."""
    operations = [o for o in operations if not isinstance(o, (Remount, RawUpper, RawLower))]
    text = inspect.getsource(calls)
    tree = ast.parse(text)
    parts = [actor_source(text, tree, {operation.verb for operation in operations})]
    helpers = {name: part for node in tree.body for name, part in definition(text, node)}
    needed: list[str] = []
    pending = parts[0]
    while pending:
        found = [n for n in helpers if n not in needed and n in names_in(pending)]
        needed += found
        pending = "\n\n".join(helpers[name] for name in found)
    ordered = [helpers[name] for name in helpers if name in needed]
    if any(operation.who for operation in operations):
        parts += [crew_source()]
    set_up = [line for line in text.splitlines() if line.startswith("LIBC.") and "LIBC" in needed]
    head = [part for part in ordered if not part.startswith("def ")]
    functions = [part for part in ordered if part.startswith("def ")]
    return "\n".join(["", *head, *set_up, "", "", "\n\n\n".join([*functions, *parts])])


def names_in(text: str) -> set[str]:
    """Every name that a piece of source mentions."""
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def definition(text: str, node: ast.stmt) -> Iterable[tuple[str, str]]:
    """Name and source of a top-level constant or function."""
    source = ast.get_source_segment(text, node) or ""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, source
    elif isinstance(node, ast.FunctionDef):
        yield node.name, source


def actor_source(text: str, tree: ast.Module, verbs: set[str]) -> str:
    """The class Actor with only these methods."""
    (actor,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Actor")
    methods = [
        ast.get_source_segment(text, node, padded=True) or ""
        for node in actor.body
        if isinstance(node, ast.FunctionDef) and node.name in {"__init__", *verbs}
    ]
    return "class Actor:\n" + "\n\n".join(methods)


def crew_source() -> str:
    """The module `crew` without its imports."""
    text = inspect.getsource(crew)
    return text[text.index("Member = ") :].rstrip()


def layer_code(case: Case) -> list[str]:
    """Code that makes the layer directories."""
    lines = ["lowers = []"]
    for number, layer in enumerate(case.layers):
        lines += ["", f'lowers.append(f"{{BASE}}/lower{number}")', "os.mkdir(lowers[-1])"]
        lines.append("os.chdir(lowers[-1])")
        for entry in layer:
            lines += entry_code(entry)
    return [*lines, 'os.chdir("/")']


def entry_code(entry: Entry) -> list[str]:
    """Code that makes one entry in the current directory."""
    path, mode = entry.path, 0o644 if entry.mode is None else entry.mode
    match entry.kind:
        case "hardlink":
            return [f"os.link({entry.target!r}, {path!r})"]
        case "symlink":
            return [f"os.symlink({entry.target!r}, {path!r})"]
        case "whiteout":
            return [f"os.mknod({path!r}, stat.S_IFCHR, 0)"]
        case "dir":
            lines = [f"os.mkdir({path!r})"]
        case "file":
            size = "" if entry.size is None else f"; f.truncate({entry.size})"
            text = f"({entry.text!r} * {entry.times})" if entry.times != 1 else repr(entry.text)
            write = f'f.write({text}.encode("latin-1"))'
            lines = [f'with open({path!r}, "wb") as f: {write}{size}']
        case kind:
            constant = {"fifo": "IFIFO", "socket": "IFSOCK", "char": "IFCHR", "block": "IFBLK"}
            device = f"os.makedev{entry.rdev}"
            lines = [f"os.mknod({path!r}, stat.S_{constant[kind]} | 0o600, {device})"]
    lines += [f"os.chown({path!r}, {entry.uid}, {entry.gid})"] * bool(entry.uid or entry.gid)
    lines.append(f"os.chmod({path!r}, {mode:#o})")
    lines += [f"os.setxattr({path!r}, {n!r}, {v!r}.encode())" for n, v in entry.xattrs.items()]
    if entry.opaque:
        lines.append(f'os.setxattr({path!r}, "trusted.overlay.opaque", b"y")')
    return lines


def sequence_code(operations: Sequence[Operation]) -> list[str]:
    """Code that does the operations on each driver, printing every answer."""
    several = any(operation.who for operation in operations)
    lines = ["for side, command in COMMANDS.items():", '    print("==", side)']
    lines.append('    point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)')
    hire = "Crew(point)" if several else "Actor()"
    lines += [f"    actor = {hire}", *([] if several else ["    os.chdir(point)"])]
    for operation in operations:
        lines += [f"    {line}" for line in step_code(operation, several)]
    lines += [
        "    actor.dismiss()" if several else "    leave(actor)",
        "    show(point)",
        "    unmount(point)",
    ]
    return lines


def step_code(operation: Operation, several: bool) -> list[str]:
    """Code of one operation."""
    match operation:
        case Remount():
            leave = ["actor.dismiss()" if several else "leave(actor)"]
            enter = ["actor = Crew(point)"] if several else ["actor = Actor()", "os.chdir(point)"]
            back = 'point = mount(command, side.replace(":", "-").replace("/", "-"), lowers)'
            return [*leave, "unmount(point)", back, *enter]
        case RawUpper(path=path):
            return [
                f'raw = os.path.join(os.path.dirname(point), "upper", {path!r})',
                "print(subprocess.run(['stat', raw], capture_output=True, text=True).stdout)",
            ]
        case RawLower(path=path, layer=layer):
            return [f"print(os.lstat(os.path.join(lowers[{layer}], {path!r})))"]
    arguments = ", ".join(f"{name}={value!r}" for name, value in operation.arguments().items())
    if several:
        identity = ACTORS[operation.who]
        who = (operation.who, identity.uid, identity.gid)
        call = f"actor.call({who}, {operation.verb!r}, dict({arguments}))"
        return [f"print({str(operation)!r}, {call})"]
    return [
        "try:",
        f"    print({str(operation)!r}, actor.{operation.verb}({arguments}))",
        "except (OSError, KeyError) as error:",
        f"    print({str(operation)!r}, repr(error))",
    ]
