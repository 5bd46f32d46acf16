"""Go's `filepath.Match` and `path.Clean`: the pattern language of COPY and of `.dockerignore`.

`*` any run of characters without `/`, `?` one of them, `[a-z]` and `[^a-z]` classes, `\\c` the
character c. Unlike fnmatch there is no `[!…]`, and a bad pattern is an error.
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache


class BadPattern(ValueError):
    """The pattern is malformed (an open `[`, a range backwards, a lone `\\` at the end)."""


def clean(path: str) -> str:
    """`path.Clean`: no empty, `.` or (where possible) `..` parts, no trailing slash; "" is "."."""
    cleaned = posixpath.normpath(path)
    # POSIX lets exactly two leading slashes mean something else; Go does not.
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def inside(path: str) -> str:
    """A path as seen from a root it cannot leave: cleaned, no leading `/`, "" for the root."""
    return clean("/" + path)[1:]


def has_wildcards(pattern: str) -> bool:
    """Whether the pattern holds an unescaped `*`, `?` or `[`."""
    return re.search(r"[*?\[]", re.sub(r"\\.", "", pattern)) is not None


def match(pattern: str, name: str) -> bool:
    """Whether all of `name` fits. Raises BadPattern."""
    return compile_match(pattern).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def compile_match(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression, for `fullmatch`. Raises BadPattern."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if not (out and out[-1] == "[^/]*"):  # `**` is `*`, and two runs backtrack for ever
                out.append("[^/]*")
            at += 1
        elif char == "?":
            out.append("[^/]")
            at += 1
        elif char == "[":
            part, at = char_class(pattern, at)
            out.append(part)
        else:
            literal, at = _char(pattern, at)
            out.append(re.escape(literal))
    return re.compile("".join(out), re.DOTALL)


def char_class(pattern: str, at: int) -> tuple[str, int]:
    """Translate the `[…]` that starts at `at`: (regular expression, index after it)."""
    at += 1
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not pattern.startswith("]", at) or not ranges:
        low, at = _class_char(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_char(pattern, at + 1)
        if low > high:
            raise BadPattern(f"range {low}-{high} is backwards in {pattern!r}")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    # A class never matches the separator, negated or not, as names are compared part by part.
    return f"(?!/)[{'^' if negated else ''}{''.join(ranges)}]", at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern) or pattern[at] in "-]":
        raise BadPattern(f"bad character class in {pattern!r}")
    return _char(pattern, at)


def _char(pattern: str, at: int) -> tuple[str, int]:
    """One literal character, escaped or not, and the index after it."""
    if pattern[at] != "\\":
        return pattern[at], at + 1
    if at + 1 >= len(pattern):
        raise BadPattern(f"lone \\ at the end of {pattern!r}")
    return pattern[at + 1], at + 2
