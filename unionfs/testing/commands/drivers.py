"""``unionfs-lab drivers``: what can be compared on this machine."""

from __future__ import annotations

import argparse

from unionfs.testing.commands.common import SAME, Subcommands


def add(commands: Subcommands) -> None:
    """The command line."""
    drivers = commands.add_parser("drivers", help="list the drivers, and what each lacks here")
    drivers.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """A line for each preset: ready, or why not."""
    from unionfs.testing.drivers import PRESETS, parse_driver

    width = max(map(len, PRESETS))
    for name in PRESETS:
        print(f"{name:<{width}}  {parse_driver(name).missing() or 'ready'}")
    return SAME
