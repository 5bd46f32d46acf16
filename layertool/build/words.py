"""How an instruction's rest is cut into flags and arguments, before any expansion."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from layertool.build.place import Place

_BLANKS = re.compile(r"[\t\v\f\r ]+")


class FlagKind(Enum):
    """What values a `--flag` takes."""

    BOOL = auto()
    TEXT = auto()
    MANY = auto()  # text, may be repeated


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags given, checked against what the instruction knows."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str | None:
        """The value of a TEXT flag, None when not given."""
        given = self.values.get(name)
        return given[0] if given else None

    def many(self, name: str) -> tuple[str, ...]:
        """All values of a MANY flag."""
        return self.values.get(name, ())

    def is_on(self, name: str) -> bool:
        """Whether a BOOL flag is on."""
        return self.tristate(name) or False

    def tristate(self, name: str) -> bool | None:
        """A BOOL flag that differs between off and not given."""
        given = self.values.get(name)
        return None if given is None else given[0] == "true"


def split_keyword(text: str) -> tuple[str, str]:
    """`RUN --x=1 a b` → (`RUN`, `--x=1 a b`)."""
    parts = _BLANKS.split(text.strip(), maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def split_flags(rest: str, escape: str) -> tuple[list[str], str]:
    """Take leading `--flag` words off, quotes and escapes resolved; a bare `--` ends them."""
    flags: list[str] = []
    at = 0
    while True:
        while at < len(rest) and rest[at].isspace():
            at += 1
        if not rest.startswith("--", at):
            return flags, rest[at:].strip()
        word, at = _flag_word(rest, at, escape)
        if word == "--":
            return flags, rest[at:].strip()
        flags.append(word)


def _flag_word(rest: str, at: int, escape: str) -> tuple[str, int]:
    out: list[str] = []
    quote = ""
    while at < len(rest):
        char = rest[at]
        if char == escape:
            at += 1
            out.append(rest[at : at + 1])
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif not quote and char.isspace():
            break
        else:
            out.append(char)
        at += 1
    return "".join(out), min(at, len(rest))


def check_flags(given: list[str], known: Mapping[str, FlagKind], place: Place) -> Flags:
    """Match flags with what the instruction knows; fails at `place` on any other."""
    values: dict[str, tuple[str, ...]] = {}
    for word in given:
        name, equals, value = word[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            place.fail(f"unknown flag --{name}")
        if name in values and kind is not FlagKind.MANY:
            place.fail(f"flag --{name} given twice")
        if kind is FlagKind.BOOL:
            value = value.lower() if equals else "true"
            if value not in ("true", "false"):
                place.fail(f"flag --{name} wants true or false")
        elif not equals:
            place.fail(f"flag --{name} needs a value")
        values[name] = (*values.get(name, ()), value)
    return Flags(values)


def json_array(rest: str) -> tuple[str, ...] | None:
    """The JSON form of a command, None when the text is not a JSON array.

    Raises ValueError for a valid JSON array with something else than strings in it: falling back
    to the shell form would hide the mistake.
    """
    if not rest.lstrip().startswith("["):
        return None
    try:
        array = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(word, str) for word in array):
        raise ValueError("a JSON array may hold only strings")
    return tuple(array)


def whitespace_words(rest: str) -> tuple[str, ...]:
    """Plain splitting at blanks; quotes stay, as expansion deals with them."""
    return tuple(word for word in _BLANKS.split(rest.strip()) if word)


def shell_words(rest: str, escape: str) -> list[str]:
    """Splitting at blanks outside quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    current: list[str] = []
    quote = ""
    at = 0
    while at < len(rest):
        char = rest[at]
        if not quote and char.isspace():
            if current:
                words.append("".join(current))
            current.clear()
        elif char == escape and quote != "'":
            # An escape at the very end is dropped.
            if at + 1 < len(rest):
                current.append(rest[at : at + 2])
            at += 1
        else:
            if char == quote:
                quote = ""
            elif not quote and char in "\"'":
                quote = char
            current.append(char)
        at += 1
    if current:
        words.append("".join(current))
    return words


def name_values(rest: str, escape: str, keyword: str) -> tuple[list[tuple[str, str]], bool]:
    """ENV's and LABEL's `a=1 b="2 3"`, or the old `a 1 2`: (pairs, was it the old form).

    Raises ValueError with what is wrong.
    """
    words = shell_words(rest, escape)
    if not words:
        raise ValueError(f"{keyword} needs at least one argument")
    if "=" not in words[0]:
        parts = _BLANKS.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise ValueError(f"{keyword} needs a name and a value")
        return [(parts[0], parts[1])], True
    pairs: list[tuple[str, str]] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not of the form name=value")
        if not name:
            raise ValueError(f"{keyword} names cannot be blank")
        pairs.append((name, value))
    return pairs, False
