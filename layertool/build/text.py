"""Text for people: sizes, and lines from programs that nobody vouches for."""

from __future__ import annotations

import re

# A step's output must not move the cursor or set the terminal's title (ECMA-48 sequences, OSC).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


def human_bytes(count: int) -> str:
    """`512 B`, `1.2 kB`, `35 MB`: decimal units, as docker shows sizes."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{count} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def printable(line: str) -> str:
    """A line without control characters; of a progress line only what stays visible."""
    line = _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2])
    return "".join(
        char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in line
    )


def visible(text: str) -> str:
    """A name or an instruction with its control characters and stray bytes spelled out."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
