"""Which owner a user sees for an owner on disk, and the reverse (``uidmapping``, ``squash_to_uid``)."""

from __future__ import annotations

from collections.abc import Sequence

OVERFLOW = 65534
"""What an id without a mapping is shown as, as the kernel's overflowuid."""


class IdMap:
    """Ids in both directions.

    *ranges* are (shown, on disk, length) triples; *squash* shows every object as owned by one id.
    """

    __slots__ = ("_ranges", "squash")

    def __init__(
        self, ranges: Sequence[tuple[int, int, int]] = (), squash: int | None = None
    ) -> None:
        self._ranges = tuple(ranges)
        self.squash = squash

    @property
    def identity(self) -> bool:
        """Whether every id is shown as it is."""
        return not self._ranges and self.squash is None

    def show(self, real: int) -> int:
        """The id a user sees for *real* on disk."""
        if self.squash is not None:
            return self.squash
        if not self._ranges:
            return real
        for shown, start, length in self._ranges:
            if start <= real < start + length:
                return shown + real - start
        return OVERFLOW

    def store(self, shown: int) -> int:
        """The id on disk for one a user gives."""
        for first, start, length in self._ranges:
            if first <= shown < first + length:
                return start + shown - first
        return shown
