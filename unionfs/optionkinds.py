"""Kinds of option value: how each is read, written and shown in the manual."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from unionfs.faults import Rule, parse_rules
from unionfs.optstring import escape

MAX_ID = 2**32 - 2
"""The highest uid or gid; 2**32 - 1 means "no id" in chown(2)."""


class IdRange(NamedTuple):
    """``length`` ids that show as ``container`` and up, and lie on disk as ``host`` and up."""

    container: int
    host: int
    length: int


class Flag:
    """A bare word that sets a field to true, and maybe another one that sets it to false."""

    def __init__(self, opposite: str | None = None) -> None:
        self.opposite = opposite

    def syntax(self, name: str) -> str:
        """Return the option as the manual shows it."""
        return f"{name}, {self.opposite}" if self.opposite else name

    def write(self, name: str, value: bool) -> list[bytes]:
        """Return the option as it is typed."""
        word = name if value else self.opposite
        return [word.encode()] if word else []


class Value:
    """``name=TEXT``; *read* turns the unescaped text into the field, *show* the reverse.

    *read* raises ValueError with what was expected.
    """

    def __init__(
        self,
        shape: str,
        read: Callable[[bytes], Any],
        show: Callable[[Any], bytes] = lambda value: str(value).encode(),
    ) -> None:
        self.shape = shape
        self.read = read
        self.show = show

    def syntax(self, name: str) -> str:
        """Return the option as the manual shows it."""
        return f"{name}={self.shape}"

    def write(self, name: str, value: Any) -> list[bytes]:
        """Return the option as it is typed."""
        return [name.encode() + b"=" + escape(self.show(value), (b",",))]


class Stack:
    """``lowerdir=A:B::DATA``, which sets both kinds of lower layers."""

    shape = "DIR[:DIR...][::DATA...]"

    def syntax(self, name: str) -> str:
        """Return the option as the manual shows it."""
        return f"{name}={self.shape}"

    def write(self, name: str, value: tuple[bytes, ...]) -> list[bytes]:
        """Return the option as it is typed."""
        return [name.encode() + b"=" + b":".join(map(escape, value))]


class Append:
    """``name=DIR``, which adds one layer each time; a colon in it is an ordinary byte."""

    shape = "DIR"

    def syntax(self, name: str) -> str:
        """Return the option as the manual shows it."""
        return f"{name}={self.shape}"

    def write(self, name: str, value: tuple[bytes, ...]) -> list[bytes]:
        """Return the option as it is typed."""
        return [name.encode() + b"=" + escape(path, (b",",)) for path in value]


Kind: TypeAlias = "Flag | Value | Stack | Append"


def choice(*allowed: str, aliases: Mapping[str, str] | None = None) -> Value:
    """One of some words; *aliases* are other spellings, which the manual does not show."""
    spellings = {word: word for word in allowed} | dict(aliases or {})

    def read(text: bytes) -> str:
        word = spellings.get(text.decode("ascii", "replace"))
        if word is None:
            raise ValueError(f"one of {', '.join(allowed)}")
        return word

    return Value("|".join(allowed), read)


def switch(first: str, second: str) -> Value:
    """Two words for false and true, as the manual shows them; 0/1 and off/on are always read."""
    words = {b"0": False, b"1": True, b"off": False, b"on": True}

    def read(text: bytes) -> bool:
        if text not in words:
            raise ValueError(f"{first} or {second}")
        return words[text]

    return Value(
        f"{first}|{second}", read, lambda value: second.encode() if value else first.encode()
    )


def path() -> Value:
    """A directory."""
    return Value("DIR", non_empty, bytes)


def file() -> Value:
    """A file."""
    return Value("FILE", non_empty, bytes)


def non_empty(text: bytes) -> bytes:
    """Refuse the empty value."""
    if not text:
        raise ValueError("a value that is not empty")
    return text


def text(shape: str) -> Value:
    """Free text."""
    return Value(shape, os.fsdecode, os.fsencode)


def label() -> Value:
    """An SELinux label: it ends in the data of mount(2), where a quote would end it early."""

    def read(text: bytes) -> str:
        label = text.decode("ascii", "replace")
        if not label.isascii() or not label.isprintable() or not label or '"' in label:
            raise ValueError('a security label such as "system_u:object_r:container_file_t:s0"')
        return label

    return Value('"LABEL"', read, lambda label: label.encode())


def integer(shape: str, lowest: int, highest: int) -> Value:
    """A whole number within bounds, both included."""

    def read(text: bytes) -> int:
        if not _is_number(text) or not lowest <= int(text) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(text)

    return Value(shape, read)


def _is_number(text: bytes) -> bool:
    """Whether it is a decimal number of the size of an id, which int() takes without complaint."""
    return text.isdigit() and len(text) <= 10


def seconds() -> Value:
    """A time span."""

    def read(text: bytes) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise ValueError("a number of seconds, 0 or more")
        return seconds

    return Value("SECONDS", read, lambda value: repr(value).encode())


def fault_rules() -> Value:
    """Rules of `unionfs.faults`."""

    def read(text: bytes) -> tuple[Rule, ...]:
        return parse_rules(text.decode("ascii", "replace"))

    return Value("RULES", read, lambda rules: "+".join(map(str, rules)).encode())


def id_ranges() -> Value:
    """Triples of numbers, see `IdRange`."""

    def read(text: bytes) -> tuple[IdRange, ...]:
        numbers = text.split(b":")
        if len(numbers) % 3 or not all(_is_number(number) for number in numbers):
            raise ValueError("SHOWN:ONDISK:LENGTH, and more such triples after a colon")
        values = [int(number) for number in numbers]
        ranges = tuple(IdRange(*values[at : at + 3]) for at in range(0, len(values), 3))
        _check_ranges(ranges)
        return ranges

    def show(ranges: tuple[IdRange, ...]) -> bytes:
        return ":".join(str(number) for entry in ranges for number in entry).encode()

    return Value("SHOWN:ONDISK:LENGTH[:...]", read, show)


def _check_ranges(ranges: tuple[IdRange, ...]) -> None:
    """Two ranges may not overlap on either side, or an id would have two meanings."""
    for side in ("container", "host"):
        end = 0
        for start, length in sorted((getattr(entry, side), entry.length) for entry in ranges):
            if length < 1 or start + length - 1 > MAX_ID:
                raise ValueError(f"ids from 0 to {MAX_ID} and a length of 1 or more")
            if start < end:
                raise ValueError("ranges that do not overlap")
            end = start + length
