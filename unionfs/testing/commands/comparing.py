"""What the commands that compare two drivers share: their options, and how a difference is told."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unionfs.testing.commands.common import DIFFERENT, SAME

if TYPE_CHECKING:
    from unionfs.testing.compare import Case, Difference
    from unionfs.testing.drivers import Driver


def add_comparison_options(command: argparse.ArgumentParser) -> None:
    """Who is compared, and how."""
    command.add_argument("--left", metavar="DRIVER", default="kernel", help="default: kernel")
    command.add_argument("--right", metavar="DRIVER", default="unionfs", help="default: unionfs")
    command.add_argument("--no-remount", action="store_true", help="do not compare after a remount")
    command.add_argument(
        "--no-cross", action="store_true", help="do not let each mount what the other wrote"
    )
    command.add_argument(
        "--known",
        action="append",
        default=[],
        type=pattern,
        metavar="REGEX",
        help="go on after a difference whose text this matches; may be given again",
    )
    command.add_argument(
        "--script",
        choices=("python", "shell"),
        default="python",
        help="the language in which a case is printed when it shows a difference",
    )


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression of the command line."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None


def tell(
    arguments: argparse.Namespace,
    drivers: Sequence[Driver],
    case: Case | None,
    differences: Sequence[Difference],
) -> int:
    """Print differences to stderr and the script of their case to stdout; the exit status."""
    if case is None or not differences:
        return SAME
    for difference in differences:
        print(difference, file=sys.stderr)
    print_script(arguments, case, drivers, differences)
    return DIFFERENT


def print_script(
    arguments: argparse.Namespace,
    case: Case,
    drivers: Sequence[Driver],
    differences: Sequence[Difference] = (),
) -> None:
    """The case as a program, in the language that was asked for."""
    from unionfs.testing.script import case_script
    from unionfs.testing.shell import shell_script

    write = shell_script if arguments.script == "shell" else case_script
    text = write(case, drivers, differences)
    sys.stdout.buffer.write(os.fsencode(text))  # names of files need not be UTF-8
