"""``unionfs-lab replay``: do the requests of a trace again, or hide what is private in it."""

from __future__ import annotations

import argparse

from unionfs.errors import UnionError
from unionfs.testing.commands.common import (
    DIFFERENT,
    SAME,
    Subcommands,
    add_lab_options,
    open_lab,
)


def add(commands: Subcommands) -> None:
    """The command line."""
    replay = commands.add_parser(
        "replay",
        help="do the requests of a trace (mount option trace=FILE) again on a fresh mount",
        description="Do the requests of a trace again on a fresh mount, and stop at the first answer "
        "that differs. The layers are those described in the trace, or the directories given.",
        usage="%(prog)s FILE [--on DRIVER] [--lower DIR]...\n       %(prog)s --anonymise FILE OUT",
    )
    replay.add_argument("file", metavar="FILE", help="the trace")
    replay.add_argument("out", metavar="OUT", nargs="?", help="the new file of --anonymise")
    replay.add_argument("--on", metavar="DRIVER", default="unionfs", help="default: unionfs")
    replay.add_argument(
        "--lower",
        metavar="DIR",
        action="append",
        default=[],
        help="a layer, the top one first; may be given several times",
    )
    replay.add_argument(
        "--anonymise",
        action="store_true",
        help="write the trace to OUT without content and with hashes for names",
    )
    add_lab_options(replay)
    replay.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay, or anonymise."""
    from unionfs.testing import tracefile

    if arguments.anonymise:
        if arguments.out is None:
            raise UnionError("replay --anonymise FILE OUT: name the file to write")
        tracefile.anonymise(arguments.file, arguments.out)
        return SAME
    if arguments.out is not None:
        raise UnionError(f"replay takes one file; {arguments.out} is too many")
    return replay(arguments)


def replay(arguments: argparse.Namespace) -> int:
    """Do the requests again, and tell the first deviation."""
    from unionfs.testing.drivers import find_driver
    from unionfs.testing.replay import replay
    from unionfs.testing.tracefile import read

    trace = read(arguments.file)
    lowers = [check_lower(path) for path in arguments.lower]
    with open_lab(arguments) as lab:
        replayed = replay(lab, find_driver(arguments.on), trace, lowers)
    total = len(trace.requests)
    print(
        f"{total} requests, ended: {trace.end}; {replayed.done} done again on {arguments.on}, "
        f"{replayed.left_out} are no call of a program"
    )
    if replayed.deviation is None:
        print("every answer is the same")
        return SAME
    print(replayed.deviation)
    return DIFFERENT


def check_lower(path: str) -> str:
    """An absolute path; UnionError for what is no directory or cannot be in lowerdir=."""
    import os

    if not os.path.isdir(path):
        raise UnionError(f"--lower {path}: no such directory")
    if set(path) & set(":,\\"):
        raise UnionError(f"--lower {path}: a layer's name may hold no colon, comma or backslash")
    return os.path.abspath(path)
