"""What a pull or push tells whoever is watching it."""

from __future__ import annotations

from typing import BinaryIO, Protocol


class Progress(Protocol):
    """Called from several threads; `name` is the digest of what is moved."""

    def start(self, name: str, size: int) -> None:
        """Work on a blob of `size` bytes begins."""

    def at(self, name: str, position: int) -> None:
        """`position` bytes of it have moved; less than before when it had to go back."""

    def done(self, name: str, outcome: str) -> None:
        """It is where it should be; `outcome` says how: "pulled", "already exists", "mounted"."""

    def note(self, message: str) -> None:
        """Something that people should know, a retry for example."""


class Silent:
    """Nobody is watching."""

    def start(self, name: str, size: int) -> None: ...

    def at(self, name: str, position: int) -> None: ...

    def done(self, name: str, outcome: str) -> None: ...

    def note(self, message: str) -> None: ...


class Watched:
    """A stream that tells how far it was read; `position` in bytes."""

    def __init__(self, stream: BinaryIO, name: str, progress: Progress) -> None:
        self._stream = stream
        self._name = name
        self._progress = progress
        self.position = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.position += len(data)
        self._progress.at(self._name, self.position)
        return data
