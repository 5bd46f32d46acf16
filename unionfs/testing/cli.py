"""``unionfs-lab``: compare union file systems from the command line.

Exit status: 0 nothing differs, 1 a difference (the shortest script for it is on stdout), 2 the
comparison could not be made.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from unionfs.errors import UnionError
from unionfs.testing.commands import add_all
from unionfs.testing.commands.common import IMPOSSIBLE

EPILOG = """\
DRIVER is NAME[@userns][:OPTION,OPTION...], such as kernel, kernel@userns, unionfs:redirect_dir=off,
fuse-overlayfs, unionfs-fuse or directory; or 'cmd:PROGRAM WORDS', any program that is called as
PROGRAM WORDS -o lowerdir=...,upperdir=...,workdir=... MOUNTPOINT.

Examples:
  unionfs-lab drivers
  unionfs-lab fuzz --left kernel --right unionfs --examples 500 --seed 1
  unionfs-lab fuzz --left kernel --right 'cmd:./my-union --fast' --minutes 10 --save case.jsonl
  unionfs-lab run case.jsonl --right fuse-overlayfs --script shell
  unionfs-lab matrix --drivers kernel,unionfs,fuse-overlayfs --probes 'rename-*'
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="unionfs-lab",
        description="Run the same operations on several union file systems and compare.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_all(top.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status."""
    arguments = parser().parse_args(argv)
    # What is mounted is taken away however this ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status: int = arguments.run(arguments)
    except (UnionError, OSError) as error:
        print(f"unionfs-lab: {error}", file=sys.stderr)
        return IMPOSSIBLE
    except KeyboardInterrupt:
        print("unionfs-lab: interrupted", file=sys.stderr)
        return IMPOSSIBLE
    return status
