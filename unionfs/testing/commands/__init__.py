"""The subcommands of ``unionfs-lab``, one module each.

A module has `add(commands)`, which adds its parser and sets its `run`, and `run(arguments)`, which
answers the exit status. What is slow to import is imported inside `run`.
"""

from __future__ import annotations

from unionfs.testing.commands import crash, drivers, fuzz, load, matrix, replay, run
from unionfs.testing.commands.common import Subcommands

MODULES = (
    crash,
    drivers,
    fuzz,
    load,
    matrix,
    replay,
    run,
)


def add_all(commands: Subcommands) -> None:
    """Add every subcommand to the command line."""
    for module in MODULES:
        module.add(commands)
