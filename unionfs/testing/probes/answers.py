"""Right answers: values, conditions on values, and what the outcome of an operation must be."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unionfs.testing.crew import Outcome

# What earlier steps of a run have answered, by the name that `Same` and `Other` give it.
Memory = dict[str, Any]


class Check(ABC):
    """A condition on a value, where one fixed value will not do; its text names it for people."""

    @abstractmethod
    def accepts(self, value: Any, memory: Memory) -> bool:
        """Whether the value is right."""

    def show(self, value: Any) -> str:
        """A wrong value for people; the same text in every run."""
        return text(value)


@dataclass(frozen=True)
class Same(Check):
    """The value that was there when this name was first met in the run."""

    name: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        return bool(memory.setdefault(self.name, value) == value)

    def show(self, value: Any) -> str:
        return "changed"

    def __str__(self) -> str:
        return f"as before ({self.name})"


@dataclass(frozen=True)
class Other(Check):
    """Any value but the one of that name."""

    name: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        return bool(memory[self.name] != value)

    def show(self, value: Any) -> str:
        return "the same"

    def __str__(self) -> str:
        return f"another ({self.name})"


@dataclass(frozen=True)
class OneOf(Check):
    """Each of these is right."""

    values: tuple[Any, ...]

    def accepts(self, value: Any, memory: Memory) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return " or ".join(text(value) for value in self.values)


@dataclass(frozen=True)
class AtMost(Check):
    """A number no greater than this."""

    limit: int

    def accepts(self, value: Any, memory: Memory) -> bool:
        return bool(value <= self.limit)

    def __str__(self) -> str:
        return f"at most {self.limit}"


@dataclass(frozen=True)
class Contains(Check):
    """A list with this in it."""

    member: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        return self.member in value

    def show(self, value: Any) -> str:
        return f"without {self.member}"

    def __str__(self) -> str:
        return f"with {self.member}"


@dataclass(frozen=True)
class Unordered(Check):
    """A list of these in any order, as readdir(3) promises none."""

    members: tuple[str, ...]

    def accepts(self, value: Any, memory: Memory) -> bool:
        return sorted(value) == sorted(self.members)

    def show(self, value: Any) -> str:
        return text(sorted(value))

    def __str__(self) -> str:
        return f"{text(list(self.members))}, in any order"


@dataclass(frozen=True)
class Marked(Check):
    """The xattrs of a layer's object hold this overlay mark, in the kernel's format."""

    mark: str
    value: str

    def accepts(self, value: Any, memory: Memory) -> bool:
        marks = [value.get(f"{family}.overlay.{self.mark}") for family in ("trusted", "user")]
        return self.value in marks

    def show(self, value: Any) -> str:
        return f"no overlay.{self.mark}"

    def __str__(self) -> str:
        return f"with overlay.{self.mark} {self.value}"


def wrong_value(right: Any, value: Any, memory: Memory) -> str | None:
    """None for the right value, or one that meets the check; else the value for people."""
    if isinstance(right, Check):
        return None if right.accepts(value, memory) else right.show(value)
    return None if value == right else text(value)


def described(right: Any) -> str:
    """A right value for people."""
    return str(right) if isinstance(right, Check) else text(right)


def text(value: Any) -> str:
    """A value in a few characters."""
    if value is None:
        return "nothing there"
    if isinstance(value, dict) and "type" in value:
        return "a whiteout" if value.get("whiteout") else f"a {value['type']}"
    plain = value.encode("unicode_escape").decode() if isinstance(value, str) else json.dumps(value)
    return plain if len(plain) <= 40 else plain[:37] + "..."


class Expectation(ABC):
    """The right outcome of one operation; its text names it for people."""

    @abstractmethod
    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        """None when the outcome is right, else what it was."""


@dataclass(frozen=True)
class Anything(Expectation):
    """Nothing is asked here; what comes after it is."""

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        return None

    def __str__(self) -> str:
        return "works or not"


@dataclass(frozen=True)
class Succeeds(Expectation):
    """It works, whatever the result is."""

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        return outcome.get("errno")

    def __str__(self) -> str:
        return "works"


@dataclass(frozen=True)
class Fails(Expectation):
    """It fails with one of these; several where the standard leaves the choice."""

    errors: tuple[str, ...]

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        error = outcome.get("errno", "works")
        return None if error in self.errors else error

    def __str__(self) -> str:
        return " or ".join(self.errors)


@dataclass(frozen=True)
class Gives(Expectation):
    """It has this result."""

    right: Any

    def wrong(self, outcome: Outcome, memory: Memory) -> str | None:
        if "errno" in outcome:
            return str(outcome["errno"])
        return wrong_value(self.right, outcome["result"], memory)

    def __str__(self) -> str:
        return described(self.right)


@dataclass(frozen=True)
class Has(Expectation):
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
            wrong = wrong_value(right, values.get(name), memory)
            if wrong is not None:
                return f"{name} {wrong}"
        return None

    def __str__(self) -> str:
        return ", ".join(f"{name} {described(right)}" for name, right in self.fields.items())
