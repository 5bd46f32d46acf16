"""Probes as a program that can be pasted: it mounts unions and asks them, with nothing but Python.

The program of a subject holds what its probes share once, and one function for each probe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unionfs.testing import script
from unionfs.testing.compare import Case
from unionfs.testing.drivers import ALL_ON, parse_driver
from unionfs.testing.language import Remount
from unionfs.testing.layers import Layer
from unionfs.testing.probes.probe import Mounting, Probe

# Which unions a program knows.
KNOWN = (
    "unionfs",
    "unionfs:redirect_dir=off",
    "kernel",
    f"kernel:{ALL_ON}",
    "kernel@userns",
    "fuse-overlayfs",
    "unionfs-fuse",
)
HEAD = """\
#!/usr/bin/env python3
# Made by `unionfs-lab matrix`; do not edit.
# Run as root: python3 THIS_FILE [PROBE...] [UNION...]; without a union it asks unionfs and kernel.
# For a NAME@userns: unshare --user --map-root-user --map-auto --mount python3 THIS_FILE ...
"""
MAIN = """
CHOSEN = [name for name in sys.argv[1:] if name in COMMANDS] or ["unionfs", "kernel"]
COMMANDS = {name: COMMANDS[name] for name in CHOSEN}
HOME = BASE
for name in [name for name in sys.argv[1:] if name in PROBES] or PROBES:
    print("=====", name)
    BASE = tempfile.mkdtemp(dir=HOME)
    PROBES[name]()
shutil.rmtree(HOME)
"""


def program(probes: Sequence[Probe]) -> str:
    """The text of the program, in Python."""
    asked = [operation for probe in probes for operation in probe.operations]
    return "\n".join([questions(probes), script.sources(asked), script.SETUP, *commands(), MAIN])


def questions(probes: Sequence[Probe]) -> str:
    """Its first part: the probes. What they use comes after them."""
    lines = [HEAD, script.imports(), "import sys"]
    for probe in probes:
        lines += ["", "", *function(probe)]
    table = [f"    {probe.name!r}: {function_name(probe)}," for probe in probes]
    return "\n".join([*lines, "", "", "PROBES = {", *table, "}", ""])


def first_line(text: str, probe: Probe) -> int:
    """The line, from 1, at which the function of a probe begins."""
    return text[: text.index(f"\ndef {function_name(probe)}():")].count("\n") + 2


def answers(probe: Probe) -> list[str]:
    """Each operation with its right answer, a line each."""
    lines = []
    if probe.mounting is not None:
        again = " a second time" if probe.mounting.twice else ""
        options = probe.mounting.options
        shown = options if len(options) <= 80 else f"{options[:40]}...{options[-40:]}"
        lines.append(f"mount -o {shown}{again}: {'works' if probe.mounting.right else 'fails'}")
        lines += ["kernel overlayfs with its upper in it: works"] * probe.mounting.stacked
    return lines + [f"{step.operation}: {step.right}" for step in probe.steps]


def commands() -> list[str]:
    """The table of commands, each as words."""
    known = {name: list(script.command(parse_driver(name))) for name in KNOWN}
    return [
        "",
        "COMMANDS = {",
        *(f"    {name!r}: {words!r}," for name, words in known.items()),
        "}",
    ]


def function_name(probe: Probe) -> str:
    """A name for Python."""
    return probe.name.replace("-", "_")


def function(probe: Probe) -> list[str]:
    """One probe, with what is right as comments."""
    comments = [f"# {probe.title}", f"# {probe.source}"]
    comments += [f"#   {number}. {text}" for number, text in enumerate(answers(probe), 1)]
    if probe.mounting is None:
        case = Case(probe.layers, probe.operations)
        body = [*script.layer_code(case), *script.sequence_code(probe.operations)]
    else:
        body = mounting_code(probe, probe.mounting)
    return [f"def {function_name(probe)}():", *indented([*comments, *body])]


def mounting_code(probe: Probe, mounting: Mounting) -> list[str]:
    """Code that makes the layers anew for each union, and mounts with the options in question."""
    layers = [*zip(mounting.names, probe.layers, strict=True)]
    if mounting.work:
        layers.append(("work", mounting.work))
    flags = [f"subprocess.run(['chattr', {{}}, {name!r}])" for name in mounting.immutable]
    body = [
        'print("==", side)',
        'if "{branches}" in command:',
        "    continue  # its command line is another",
        "here = os.path.join(BASE, side)",
        "os.mkdir(here)",
        "os.chdir(here)",
        *disk_code(mounting.tmpfs),
        f"for name in {(*mounting.names, 'upper', 'work', *points(mounting))!r}:",
        "    os.makedirs(name)",
        *(line for name, layer in layers for line in layer_code(name, layer)),
        *(line.format("'+i'") for line in flags),
        *mount_code(mounting),
        *step_code(probe, mounting),
        *unmount_code([*points(mounting), *mounting.tmpfs]),
        *(line.format("'-i'") for line in flags),
        'os.chdir("/")',
    ]
    return [
        f"options = {mounting.options!r}",
        "for side, command in COMMANDS.items():",
        *indented(body),
    ]


def points(mounting: Mounting) -> list[str]:
    """The mountpoints, the last one first."""
    return ["second"] * mounting.twice + ["top"] * mounting.stacked + ["mnt"]


def mount_code(mounting: Mounting) -> list[str]:
    """The mounts, whose statuses are answers."""
    lines = []
    for point in ["mnt", "second"] if mounting.twice else ["mnt"]:
        lines += [
            f"words = [word.format(options=options, mountpoint={point!r}) for word in command]",
            "print(words, 'answers with status', subprocess.run(words).returncode)",
        ]
    if mounting.stacked:
        options = f"lowerdir={mounting.names[0]},upperdir=mnt/u,workdir=mnt/w"
        lines += [
            "os.makedirs('mnt/u', exist_ok=True)",
            "os.makedirs('mnt/w', exist_ok=True)",
            f"words = ['mount', '-t', 'overlay', 'overlay', '-o', {options!r}, 'top']",
            "print(words, 'answers with status', subprocess.run(words).returncode)",
        ]
    return lines


def unmount_code(names: Sequence[str]) -> list[str]:
    """Away with what is mounted there."""
    return [
        f"for name in {names!r}:",
        "    if os.path.ismount(name):",
        "        subprocess.run(['umount', '--lazy', name], check=True)",
    ]


def indented(lines: Iterable[str]) -> list[str]:
    """One level deeper."""
    return [f"    {line}" for line in lines]


def disk_code(names: Sequence[str]) -> list[str]:
    """File systems of their own."""
    return [
        line
        for name in names
        for line in (
            f"os.mkdir({name!r})",
            f"subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', {name!r}], check=True)",
        )
    ]


def layer_code(name: str, layer: Layer) -> list[str]:
    """The content of one layer."""
    if not layer:
        return []
    made = [line for entry in layer for line in script.entry_code(entry)]
    return [f"os.chdir(os.path.join(here, {name!r}))", *made, "os.chdir(here)"]


def step_code(probe: Probe, mounting: Mounting) -> list[str]:
    """The operations, inside the mount."""
    where = "top" if mounting.stacked else "mnt"
    enter = [f"point = os.path.join(here, {where!r})", "os.chdir(point)", "actor = Actor()"]
    leave = ["leave(actor)", "os.chdir(here)"]
    lines = enter
    for operation in probe.operations:
        if isinstance(operation, Remount):
            again = [*unmount_code(points(mounting)), *mount_code(mounting)]
            lines = [*lines, *leave, *again, *enter]
        else:
            lines = [*lines, *script.step_code(operation, False)]
    return [*lines, *leave] if probe.steps else []
