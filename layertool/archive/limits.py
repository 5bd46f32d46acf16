"""Bounds on what an archive may ask for. Archives are hostile until proven dull."""

from __future__ import annotations

from dataclasses import dataclass

# Linux: PATH_MAX and NAME_MAX. A longer name cannot come from a file system.
MAX_PATH = 4096
MAX_COMPONENT = 255


@dataclass(frozen=True, slots=True)
class Limits:
    """What a layer may contain before it is refused. The defaults leave room for real images."""

    entries: int = 1_000_000
    bytes: int = 64 << 30
    """Of the uncompressed tar; also of the files' logical sizes, so that holes count."""
    ratio: int = 200
    """Uncompressed to compressed bytes; looked at only beyond `ratio_floor`."""
    ratio_floor: int = 1 << 30
    """Bytes that may come out at any ratio: a file of a gigabyte of zeros is legal."""
    pax_record: int = 1 << 20
    """Bytes of one extended header, all its records together."""
    path: int = MAX_PATH


DEFAULT_LIMITS = Limits()
