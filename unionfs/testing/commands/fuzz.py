"""``unionfs-lab fuzz``: look for a difference between two drivers."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from unionfs.testing.commands.common import (
    DIFFERENT,
    SAME,
    Subcommands,
    add_lab_options,
    open_lab,
)

if TYPE_CHECKING:
    from unionfs.testing.fuzz import Findings


def add(commands: Subcommands) -> None:
    """The command line."""
    fuzz = commands.add_parser("fuzz", help="look for a difference between two drivers")
    fuzz.add_argument("--left", metavar="DRIVER", default="kernel", help="default: kernel")
    fuzz.add_argument("--right", metavar="DRIVER", default="unionfs", help="default: unionfs")
    fuzz.add_argument(
        "--examples", type=int, default=200, metavar="N", help="how many sequences (default: 200)"
    )
    fuzz.add_argument("--minutes", type=float, metavar="N", help="search for so long instead")
    fuzz.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same cases")
    fuzz.add_argument("--no-remount", action="store_true", help="do not compare after a remount")
    fuzz.add_argument("--no-cross", action="store_true", help="do not mount each other's upper")
    add_lab_options(fuzz)
    fuzz.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Search, and print the shortest script that shows a difference."""
    from unionfs.testing.drivers import find_driver
    from unionfs.testing.fuzz import fuzz
    from unionfs.testing.script import case_script

    left, right = find_driver(arguments.left), find_driver(arguments.right)
    with open_lab(arguments) as lab:
        findings = fuzz(
            lab,
            left,
            right,
            examples=arguments.examples,
            minutes=arguments.minutes,
            seed_number=arguments.seed,
            remount=not arguments.no_remount,
            cross=not arguments.no_cross,
            progress=Progress(),
        )
    print(summary(findings), file=sys.stderr)
    if findings.case is None:
        return SAME
    for difference in findings.differences:
        print(difference, file=sys.stderr)
    print(case_script(findings.case, (left, right), findings.differences), end="")
    return DIFFERENT


class Progress:
    """A line on a terminal's stderr, at most twice a second."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.next = self.began + 0.5

    def __call__(self, findings: Findings) -> None:
        now = time.monotonic()
        if now < self.next or not sys.stderr.isatty():
            return
        self.next = now + 0.5
        rate = findings.examples / (now - self.began)
        print(f"\r{findings.examples} sequences, {rate:.1f}/s ", end="", file=sys.stderr)


def summary(findings: Findings) -> str:
    """What was done, for stderr."""
    found = "no difference" if findings.case is None else "a difference"
    if findings.flaky:
        found += " that did not show again when the same case was run once more"
    text = f"{findings.examples} sequences, {findings.rate:.1f} a second: {found}"
    if findings.quirks:
        expected = ", ".join(f"{name} ({count})" for name, count in findings.quirks.most_common())
        text += f"; expected differences met: {expected}"
    return text
