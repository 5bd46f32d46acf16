"""What a probe is: layers, operations, and for each the answer that is right.

Right is what POSIX or the manual page says of one file system, for that is what a program takes a
union for; where only unions have the question, it is what the documentation of overlayfs says
(Documentation/filesystems/overlayfs.rst). `source` names the place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from unionfs.testing.crew import Outcome
from unionfs.testing.language import Operation
from unionfs.testing.layers import Layer, Layers

# What earlier steps of a run have answered, by the name that `Same` and `Other` give it.
Memory = dict[str, Any]


class Check(Protocol):
    """A condition on a value, where one fixed value will not do."""

    def accepts(self, value: Any, memory: Memory) -> bool:
        """Whether the value is right."""

    def show(self, value: Any) -> str:
        """A wrong value for people; the same text in every run."""


@dataclass(frozen=True)
class Same:
    """The value that was there when this name was first met in the run."""

    name: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        return bool(memory.setdefault(self.name, value) == value)

    def show(self, value: Any) -> str:
        return "changed"


@dataclass(frozen=True)
class Other:
    """Any value but the one of that name."""

    name: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        return bool(memory[self.name] != value)

    def show(self, value: Any) -> str:
        return "the same"


@dataclass(frozen=True)
class OneOf:
    """Each of these is right."""

    values: tuple[Any, ...]

    def accepts(self, value: Any, memory: Memory) -> bool:
        return value in self.values

    def show(self, value: Any) -> str:
        return text(value)


@dataclass(frozen=True)
class AtMost:
    """A number no greater than this."""

    limit: int

    def accepts(self, value: Any, memory: Memory) -> bool:
        return bool(value <= self.limit)

    def show(self, value: Any) -> str:
        return text(value)


@dataclass(frozen=True)
class Contains:
    """A list with this in it."""

    member: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        return self.member in value

    def show(self, value: Any) -> str:
        return f"without {self.member}"


@dataclass(frozen=True)
class Marked:
    """The xattrs of a layer's object hold this overlay mark, in the kernel's format."""

    mark: str
    value: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        marks = [value.get(f"{family}.overlay.{self.mark}") for family in ("trusted", "user")]
        return self.value in marks

    def show(self, value: Any) -> str:
        return f"no overlay.{self.mark}"


CHECKS = (Same, Other, OneOf, AtMost, Contains, Marked)


def accepted(right: Any, value: Any, memory: Memory) -> bool:
    """Whether a value is the right one, or meets the check."""
    if isinstance(right, CHECKS):
        return right.accepts(value, memory)
    return bool(right == value)


def shown(right: Any, value: Any) -> str:
    """A value that was not accepted."""
    return right.show(value) if isinstance(right, CHECKS) else text(value)


def text(value: Any) -> str:
    """A value in a few characters."""
    if value is None:
        return "nothing there"
    if isinstance(value, dict) and "type" in value:
        return "a whiteout" if value.get("whiteout") else f"a {value['type']}"
    plain = value.encode("unicode_escape").decode() if isinstance(value, str) else json.dumps(value)
    return plain if len(plain) <= 40 else plain[:37] + "..."


class Expectation(Protocol):
    """The right outcome of one operation."""

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        """None when the outcome is right, else what it was."""

    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Anything:
    """Nothing is asked here; what comes after it is."""

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        return None

    def __str__(self) -> str:
        return "works or not"


@dataclass(frozen=True)
class Succeeds:
    """It works, whatever the result is."""

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        return outcome.get("errno")

    def __str__(self) -> str:
        return "works"


@dataclass(frozen=True)
class Fails:
    """It fails with one of these; several where the standard leaves the choice."""

    errors: tuple[str, ...]

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        error = outcome.get("errno")
        if error in self.errors:
            return None
        return error or "works"

    def __str__(self) -> str:
        return " or ".join(self.errors)


@dataclass(frozen=True)
class Gives:
    """It has this result."""

    right: Any

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        if "errno" in outcome:
            return str(outcome["errno"])
        value = outcome["result"]
        return None if accepted(self.right, value, memory) else shown(self.right, value)

    def __str__(self) -> str:
        return described(self.right)


@dataclass(frozen=True)
class Has:
    """The result is a record in which these fields are right; identity is device and inode."""

    fields: Mapping[str, Any]

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        if "errno" in outcome:
            return str(outcome["errno"])
        record = outcome["result"]
        if record is None:
            return text(None)
        values = {**record, "identity": [record["dev"], record["ino"]]}
        for name, right in self.fields.items():
            if not accepted(right, values.get(name), memory):
                return f"{name} {shown(right, values.get(name))}"
        return None

    def __str__(self) -> str:
        return ", ".join(f"{name} {described(right)}" for name, right in self.fields.items())


def described(right: Any) -> str:
    """A right value for people."""
    match right:
        case Same(name=name):
            return f"as before ({name})"
        case Other(name=name):
            return f"another ({name})"
        case OneOf(values=values):
            return " or ".join(text(value) for value in values)
        case AtMost(limit=limit):
            return f"at most {limit}"
        case Contains(member=member):
            return f"with {member}"
        case Marked(mark=mark, value=value):
            return f"with overlay.{mark} {value}"
        case _:
            return text(right)


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
    """A deviation of ours that is known: on which drivers (a pattern), the answer, and why."""

    drivers: str
    answer: str
    why: str


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
            if fnmatchcase(driver, declared.drivers):
                return declared
        return None
