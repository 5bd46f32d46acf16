"""`--chmod` values: octal, or the symbolic form of chmod(1)."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable

Chmod = Callable[[int, bool], int]  # (old mode bits, is it a directory) -> new mode bits

_CLAUSE = re.compile(r"^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def parse_chmod(text: str) -> Chmod:
    """A function from old to new permission bits. Raises ValueError.

    Without `u`, `g`, `o` or `a` a clause is for all, as builds have no umask.
    """
    if re.fullmatch(r"[0-7]{1,5}", text):
        mode = int(text, 8)
        if mode > 0o7777:
            raise ValueError(f"mode {text} is more than 7777")
        return lambda _old, _directory: mode
    clauses: list[tuple[str, list[tuple[str, str]]]] = []
    for part in text.split(","):
        match = _CLAUSE.match(part)
        if match is None:
            raise ValueError(f"mode {text!r} is neither octal (755) nor symbolic (u+x,go-w)")
        who = "ugo" if not match[1] or "a" in match[1] else match[1]
        clauses.append((who, _ACTION.findall(match[2])))

    def change(mode: int, directory: bool) -> int:
        for who, actions in clauses:
            for operator, permissions in actions:
                mode = _apply(mode, directory, who, operator, permissions)
        return mode

    return change


def _apply(mode: int, directory: bool, who: str, operator: str, permissions: str) -> int:
    bits = 0
    affected = 0
    for one in who:
        bits |= _granted(mode, directory, permissions) << _SHIFT[one]
        affected |= 0o7 << _SHIFT[one]
    special = _special(who, permissions)
    if operator == "+":
        return mode | bits | special
    if operator == "-":
        return mode & ~(bits | special)
    keep = mode & ~affected
    # As chmod(1): `=` on a directory leaves set-id bits that were not named.
    if not directory:
        keep &= ~_special(who, "st")
    return keep | bits | special


def _granted(mode: int, directory: bool, permissions: str) -> int:
    """The three bits that one class gets."""
    if permissions in _SHIFT:
        return mode >> _SHIFT[permissions] & 0o7
    bits = 0
    for letter in permissions:
        bits |= _BITS.get(letter, 0)
        if letter == "X" and (directory or mode & 0o111):
            bits |= 1
    return bits


def _special(who: str, permissions: str) -> int:
    bits = 0
    if "s" in permissions:
        bits |= stat.S_ISUID if "u" in who else 0
        bits |= stat.S_ISGID if "g" in who else 0
    if "t" in permissions and who == "ugo":
        bits |= stat.S_ISVTX
    return bits
