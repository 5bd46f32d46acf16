"""Reading what a step prints, line by line, whatever it prints."""

from __future__ import annotations

import os
from collections.abc import Iterator

_CHUNK = 1 << 16
_LONGEST = 1 << 14  # bytes; a program without newlines must not fill our memory


def lines(fd: int) -> Iterator[str]:
    """The lines written to a pipe until all writers have closed it; closes `fd`."""
    pending = b""
    try:
        while chunk := os.read(fd, _CHUNK):
            *complete, pending = (pending + chunk).split(b"\n")
            yield from map(_text, complete)
            while len(pending) > _LONGEST:
                yield _text(pending[:_LONGEST])
                pending = pending[_LONGEST:]
        if pending:
            yield _text(pending)
    finally:
        os.close(fd)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
