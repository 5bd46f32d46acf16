"""The output of containers: one JSON object a line, in docker's json-file form.

Bytes that are no UTF-8 survive as lone surrogates (`surrogateescape`).
"""

from __future__ import annotations

import io
import json
import os
import selectors
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from layertool.sandbox.state import now
from layertool.sandbox.terminal import write_all

FILE: Final = "output.log"
_CHUNK: Final = 65536
_FOLLOW_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or what came of one at once: `stream` is stdout or stderr.

    `starts_line` is false for what continues a line of the same stream.
    """

    stream: str
    data: bytes
    time: str
    starts_line: bool


class Log:
    """The log of one container, to be added to. A full disk ends the log, not the container."""

    def __init__(self, directory: Path) -> None:
        self._file: BinaryIO | None = open(directory / FILE, "ab", buffering=0)  # noqa: SIM115

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, stream: str, data: bytes) -> None:
        """Add what came from "stdout" or "stderr"."""
        if self._file is None or not data:
            return
        whole = self._file.tell()
        line = _encode(stream, data)
        try:
            complete = self._file.write(line) == len(line)
        except OSError:
            complete = False
        if not complete:
            # A piece of a line would make all of the log unreadable.
            self._file.truncate(whole)
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def record(log: Log, sources: Mapping[int, str], copies: Mapping[str, int] | None = None) -> None:
    """Log what comes from descriptors (to the name of their stream) until all have ended.

    With `copies` (from streams to descriptors) it is also written there. When nobody reads a copy
    any more its source is closed, so that the writer hears of it as if it had written there itself.
    """
    with selectors.DefaultSelector() as selector:
        for fd, stream in sources.items():
            selector.register(fd, selectors.EVENT_READ, stream)
        while selector.get_map():
            for key, _ in selector.select():
                data = _read(key.fd)
                log.write(key.data, data)
                if not data or (copies and not _copied(data, copies[key.data])):
                    selector.unregister(key.fd)
                    os.close(key.fd)


def _copied(data: bytes, fd: int) -> bool:
    """Write all of it; False when there is no reader left."""
    try:
        write_all(fd, data)
    except BrokenPipeError:
        return False
    return True


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:  # EIO: a terminal whose other side is closed
        return b""


def _encode(stream: str, data: bytes) -> bytes:
    moment = now()
    texts = (line.decode("utf-8", "surrogateescape") for line in io.BytesIO(data))
    entries = ({"log": text, "stream": stream, "time": moment} for text in texts)
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def read(
    directory: Path, *, last: int | None = None, still_running: Callable[[], bool] | None = None
) -> Iterator[Piece]:
    """All output so far, or its `last` lines; with `still_running`, also what comes until that
    turns false."""
    try:
        log = open(directory / FILE, "rb")  # noqa: SIM115 - closed below, after an early return
    except FileNotFoundError:
        return
    with log:
        pending = b""
        unfinished: set[str] = set()
        while True:
            running = still_running is not None and still_running()
            pending += log.read()
            *lines, pending = pending.split(b"\n")
            pieces = [_decode(line, unfinished) for line in lines]
            yield from pieces if last is None else _last(pieces, last)
            last = None
            if not running:
                return
            time.sleep(_FOLLOW_SECONDS)


def _last(pieces: Sequence[Piece], count: int) -> Sequence[Piece]:
    """The pieces from the start of the `count`th line from the end."""
    starts = [at for at, piece in enumerate(pieces) if piece.starts_line]
    if count == 0:
        return ()
    return pieces if count >= len(starts) else pieces[starts[-count] :]


def _decode(line: bytes, unfinished: set[str]) -> Piece:
    """One entry; `unfinished` are the streams that stand in the middle of a line."""
    entry = json.loads(line)
    stream = str(entry["stream"])
    data = str(entry["log"]).encode("utf-8", "surrogateescape")
    piece = Piece(stream, data, str(entry["time"]), starts_line=stream not in unfinished)
    if data.endswith(b"\n"):
        unfinished.discard(stream)
    else:
        unfinished.add(stream)
    return piece
