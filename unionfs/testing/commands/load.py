"""``unionfs-lab load``: many processes on one union, and accidents under load."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from unionfs.testing.commands.common import DIFFERENT, SAME, Subcommands


def add(commands: Subcommands) -> None:
    """The command line."""
    load = commands.add_parser("load", help="many processes on one union, and accidents under load")
    load.add_argument("--driver", metavar="DRIVER", default="unionfs", help="default: unionfs")
    load.add_argument("--processes", type=int, default=8, metavar="N", help="default: 8")
    load.add_argument(
        "--seconds", type=float, default=600, metavar="S", help="of mixed work (default: 600)"
    )
    load.add_argument(
        "--inodes", type=int, default=1_000_000, metavar="N", help="to look at (default: 1000000)"
    )
    load.add_argument(
        "--names", type=int, default=100_000, metavar="N", help="in one directory (default: 100000)"
    )
    load.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    load.add_argument("--base", metavar="DIR", help="where the layers are made (default: a tmpfs)")
    load.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Put load on a driver; print what was seen, and the curve of its memory."""
    from unionfs.errors import UnionError
    from unionfs.testing.bench import default_base
    from unionfs.testing.drivers import parse_driver
    from unionfs.testing.load import Load, Size
    from unionfs.testing.mounts import missing
    from unionfs.testing.worker import isolate

    driver = parse_driver(arguments.driver)
    if os.geteuid() == 0:
        isolate()  # whatever happens to this process, no mount is left
    reason = missing(driver)
    if reason is not None:
        raise UnionError(f"driver {driver.name}: {reason}")
    size = Size(
        arguments.processes, arguments.seconds, arguments.inodes, arguments.names, arguments.seed
    )
    room = tempfile.TemporaryDirectory(
        prefix="unionfs-load-", dir=arguments.base or default_base(), ignore_cleanup_errors=True
    )
    with room as base:
        result = Load(driver, size, Path(base), lambda text: print(text, file=sys.stderr)).run()
    print(*result.notes, sep="\n")
    if result.curve.samples:
        print(f"memory of the daemon:\n{result.curve.text()}")
    for wrong in result.wrong[:20]:
        print(f"WRONG: {wrong}")
    return DIFFERENT if result.wrong else SAME
