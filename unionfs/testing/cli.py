"""``unionfs-lab``: compare union file systems from the command line.

Exit status: 0 nothing differs, 1 a difference (the shortest script is on stdout), 2 could not run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import UnionError
from .drivers import DRIVERS, find_driver

EPILOG = """examples:
  unionfs-lab drivers                                      who can be compared here
  unionfs-lab fuzz --left kernel --right unionfs           200 random cases
  unionfs-lab fuzz --minutes 10 --left kernel --right 'cmd:./my-union'
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unionfs-lab",
        description="Run the same operations on several union file systems and compare.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("drivers", help="list the drivers, and what each lacks here")
    fuzz = commands.add_parser("fuzz", help="look for a difference between two drivers")
    fuzz.add_argument("--left", default="kernel", help="a driver, the oracle (default: kernel)")
    fuzz.add_argument("--right", default="unionfs", help="a driver, or cmd:PROGRAM")
    fuzz.add_argument("--examples", type=int, default=200, help="how many random cases")
    fuzz.add_argument("--minutes", type=float, help="search for so long instead")
    fuzz.add_argument("--seed", type=int, help="another search; without it all runs are alike")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "drivers":
            return _list_drivers()
        return _fuzz(arguments)
    except UnionError as error:
        print(f"unionfs-lab: {error}", file=sys.stderr)
        return 2


def _list_drivers() -> int:
    for driver in DRIVERS.values():
        print(f"{driver.name:<20} {driver.missing() or 'ready'}")
    return 0


def _fuzz(arguments: argparse.Namespace) -> int:
    from .fuzz import fuzz

    left, right = find_driver(arguments.left), find_driver(arguments.right)
    examples = arguments.examples if arguments.minutes is None else 10**9
    result = fuzz(left, right, examples=examples, minutes=arguments.minutes, seed=arguments.seed)
    if result.case is None:
        print(f"{result.cases} cases, no difference between {left.name} and {right.name}")
        return 0
    for difference in result.differences:
        print(difference, file=sys.stderr)
    print(result.case.as_script())
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
