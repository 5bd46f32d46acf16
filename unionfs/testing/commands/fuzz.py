"""``unionfs-lab fuzz``: look for a difference between two drivers."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from unionfs.testing.commands.common import Subcommands, add_lab_options, open_lab
from unionfs.testing.commands.comparing import add_comparison_options, tell

if TYPE_CHECKING:
    from unionfs.testing.fuzz import Findings


def add(commands: Subcommands) -> None:
    """The command line."""
    fuzz = commands.add_parser("fuzz", help="look for a difference between two drivers")
    add_comparison_options(fuzz)
    fuzz.add_argument(
        "--examples", type=int, default=200, metavar="N", help="how many sequences (default: 200)"
    )
    fuzz.add_argument("--minutes", type=float, metavar="N", help="search for so long instead")
    fuzz.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same cases")
    fuzz.add_argument("--save", metavar="FILE", help="keep the shortest case, for unionfs-lab run")
    add_lab_options(fuzz)
    fuzz.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Search, and print the shortest script that shows a difference."""
    from unionfs.testing.drivers import find_driver
    from unionfs.testing.fuzz import fuzz

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
            known=arguments.known,
            progress=Progress(),
        )
    print(summary(findings), file=sys.stderr)
    if arguments.save and findings.case is not None:
        save(arguments.save, findings, f"{left.name} and {right.name}")
    return tell(arguments, (left, right), findings.case, findings.differences)


def save(path: str, findings: Findings, who: str) -> None:
    """Keep the case that was found."""
    from unionfs.testing import casefile

    assert findings.case is not None
    note = f"{who}, seed {findings.seed}: {findings.differences[0]}"
    with open(path, "w", encoding="ascii") as file:
        file.write(casefile.dump(findings.case, note))


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
    text = f"{findings.examples} sequences, {findings.rate:.1f} a second, last seed {findings.seed}"
    text += f": {found}"
    if findings.quirks:
        expected = ", ".join(f"{name} ({count})" for name, count in findings.quirks.most_common())
        text += f"; expected differences met: {expected}"
    return text
