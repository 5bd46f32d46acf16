"""``unionfs-lab crash``: interrupt every kind of change at every system call that it makes."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unionfs.errors import UnionError
from unionfs.testing.commands.common import (
    DIFFERENT,
    SAME,
    Subcommands,
    add_lab_options,
    open_lab,
)

if TYPE_CHECKING:
    from unionfs.testing.crash import Matrix
    from unionfs.testing.mutations import Mutation


def add(commands: Subcommands) -> None:
    """The command line."""
    crash = commands.add_parser(
        "crash",
        help="kill our union at every system call of every change, and let each call fail",
        description="Kill the daemon before and after each system call below the upper, and look at "
        "what it left through a fresh mount and through kernel overlayfs; then let each call fail "
        "with each errno. One line for each kind of change, then the size of the whole.",
    )
    crash.add_argument(
        "--mutation",
        metavar="GLOB",
        default="*",
        help="which changes, such as 'rename*' (default: all; --list shows them)",
    )
    crash.add_argument("--list", action="store_true", help="only list the changes")
    crash.add_argument(
        "--errnos",
        metavar="NAME,NAME",
        help="with which errnos calls fail, or none (default: ENOSPC,EIO,EMFILE,ENOMEM,EDQUOT)",
    )
    crash.add_argument(
        "--on",
        metavar="DRIVER",
        default="unionfs",
        help="ours, such as unionfs@userns or unionfs:fsync=strict (default: unionfs)",
    )
    crash.add_argument(
        "--power-loss",
        action="store_true",
        help="instead cut the power of a disk after each call: what was not synced is lost",
    )
    add_lab_options(crash)
    crash.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Interrupt, and print what was not right."""
    from unionfs.testing.crash import ERRNOS, crash_matrix
    from unionfs.testing.mutations import MUTATIONS

    chosen = [m for m in MUTATIONS if fnmatch.fnmatchcase(m.name, arguments.mutation)]
    if not chosen:
        raise UnionError(f"no mutation is called {arguments.mutation!r}; see --list")
    if arguments.list:
        print("\n".join(mutation.name for mutation in chosen))
        return SAME
    if arguments.on.partition("@")[0].partition(":")[0] != "unionfs":
        raise UnionError(f"--on {arguments.on}: only unionfs can be told where to crash")
    errnos = read_errnos(arguments.errnos) if arguments.errnos else ERRNOS
    if arguments.power_loss:
        matrix = cut_power(arguments, chosen)
    else:
        with open_lab(arguments) as lab:
            matrix = crash_matrix(
                lab,
                chosen,
                driver=arguments.on,
                errnos=lambda point: errnos,
                progress=Progress(),
            )
    print(matrix)
    return DIFFERENT if matrix.failures else SAME


def cut_power(arguments: argparse.Namespace, chosen: Sequence[Mutation]) -> Matrix:
    """Interrupt on a disk in a file, below --base."""
    import tempfile

    from unionfs.testing.bench import default_base
    from unionfs.testing.powerloss import Disk, power_matrix

    with (
        tempfile.TemporaryDirectory(
            prefix="unionfs-lab-", dir=arguments.base or default_base()
        ) as d,
        Disk(d) as disk,
    ):
        return power_matrix(
            disk, chosen, arguments.on, prelude=arguments.prelude, progress=Progress()
        )


def read_errnos(text: str) -> tuple[str, ...]:
    """The names of ``--errnos``; UnionError for what is none."""
    import errno

    if text == "none":
        return ()
    names = tuple(text.split(","))
    for name in names:
        if name not in errno.errorcode.values():
            raise UnionError(f"--errnos: {name!r} is not the name of an errno")
    return names


class Progress:
    """A line for each mutation, and one for each of its failures."""

    def __init__(self) -> None:
        self.told = 0

    def __call__(self, mutation: Mutation, matrix: Matrix) -> None:
        news = matrix.failures[self.told :]
        self.told += len(news)
        verdict = f"{len(news)} failures" if news else "ok"
        print(f"{mutation.name:<50} {matrix.points[mutation.name]:>3} points  {verdict}")
        for failure in news:
            print(f"    {failure}")
        sys.stdout.flush()
