"""What the subcommands share: the exit statuses, and the options of every command that mounts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from unionfs.testing.bench import Lab

# Nothing differs (or nothing is wrong); something does; it could not be found out.
SAME, DIFFERENT, IMPOSSIBLE = 0, 1, 2

Subcommands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_lab_options(command: argparse.ArgumentParser) -> None:
    """The options that `open_lab` reads."""
    command.add_argument("--base", metavar="DIR", help="where layers and uppers are made")
    command.add_argument(
        "--patience",
        type=float,
        default=10,
        metavar="S",
        help="how long one operation may take before it counts as hanging (default: 10)",
    )
    command.add_argument("--prelude", default="", help=argparse.SUPPRESS)


def open_lab(arguments: argparse.Namespace) -> Lab:
    """A lab as the command line wants it, to be used as a context."""
    from unionfs.testing.bench import Lab

    return Lab(arguments.base, prelude=arguments.prelude, patience=arguments.patience)
