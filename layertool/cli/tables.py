"""How lists look: columns, bytes, ages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB")
_AGES = (
    ("year", 365 * 86400),
    ("month", 30 * 86400),
    ("week", 7 * 86400),
    ("day", 86400),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, three blanks apart, as docker prints them."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("   ".join(cells).rstrip())


def print_json(value: Any) -> None:
    """For scripts."""
    print(json.dumps(value, indent=2))


def human(count: int) -> str:
    """Bytes in powers of 1000 with three digits, as docker prints them: `1.23GB`."""
    size = float(count)
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            return f"{size:.3g}{unit}"
        size /= 1000
    raise AssertionError("the last unit takes any size")


def age(created: str) -> str:
    """How long ago an RFC 3339 time was; `-` for none, or one that cannot be read."""
    moment = parse_time(created)
    if moment is None:
        return "-"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in _AGES:
        number = int(seconds // length)
        if number >= 1:
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "now"


def parse_time(text: str) -> datetime | None:
    """Go writes nanoseconds, which datetime does not read: they are cut."""
    whole, dot, rest = text.partition(".")
    if dot:
        zone = rest.lstrip("0123456789")
        text = whole + zone
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def one_line(text: str, limit: int | None) -> str:
    """Hostile text in a cell: no control characters, cut at `limit`."""
    cleaned = "".join(char if char.isprintable() else " " for char in text)
    cleaned = " ".join(cleaned.split())
    if limit is None or len(cleaned) <= limit:
        return cleaned
    return cleaned[: limit - 1] + "…"
