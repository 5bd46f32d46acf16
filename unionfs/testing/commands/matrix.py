"""``unionfs-lab matrix``: every probe on every driver, as a table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from unionfs.errors import UnionError
from unionfs.testing.commands.common import (
    DIFFERENT,
    IMPOSSIBLE,
    SAME,
    Subcommands,
    add_lab_options,
    open_lab,
)

if TYPE_CHECKING:
    from unionfs.testing.drivers import Driver
    from unionfs.testing.matrix import Matrix
    from unionfs.testing.probes.probe import Probe


FILE_WIDTH = 300  # columns of a table that is written to a file


def add(commands: Subcommands) -> None:
    """The command line."""
    matrix = commands.add_parser(
        "matrix",
        help="ask every driver every probe, and write a table",
        description="Ask every driver every probe, and write a table. The status is 1 when ours "
        "answers otherwise than is recorded: right, or as the probe declares with its reason.",
    )
    matrix.add_argument(
        "--drivers", metavar="A,B", help="the columns (default: those of docs/semantics.md)"
    )
    matrix.add_argument(
        "--probes", metavar="GLOB", default="*", help="the rows, such as 'rename-*' (default: all)"
    )
    matrix.add_argument(
        "--format",
        choices=("terminal", "markdown", "html"),
        default="terminal",
        help="of the table",
    )
    matrix.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write there; with markdown, the programs of the probes go to probes/ next to it",
    )
    matrix.add_argument(
        "--script", metavar="PROBE", help="print the program of this probe, and ask nobody"
    )
    add_lab_options(matrix)
    matrix.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, write the table, and compare ours with what is recorded."""
    from unionfs.testing.matrix import ask_all
    from unionfs.testing.probes import find_probes
    from unionfs.testing.probes.program import program

    if arguments.script is not None:
        print(program(find_probes(arguments.script)), end="")
        return SAME
    drivers, probes = chosen(arguments.drivers), find_probes(arguments.probes)
    if arguments.output is not None and not arguments.output.parent.is_dir():
        raise UnionError(f"{arguments.output.parent} is not a directory; make it first")
    with open_lab(arguments) as lab:
        matrix = ask_all(lab, drivers, probes, progress)
        disk = file_system(lab.root)
    end_progress()
    write(matrix, arguments, f"Asked on {versions(drivers)}; layers and uppers on {disk}.")
    deviations = matrix.deviations()
    for line in deviations:
        print(f"unionfs-lab: {line}", file=sys.stderr)
    return status(drivers, deviations)


def chosen(text: str | None) -> list[Driver]:
    """The drivers that were asked for; each must be ready. Of the columns one at least must be."""
    from unionfs.testing.drivers import find_driver, parse_driver
    from unionfs.testing.matrix import COLUMNS

    if text is not None:
        return [find_driver(name) for name in split(text)]
    drivers = [parse_driver(name) for name in COLUMNS]
    missing = {driver.name: driver.missing() for driver in drivers}
    for name, reason in missing.items():
        if reason:
            print(f"unionfs-lab: driver {name}: {reason}", file=sys.stderr)
    if all(missing.values()):
        raise UnionError("no driver can run here")
    return drivers


def split(text: str) -> list[str]:
    """The names in A,B: options have commas too, and only a driver begins with a known name."""
    from unionfs.testing.drivers import FAMILIES

    names: list[str] = []
    for piece in text.split(","):
        begins = piece.startswith("cmd:") or piece.partition(":")[0].partition("@")[0] in FAMILIES
        if begins or not names:
            names.append(piece)
        else:
            names[-1] += f",{piece}"
    return names


def status(drivers: list[Driver], deviations: list[str]) -> int:
    """The exit status: when one of ours could not be asked, nothing is known of it."""
    if deviations:
        return DIFFERENT
    ours = [driver for driver in drivers if "ours" in driver.traits]
    return IMPOSSIBLE if any(driver.missing() for driver in ours) else SAME


def write(matrix: Matrix, arguments: argparse.Namespace, conditions: str) -> None:
    """The table in the format that was asked for."""
    from unionfs.testing.matrixpage import html_page, markdown

    if arguments.format == "terminal":
        return write_terminal(matrix, arguments.output)
    if arguments.format == "html":
        return write_text(html_page(matrix, conditions), arguments.output)
    document = markdown(matrix, conditions)
    if arguments.output is not None:
        for path, source in document.programs.items():
            target = arguments.output.parent / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source, encoding="utf-8")
    return write_text(document.text, arguments.output)


def write_terminal(matrix: Matrix, output: Path | None) -> None:
    """Tables as wide as the terminal; in a file they are as wide as they need to be."""
    from rich.console import Console

    from unionfs.testing.matrixpage import terminal

    if output is None:
        return terminal(matrix, Console())
    with output.open("w", encoding="utf-8") as file:
        return terminal(matrix, Console(file=file, width=FILE_WIDTH))


def write_text(text: str, output: Path | None) -> None:
    """To the file, or to stdout."""
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


def versions(drivers: list[Driver]) -> str:
    """What the answers depend on."""
    numbers = os.uname().release.split(".")
    found = [f"Linux {numbers[0]}.{numbers[1]}"]
    programs = sorted({driver.program for driver in drivers if driver.program})
    found += [
        version(program) for program in programs if program in ("fuse-overlayfs", "unionfs-fuse")
    ]
    return ", ".join(found)


def version(program: str) -> str:
    """The line in which a program names its version."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return f"no {program}"
    lines = [line for line in said.stdout.splitlines() if line.startswith(program)]
    return lines[0].replace(":", "").replace(" version", "") if lines else program


def file_system(path: str) -> str:
    """The type of the file system that a path lies on."""
    words = ["df", "--output=fstype", path]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return said.splitlines()[-1]


def progress(probe: Probe) -> None:
    """The probe under way, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{probe.name}", end="", file=sys.stderr, flush=True)


def end_progress() -> None:
    """Clear it."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
