"""What a probe is: layers, operations, and for each the answer that is right.

Right is what POSIX or the manual page says of one file system, for that is what a program takes a
union for; where only unions have the question, it is what the documentation of overlayfs says
(Documentation/filesystems/overlayfs.rst). `source` names the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from unionfs.testing.language import Operation
from unionfs.testing.layers import Layer, Layers
from unionfs.testing.probes.answers import Anything, Expectation, Fails, Gives, Has, Succeeds


@dataclass(frozen=True)
class Step:
    """One operation with its right outcome."""

    operation: Operation
    right: Expectation


def tries(operation: Operation) -> Step:
    """The operation may fail; the later ones tell what it left."""
    return Step(operation, Anything())


def does(operation: Operation) -> Step:
    """The operation works."""
    return Step(operation, Succeeds())


def fails(operation: Operation, *errors: str) -> Step:
    """The operation fails with one of these errors."""
    return Step(operation, Fails(errors))


def gives(operation: Operation, right: Any) -> Step:
    """The operation has this result, or one that meets this check."""
    return Step(operation, Gives(right))


def has(operation: Operation, **fields: Any) -> Step:
    """The operation's record has these fields."""
    return Step(operation, Has(fields))


@dataclass(frozen=True)
class Mounting:
    """How the program that mounts is called, for probes that ask about that.

    options is the text behind -o; paths in it are relative to the directory in which names (of
    the layers, top first), upper, work and mnt lie. tmpfs names directories that get a file system
    of their own, immutable the files that get chattr(1) +i. work is what lies in the work directory
    beforehand. right is whether the mount succeeds; with twice the question is that of a second
    mount of the same. With stacked, kernel overlayfs is mounted over the top layer with its upper
    in the mount, and asked.
    """

    options: str
    names: tuple[str, ...] = ("l",)
    tmpfs: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    work: Layer = ()
    right: bool = True
    twice: bool = False
    stacked: bool = False


@dataclass(frozen=True)
class Declared:
    """A deviation of ours that is known: on which drivers (a pattern), the answer, and why.

    unless is the option that takes it away.
    """

    drivers: str
    answer: str
    why: str
    unless: str | None = None

    def covers(self, driver: str) -> bool:
        """Whether it is about this driver."""
        taken_away = self.unless is not None and self.unless in driver
        return fnmatchcase(driver, self.drivers) and not taken_away


@dataclass(frozen=True)
class Probe:
    """A question to a union file system.

    of_unions: a plain directory has no answer. declared: where ours is knowingly not right.
    """

    name: str
    title: str
    source: str
    layers: Layers
    steps: tuple[Step, ...]
    mounting: Mounting | None = None
    of_unions: bool = False
    declared: tuple[Declared, ...] = ()

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What is done, without the answers."""
        return tuple(step.operation for step in self.steps)

    def declaration(self, driver: str) -> Declared | None:
        """What is declared for a driver."""
        for declared in self.declared:
            if declared.covers(driver):
                return declared
        return None
