"""``unionfs-lab run``: compare two drivers on a stored case."""

from __future__ import annotations

import argparse
import sys

from unionfs.testing.commands.common import SAME, Subcommands, add_lab_options, open_lab
from unionfs.testing.commands.comparing import add_comparison_options, print_script, tell


def add(commands: Subcommands) -> None:
    """The command line."""
    run_case = commands.add_parser(
        "run", help="compare two drivers on a case that fuzz --save kept"
    )
    run_case.add_argument("file", metavar="FILE", help="the case; it does what it says as root")
    run_case.add_argument("--print", action="store_true", help="print its script, do not run it")
    add_comparison_options(run_case)
    add_lab_options(run_case)
    run_case.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, and print a script when there is a difference."""
    from unionfs.testing import casefile
    from unionfs.testing.compare import compare
    from unionfs.testing.drivers import find_driver, parse_driver

    case = casefile.read(arguments.file)
    names = arguments.left, arguments.right
    if arguments.print:
        print_script(arguments, case, [parse_driver(name) for name in names])
        return SAME
    left, right = map(find_driver, names)
    with open_lab(arguments) as lab:
        report = compare(
            lab,
            left,
            right,
            case,
            remount=not arguments.no_remount,
            cross=not arguments.no_cross,
            known=arguments.known,
        )
    found = "a difference" if report.differences else "no difference"
    expected = f"; expected differences met: {', '.join(report.quirks)}" if report.quirks else ""
    print(f"{len(case.operations)} operations: {found}{expected}", file=sys.stderr)
    return tell(arguments, (left, right), case, report.differences)
